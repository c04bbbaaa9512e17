"""The parameters of a style transfer, one model per method, of a texture synthesis and of a feature inversion."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from typing_extensions import TypeAliasType

from jobs.errors import BadInput
from jobs.requests.generation import MODES
from jobs.requests.text_to_image import Prompt
from jobs.schemas import STRICT, ImageRef, ModelRequest, Request, chosen_by

KIND = "style-transfer"
MIN_SIDE = 32  # pixels of an output's shorter side; the networks see nothing in fewer
DEPTHS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}  # convolutions per block
LAYERS: dict[str, tuple[str, ...]] = {
    name: tuple(f"relu{block}_{i}" for block, depth in enumerate(depths, 1) for i in range(1, depth + 1))
    for name, depths in DEPTHS.items()
}

# What each built-in style looks like, by its number (docs/images/styles.jpg): the network's authors named none.
BUILTIN_NAMES = (
    "soft-ochre", "bold-yellow", "pale-pastel", "neon-shards", "crimson-pencil", "autumn-oils", "midnight-speckle",
    "primary-blocks", "pink-watercolor", "teal-dashes", "rust-engraving", "sepia-engraving", "lilac-wash",
    "lime-and-teal", "pale-blue-wash", "stained-glass", "dusk-crayon", "red-lattice", "sandstone-relief", "starry-blue",
    "ember-red", "pastel-cutout", "ink-and-cobalt", "soft-charcoal", "ivory-wave", "copper-swirls",
)  # fmt: skip
BUILTIN_STYLES = len(BUILTIN_NAMES)
BUILTIN_STYLE = rf"^builtin:(1?[0-9]|2[0-5]|{'|'.join(BUILTIN_NAMES)})$"


def _numbered(style: str) -> str:
    name = style.removeprefix("builtin:")
    return f"builtin:{BUILTIN_NAMES.index(name)}" if name in BUILTIN_NAMES else style


BuiltinStyle = Annotated[
    str,
    Field(
        pattern=BUILTIN_STYLE,
        description="One of the 26 built-in styles, by number or name; `GET /v1/styles` lists them.",
        examples=["builtin:19", "builtin:starry-blue"],
    ),
    AfterValidator(_numbered),
]
Weight = Annotated[float, Field(ge=0.001, le=1000)]
GuidanceScale = Annotated[float, Field(ge=0, le=2)]
Loss = Annotated[float, Field(ge=0, le=1e9)]
Layer = Literal[
    "relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1", "relu3_2", "relu3_3", "relu3_4",
    "relu4_1", "relu4_2", "relu4_3", "relu4_4", "relu5_1", "relu5_2", "relu5_3", "relu5_4",
]  # fmt: skip
Layers = Annotated[list[Layer], Field(min_length=1, max_length=16, json_schema_extra={"uniqueItems": True})]
Vgg16Layers = Annotated[
    list[
        Literal[
            "relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1", "relu3_2", "relu3_3",
            "relu4_1", "relu4_2", "relu4_3", "relu5_1", "relu5_2", "relu5_3",
        ]
    ],
    Field(min_length=1, max_length=13, json_schema_extra={"uniqueItems": True}),
]  # fmt: skip
BLOCK_LAYERS: list[Layer] = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]
Size = Annotated[
    int, Field(ge=64, le=2048, description="Longer side of the output in pixels; the aspect ratio is kept.")
]
Side = Annotated[int, Field(ge=64, le=2048, description="Pixels.")]
StyleLosses = Annotated[
    dict[
        Literal["gram", "mean-std", "covariance", "sliced-wasserstein", "histogram"],
        Annotated[float, Field(gt=0, le=1000)],
    ],
    Field(min_length=1, description="What is compared of the style, and the weight of each."),
]
StyleScale = Annotated[float, Field(ge=0.25, le=2, description="Larger strokes, or smaller ones.")]
Tolerance = Annotated[
    float, Field(ge=0, le=0.5, description="A level ends when ten steps lower the loss by less than this share of it.")
]
PreserveColour = Annotated[
    Literal["none", "luminance", "histogram"],
    Field(description="Keep the content's colours: paint its luminance only, or give the style its colours first."),
]
LossCurve = Annotated[bool, Field(description="Also return a plot of the loss by step.")]
BeforeAfter = Annotated[bool, Field(description="Also return the content, the styles and the result side by side.")]
Seen = Annotated[
    Literal["vgg16", "vgg19"] | None, Field(description="The feature network; the best one installed when absent.")
]
NumSteps = Annotated[int, Field(ge=1, le=2000, description="Optimiser iterations, over all levels.")]


class WeightedImage(BaseModel):
    """One of several style images, and its share."""

    model_config = STRICT
    image: ImageRef
    weight: Weight = 1.0


class WeightedStyle(BaseModel):
    """One of several styles, built-in or an image, and its share."""

    model_config = STRICT
    image: Annotated[
        Annotated[BuiltinStyle, Tag("<builtin>")] | Annotated[ImageRef, Tag("<image>")],
        Discriminator(lambda value: "<builtin>" if str(value).startswith("builtin:") else "<image>"),
    ]
    weight: Weight = 1.0


class MaskedImage(WeightedImage):
    """One of several style images, its share, and where it goes."""

    mask: Annotated[
        ImageRef | None,
        Field(
            description="A picture of the content's size, white where this style goes; styles of one mask are mixed."
        ),
    ] = None
    style_mask: Annotated[
        ImageRef | None, Field(description="A picture of the style's size, white on the part of it that counts.")
    ] = None


MaskedBlend = Annotated[list[MaskedImage], Field(min_length=1, max_length=8)]
ImageBlend = Annotated[list[WeightedImage], Field(min_length=1, max_length=8)]
StyleBlend = Annotated[list[WeightedStyle], Field(min_length=1, max_length=8)]


def _sort(style: Any) -> str | None:
    """Which sort of style this is meant to be, so that an error speaks of that one; its tag looks like <image>."""
    if isinstance(style, str):
        return "<builtin>" if style.startswith("builtin:") else "<image>"
    return "<list>" if isinstance(style, list) else None


def _sort_of_images(style: Any) -> str | None:
    """The same where no built-in style is allowed."""
    parts = style if isinstance(style, list) else []
    images = [part.get("image") if isinstance(part, dict) else getattr(part, "image", None) for part in parts]
    return None if any(str(image).startswith("builtin:") for image in images) else _sort(style)


AnyStyle = Annotated[
    Annotated[BuiltinStyle, Tag("<builtin>")]
    | Annotated[ImageRef, Tag("<image>")]
    | Annotated[StyleBlend, Tag("<list>")],
    Discriminator(
        _sort,
        custom_error_type="style",
        custom_error_message="Input should be a built-in style, an image, or a list of these with weights",
    ),
]
ImageStyle = Annotated[
    Annotated[ImageRef, Tag("<image>")] | Annotated[ImageBlend, Tag("<list>")],
    Discriminator(
        _sort_of_images,
        custom_error_type="style",
        custom_error_message="Input should be an image, or a list of images with weights; "
        "built-in styles are for method fast",
    ),
]
MaskedStyle = Annotated[
    Annotated[ImageRef, Tag("<image>")] | Annotated[MaskedBlend, Tag("<list>")],
    Discriminator(
        _sort_of_images,
        custom_error_type="style",
        custom_error_message="Input should be an image, or a list of images with weights and masks; "
        "built-in styles are for method fast",
    ),
]


def _distinct(layers: list[str]) -> list[str]:
    if len(set(layers)) < len(layers):
        raise ValueError("Each layer may be named once")
    return layers


class _StyleTransfer(Request):
    mode: Annotated[Literal["transfer"], Field(description="What to make.")] = "transfer"
    content: Annotated[ImageRef, Field(description="The picture that keeps its shapes.")]
    size: Size = 512


class FastTransfer(_StyleTransfer):
    """Feed-forward transfer: one pass through a pretrained network, well under a second.

    Ghiasi et al. 2017, "Exploring the structure of a real-time, arbitrary neural artistic stylization network".
    """

    method: Literal["fast"] = "fast"
    style: Annotated[
        AnyStyle,
        Field(description="A built-in style, a style image, or several of both with weights."),
    ]
    strength: Annotated[float, Field(ge=0, le=1, description="0 leaves the content as it is, 1 is the full style.")] = (
        1.0
    )
    preserve_colour: PreserveColour = "none"
    before_after: BeforeAfter = False


class _Optimised(Request):
    """What everything has that changes pixels until their VGG features are those asked for."""

    model: Seen = None
    num_steps: NumSteps = 200
    optimizer: Literal["lbfgs", "adam"] = "lbfgs"
    tolerance: Tolerance = 0.001
    loss_curve: LossCurve = False

    def layers_by_field(self) -> dict[str, list[Layer]]:
        """The layers that each field of this request names."""
        found = {name: getattr(self, name, []) for name in ("content_layers", "style_layers", "layers")}
        return {name: layers for name, layers in found.items() if layers}


class GatysTransfer(_StyleTransfer, _Optimised):
    """Optimisation-based transfer: the image itself is optimised until its VGG statistics match.

    Gatys, Ecker and Bethge 2016, "Image style transfer using convolutional neural networks", eq. 7.
    """

    method: Literal["gatys"]
    style: Annotated[MaskedStyle, Field(description="A style image, or several with weights and masks.")]
    init: Annotated[
        Literal["content", "style", "noise", "fast", "image"],
        Field(description="What it starts from; `fast` is the result of that method, `image` is `init_image`."),
    ] = "content"
    init_image: Annotated[ImageRef | None, Field(description="What `init: image` starts from.")] = None
    content_weight: Loss = 1.0
    style_weight: Loss = 20.0
    tv_weight: Loss = 10.0
    content_layers: Layers = ["relu4_2"]
    style_layers: Layers = BLOCK_LAYERS
    style_losses: StyleLosses = {"gram": 1.0}
    style_scale: StyleScale = 1.0
    preserve_colour: PreserveColour = "none"
    before_after: BeforeAfter = False

    _each_once = field_validator("content_layers", "style_layers")(_distinct)

    @field_validator("init_image")
    @classmethod
    def _where_it_starts(cls, image: str | None, info: ValidationInfo) -> str | None:
        if image is not None and info.data.get("init") != "image":
            raise ValueError("It is for `init: image`")
        return image

    @model_validator(mode="after")
    def _with_its_start(self) -> "GatysTransfer":
        if self.init == "image" and self.init_image is None:
            raise PydanticCustomError("init_image", "`init: image` needs it", {"field": "init_image"})
        return self


class TextureSynthesis(_Optimised):
    """A new picture, from noise, with the textures of the style, of any size.

    Gatys, Ecker and Bethge 2015, "Texture synthesis using convolutional neural networks", eq. 5.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "not": {
                **{"required": ["size"], "properties": {"size": {"type": "integer"}}},
                "anyOf": [{"required": ["width"]}, {"required": ["height"]}],
            }
        }
    )

    mode: Annotated[Literal["texture"], Field(description="What to make.")]
    style: Annotated[ImageStyle, Field(description="The texture, or several with weights.")]
    size: Annotated[int | None, Field(ge=64, le=2048, description="Both sides, instead of `width` and `height`.")] = (
        None
    )
    width: Side = 512
    height: Side = 512
    style_layers: Layers = BLOCK_LAYERS
    ladder: Annotated[
        bool, Field(description="Also the textures of the first layer alone, of the first two, and so on, and a grid.")
    ] = False
    style_losses: StyleLosses = {"gram": 1.0}
    style_scale: StyleScale = 1.0
    tv_weight: Loss = 0.0

    _each_once = field_validator("style_layers")(_distinct)

    @model_validator(mode="after")
    def _sides(self) -> "TextureSynthesis":
        if self.size is not None:
            if {"width", "height"} & self.model_fields_set:
                raise PydanticCustomError("size", "Give `size`, or `width` and `height`", {"field": "size"})
            self.width = self.height = self.size
            self.size = None
        return self

    @property
    def depths(self) -> list[list[Layer]]:
        """The layers of each output, from shallow to deep."""
        layers = sorted(self.style_layers)
        return [layers[:k] for k in range(1 if self.ladder else len(layers), len(layers) + 1)]


class FeatureInversion(_Optimised):
    """What a layer of the network still knows of a picture: one, from noise, with the same features there.

    Mahendran and Vedaldi 2015, "Understanding deep image representations by inverting them", eq. 1.
    """

    mode: Annotated[Literal["inversion"], Field(description="What to make.")]
    content: Annotated[ImageRef, Field(description="The picture whose features are inverted.")]
    size: Size = 256
    layers: Annotated[Layers, Field(description="An output each, from shallow to deep; several make a grid.")] = (
        BLOCK_LAYERS
    )
    tv_weight: Loss = 0.1

    _each_once = field_validator("layers")(_distinct)


class DiffusionTransfer(ModelRequest):
    """New pictures of a diffusion model, denoised towards the style (Dhariwal and Nichol 2021, classifier guidance)."""

    mode: Annotated[Literal["transfer"], Field(description="What to make.")] = "transfer"
    method: Literal["diffusion"]
    style: Annotated[ImageStyle, Field(description="A style image, or several with weights.")]
    prompt: Annotated[Prompt | None, Field(description="What to show, for a model that reads texts.")] = None
    content: Annotated[
        ImageRef | None, Field(description="A picture to start from; its middle is cut out in the model's shape.")
    ] = None
    strength: Annotated[
        float | None, Field(ge=0.05, le=1, description="Share of the steps that change `content`; 0.6 when absent.")
    ] = None
    style_guidance_scale: Annotated[
        Annotated[GuidanceScale, Tag("<one>")]
        | Annotated[list[GuidanceScale], Field(min_length=2, max_length=8), Tag("<several>")],
        Discriminator(lambda value: "<several>" if isinstance(value, list) else "<one>"),
        Field(description="How far each step moves towards the style; several make a grid, a column each."),
    ] = 0.1
    guided_from: Annotated[float, Field(ge=0, le=1, description="Share of the steps after which it is guided.")] = 0.0
    guided_to: Annotated[
        float, Field(ge=0, le=1, validate_default=True, description="Share of the steps after which it is no more.")
    ] = 0.95
    style_layers: Vgg16Layers = ["relu1_1", "relu2_1", "relu3_1"]
    style_losses: StyleLosses = {"gram": 1.0}
    guidance_scale: Annotated[
        float | None, Field(ge=0, le=30, description="How far to exaggerate what the prompt changes; 4 when absent.")
    ] = None
    num_inference_steps: Annotated[int, Field(ge=2, le=1000, description="Denoising steps.")] = 30
    num_images_per_prompt: Annotated[int, Field(ge=1, le=8, description="Picture k has the seed `seed` + k.")] = 1

    _each_once = field_validator("style_layers")(_distinct)

    @field_validator("strength")
    @classmethod
    def _with_content(cls, strength: float | None, info: ValidationInfo) -> float | None:
        if strength is not None and not info.data.get("content"):
            raise ValueError("It says how far `content` is changed, and there is none")
        return strength

    @field_validator("guided_to")
    @classmethod
    def _after_its_beginning(cls, guided_to: float, info: ValidationInfo) -> float:
        if guided_to <= info.data.get("guided_from", 0):
            raise ValueError("Input should be greater than `guided_from`")
        return guided_to

    @property
    def scales(self) -> list[float]:
        """Each `style_guidance_scale`."""
        scales = self.style_guidance_scale
        return scales if isinstance(scales, list) else [scales]


def fitted_diffusion(params: DiffusionTransfer, architecture: Mapping[str, Any]) -> DiffusionTransfer:
    """The parameters with the model's own values where they have none.

    architecture: of its card. Raises BadInput, naming the field, for what this model cannot use.
    """
    reads_texts = "text-to-image" in MODES[architecture["name"]]
    if reads_texts and params.prompt is None:
        raise _mismatch(params, "prompt", "needs a text")
    for field in ("prompt", "guidance_scale"):
        if not reads_texts and getattr(params, field) is not None:
            raise _mismatch(params, field, "reads no texts")
    if params.content and int(params.num_inference_steps * (params.strength or 0.6)) < 1:
        message = f"strength: {params.strength} leaves none of {params.num_inference_steps} steps."
        raise BadInput("too_few_steps", message, field="strength")
    defaults = {"strength": 0.6 if params.content else None, "guidance_scale": 4.0 if reads_texts else None}
    absent = {name: value for name, value in defaults.items() if getattr(params, name) is None}
    return params.model_copy(update=absent)


def can_be_guided(architecture: Mapping[str, Any]) -> bool:
    """Whether its denoising can be steered: it is small, or its card says so."""
    return architecture.get("name") in ("ddpm", "stable-diffusion") or bool(architecture.get("style_guided"))


def _mismatch(params: DiffusionTransfer, field: str, what: str) -> BadInput:
    return BadInput("model_mismatch", f"{field}: Model {params.model} {what}.", field=field, model=params.model)


Transfer = TypeAliasType(
    "Transfer",
    Annotated[
        Annotated[FastTransfer, Tag("<fast>")]
        | Annotated[GatysTransfer, Tag("<gatys>")]
        | Annotated[DiffusionTransfer, Tag("<diffusion>")],
        chosen_by("method", ("fast", "gatys", "diffusion"), "fast"),
        Field(description="A style transfer; `method` says which."),
    ],
)
StyleTransferParams = Annotated[
    Annotated[Transfer, Tag("<transfer>")]
    | Annotated[TextureSynthesis, Tag("<texture>")]
    | Annotated[FeatureInversion, Tag("<inversion>")],
    chosen_by("mode", ("transfer", "texture", "inversion"), "transfer"),
]
