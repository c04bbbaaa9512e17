"""Style transfers, a class for each method; texture syntheses and feature inversions."""

import json
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    ConfigDict,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)
from typing_extensions import TypeAliasType

from jobs.errors import BadInput, Unavailable
from jobs.requests.base import ImageRef, ImageSize, Uses, chosen_by, distinct, invalid
from jobs.requests.facts import Facts
from jobs.requests.image_to_image import check_mask
from jobs.requests.style_base import PreserveColor, Size, Strength, check_shorter_side
from jobs.requests.style_diffusion import DiffusionTransfer
from jobs.requests.style_film import FilmTransfer
from jobs.requests.style_many import ManyTransfers
from jobs.requests.styles import (
    BLOCK_LAYERS,
    KIND,
    LAYERS,
    AnyStyle,
    ImageStyle,
    Layer,
    Layers,
    MaskedStyle,
    StyleLosses,
    check_trained,
    trained_styles,
    with_vectors,
)
from jobs.requests.upscale import UpscaledRequest

Loss = Annotated[float, Field(ge=0, le=1e9)]
Side = Annotated[int, Field(ge=64, le=2048, description="Pixels.")]
StyleScale = Annotated[float, Field(ge=0.25, le=2, description="Scale of the style image: above 1 larger strokes.")]
Tolerance = Annotated[
    float, Field(ge=0, le=0.5, description="A level ends when ten steps lower the loss by less than this share of it.")
]
LossCurve = Annotated[bool, Field(description="Also return a plot of the loss by step.")]
BeforeAfter = Annotated[bool, Field(description="Also return the content, the styles and the result side by side.")]
FeatureNetwork = Annotated[
    Literal["vgg16", "vgg19"] | None, Field(description="The feature network; the best one installed when absent.")
]
NumSteps = Annotated[int, Field(ge=1, le=2000, description="Optimizer steps, over all levels.")]


class _Transfer(UpscaledRequest):
    kind: ClassVar[str] = KIND

    mode: Annotated[Literal["transfer"], Field(description="What to make.")] = "transfer"
    content: Annotated[ImageRef, Field(description="The image whose shapes are kept.")]
    size: Size = 512

    def check_sizes(self, sizes: Mapping[str, ImageSize]) -> None:
        """Raises BadInput for a content too narrow."""
        check_shorter_side(sizes["content"], self.size)


class FastTransfer(_Transfer):
    """Feed-forward transfer: one pass through a pretrained network, well under a second.

    Ghiasi et al. 2017, "Exploring the structure of a real-time, arbitrary neural artistic stylization network".
    """

    method: Literal["fast"] = "fast"
    style: Annotated[
        AnyStyle,
        Field(description="A built-in style, a style image, a kept or a trained style, or several with weights."),
    ]
    strength: Strength = 1.0
    preserve_color: PreserveColor = "none"
    before_after: BeforeAfter = False

    def resolved(self, facts: Facts) -> "FastTransfer":
        """Copies the vectors of kept styles; raises NotFound, and BadInput for a trained style that does not exist."""
        check_trained(facts, self.style)
        return self.model_copy(update={"style": with_vectors(facts, self.style)})

    def uses(self) -> Uses:
        """The trained styles."""
        return Uses(models=tuple(trained_styles(self.style).values()))

    @property
    def queue(self) -> str:
        """Its networks need no GPU."""
        return "fast"

    def compatibility(self) -> str:
        """How its image is upscaled: its batch runs an image on each core, whatever the styles."""
        return json.dumps([self.method, self.upscale, self.upscaler])


class OptimizedRequest(UpscaledRequest):
    """A request whose pixels are optimized until their VGG features match."""

    kind: ClassVar[str] = KIND

    model: FeatureNetwork = None
    num_steps: NumSteps = 200
    optimizer: Literal["lbfgs", "adam"] = "lbfgs"
    tolerance: Tolerance = 0.001
    loss_curve: LossCurve = False

    def resolved(self, facts: Facts) -> "OptimizedRequest":
        """Chooses the network, where none is given the deepest one that a worker has; its layers must be in it."""
        installed = facts.installed()
        network = self.model or next((name for name in ("vgg19", "vgg16") if name in installed), None)
        if network is None:
            raise Unavailable("no_worker", "No worker with a feature network is up; try again shortly.")
        if self.model and installed and self.model not in installed:
            message = f"model: {network} is not installed on any worker; run `python -m models.fetch {network}` there."
            raise BadInput("model_not_installed", message, field="model", installed=sorted(installed))
        for field, layers in self._layers_by_field().items():
            missing = [layer for layer in layers if layer not in LAYERS[network]]
            if missing:
                message = f"{field}: {missing[0]!r} is no layer of {network}, which has {', '.join(LAYERS[network])}."
                raise BadInput("unknown_layer", message, field=field, layers=missing, allowed=LAYERS[network])
        styles = {"style": with_vectors(facts, self.style)} if hasattr(self, "style") else {}
        return self.model_copy(update={"model": network, **styles})

    def _layers_by_field(self) -> dict[str, list[Layer]]:
        layers = {name: getattr(self, name, []) for name in ("content_layers", "style_layers", "layers")}
        return {name: named for name, named in layers.items() if named}


class GatysTransfer(_Transfer, OptimizedRequest):
    """Optimization-based transfer: the image itself is optimized until its VGG statistics match.

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
    preserve_color: PreserveColor = "none"
    before_after: BeforeAfter = False

    _each_once = field_validator("content_layers", "style_layers")(distinct)

    @field_validator("init_image")
    @classmethod
    def _with_init(cls, image: str | None, info: ValidationInfo) -> str | None:
        if image is not None and info.data.get("init") != "image":
            raise ValueError("It is for `init: image`")
        return image

    @model_validator(mode="after")
    def _with_init_image(self) -> Self:
        if self.init == "image" and self.init_image is None:
            raise invalid("init_image", "`init: image` needs it")
        return self

    def masks(self) -> dict[str, ImageSize | None]:
        """The masks of the content and of the styles."""
        return {field: None for field in self.image_refs() if field.endswith("mask")}

    def check_sizes(self, sizes: Mapping[str, ImageSize]) -> None:
        """Raises BadInput for a content too narrow, or a mask that is not of the size of its image."""
        super().check_sizes(sizes)
        for field in self.masks():
            masked = "content" if field.endswith(".mask") else field.removesuffix("style_mask") + "image"
            check_mask(field, sizes[field], sizes[masked])


class TextureSynthesis(OptimizedRequest):
    """A texture of any size, optimized from noise to have the statistics of the style.

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

    _each_once = field_validator("style_layers")(distinct)

    @model_validator(mode="after")
    def _sides(self) -> Self:
        if self.size is not None:
            if {"width", "height"} & self.model_fields_set:
                raise invalid("size", "Give `size`, or `width` and `height`")
            self.width = self.height = self.size
            self.size = None
        return self

    @property
    def depths(self) -> list[list[Layer]]:
        """The layers of each output, from shallow to deep."""
        layers = sorted(self.style_layers)
        return [layers[:k] for k in range(1 if self.ladder else len(layers), len(layers) + 1)]


class FeatureInversion(OptimizedRequest):
    """What a layer of the network preserves of an image: one with the same features, optimized from noise.

    Mahendran and Vedaldi 2015, "Understanding deep image representations by inverting them", eq. 1.
    """

    mode: Annotated[Literal["inversion"], Field(description="What to make.")]
    content: Annotated[ImageRef, Field(description="The image whose features are inverted.")]
    size: Size = 256
    layers: Annotated[Layers, Field(description="An output each, from shallow to deep; several make a grid.")] = (
        BLOCK_LAYERS
    )
    tv_weight: Loss = 0.1

    _each_once = field_validator("layers")(distinct)

    def check_sizes(self, sizes: Mapping[str, ImageSize]) -> None:
        """Raises BadInput for a content too narrow."""
        check_shorter_side(sizes["content"], self.size)


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
StyleTransfer = Annotated[
    Annotated[Transfer, Tag("<transfer>")]
    | Annotated[TextureSynthesis, Tag("<texture>")]
    | Annotated[FeatureInversion, Tag("<inversion>")]
    | Annotated[ManyTransfers, Tag("<many>")]
    | Annotated[FilmTransfer, Tag("<film>")],
    chosen_by("mode", ("transfer", "texture", "inversion", "many", "film"), "transfer"),
]
