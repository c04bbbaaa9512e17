"""What styles and layers the requests of a style transfer can name."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, Discriminator, Field, Tag, model_validator

from jobs.requests.base import STRICT, ImageRef, unknown_model
from jobs.requests.facts import Facts, naming

KIND = "style-transfer"
DEPTHS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}  # convolutions per block
LAYERS: dict[str, tuple[str, ...]] = {
    name: tuple(f"relu{block}_{i}" for block, depth in enumerate(depths, 1) for i in range(1, depth + 1))
    for name, depths in DEPTHS.items()
}
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

# What each built-in style looks like, by its number (docs/images/styles.jpg): the network's authors named none.
BUILTIN_NAMES = (
    "soft-ochre", "bold-yellow", "pale-pastel", "neon-shards", "crimson-pencil", "autumn-oils", "midnight-speckle",
    "primary-blocks", "pink-watercolor", "teal-dashes", "rust-engraving", "sepia-engraving", "lilac-wash",
    "lime-and-teal", "pale-blue-wash", "stained-glass", "dusk-crayon", "red-lattice", "sandstone-relief", "starry-blue",
    "ember-red", "pastel-cutout", "ink-and-cobalt", "soft-charcoal", "ivory-wave", "copper-swirls",
)  # fmt: skip
BUILTIN = "builtin:"
BUILTIN_STYLE = rf"^{BUILTIN}(1?[0-9]|2[0-5]|{'|'.join(BUILTIN_NAMES)})$"


def _numbered(style: str) -> str:
    name = style.removeprefix(BUILTIN)
    return f"{BUILTIN}{BUILTIN_NAMES.index(name)}" if name in BUILTIN_NAMES else style


BuiltinStyle = Annotated[
    str,
    Field(
        pattern=BUILTIN_STYLE,
        description=f"One of the {len(BUILTIN_NAMES)} built-in styles, by number or name; `GET /v1/styles` lists them.",
        examples=["builtin:19", "builtin:starry-blue"],
    ),
    AfterValidator(_numbered),
]
Weight = Annotated[float, Field(ge=0.001, le=1000)]
STYLE_DIM = 100  # numbers of a style embedding
STYLE_ID = r"^sty_[0-9a-f]{24}$"
KEPT = "sty_"
TRAINED = "style-"
Vector = Annotated[
    list[Annotated[float, Field(ge=-100, le=100)]],
    Field(min_length=STYLE_DIM, max_length=STYLE_DIM, description="A style embedding, a vector of the space `style`."),
]
KeptStyleId = Annotated[
    str,
    Field(
        pattern=STYLE_ID,
        description="A style that `POST /v1/styles` kept.",
        json_schema_extra={"format": "style-id"},
    ),
]
TRAINED_STYLE = r"^style-[0-9a-f]{12}$"
TrainedStyle = Annotated[
    str,
    Field(
        pattern=TRAINED_STYLE,
        description="A network of one style that recipe `style` of `POST /v1/trainings` trained.",
        examples=["style-0123456789ab"],
        json_schema_extra={"format": "trained-style"},
    ),
]
StyleLosses = Annotated[
    dict[
        Literal["gram", "mean-std", "covariance", "sliced-wasserstein", "histogram"],
        Annotated[float, Field(gt=0, le=1000)],
    ],
    Field(min_length=1, description="The style losses, and the weight of each."),
]


class StyleVector(BaseModel):
    """A style by its embedding; `id` is that of the kept style that it was copied from."""

    model_config = STRICT
    vector: Vector
    id: KeptStyleId | None = None


def _sort_of(style: Any) -> str:
    """The tag, such as <builtin>, of one style."""
    if isinstance(style, str):
        sorts = {BUILTIN: "<builtin>", KEPT: "<kept>", TRAINED: "<trained>"}
        return next((sort for prefix, sort in sorts.items() if style.startswith(prefix)), "<image>")
    return "<vector>" if isinstance(style, dict | StyleVector) else "<image>"


OneImage = Annotated[
    Annotated[ImageRef, Tag("<image>")]
    | Annotated[KeptStyleId, Tag("<kept>")]
    | Annotated[StyleVector, Tag("<vector>")],
    Discriminator(_sort_of),
]


class WeightedImage(BaseModel):
    """One of several styles, an image or a kept style, and its weight."""

    model_config = STRICT
    image: OneImage
    weight: Weight = 1.0


class WeightedStyle(BaseModel):
    """One of several styles, built-in, trained, an image or a kept style, and its weight."""

    model_config = STRICT
    image: Annotated[
        Annotated[BuiltinStyle, Tag("<builtin>")]
        | Annotated[TrainedStyle, Tag("<trained>")]
        | Annotated[ImageRef, Tag("<image>")]
        | Annotated[KeptStyleId, Tag("<kept>")]
        | Annotated[StyleVector, Tag("<vector>")],
        Discriminator(_sort_of),
    ]
    weight: Weight = 1.0


class MaskedImage(WeightedImage):
    """One of several style images, its weight, and where it is applied."""

    mask: Annotated[
        ImageRef | None,
        Field(
            description="An image of the content's size, white where this style is applied; styles of one mask are "
            "mixed."
        ),
    ] = None
    style_mask: Annotated[
        ImageRef | None, Field(description="An image of the style's size, white on the part of it that counts.")
    ] = None

    @model_validator(mode="after")
    def _part_of_an_image(self) -> Self:
        if self.style_mask and not isinstance(self.image, StyleVector) and not self.image.startswith(KEPT):
            return self
        if self.style_mask:
            raise ValueError("`style_mask` goes with a style image, not with a kept style")
        return self


def _style_type(value: Any) -> str | None:
    """The tag, such as <builtin>, of the sort of style that a value is meant to be; errors are about that sort."""
    if isinstance(value, list):
        return "<list>"
    return _sort_of(value) if isinstance(value, str | dict | StyleVector) else None


def _image_type(value: Any) -> str | None:
    """As `_style_type`, where no built-in style is allowed."""
    parts = value if isinstance(value, list) else []
    images = [part.get("image") if isinstance(part, dict) else getattr(part, "image", None) for part in parts]
    tag = None if any(str(image).startswith((BUILTIN, TRAINED)) for image in images) else _style_type(value)
    return "<image>" if tag in ("<builtin>", "<trained>") else tag


AnyStyle = Annotated[
    Annotated[BuiltinStyle, Tag("<builtin>")]
    | Annotated[TrainedStyle, Tag("<trained>")]
    | Annotated[ImageRef, Tag("<image>")]
    | Annotated[KeptStyleId, Tag("<kept>")]
    | Annotated[StyleVector, Tag("<vector>")]
    | Annotated[list[WeightedStyle], Field(min_length=1, max_length=8), Tag("<list>")],
    Discriminator(
        _style_type,
        custom_error_type="style",
        custom_error_message="Input should be a built-in style, an image, a kept or a trained style, or a list of "
        "these with weights",
    ),
]
ImageStyle = Annotated[
    Annotated[ImageRef, Tag("<image>")]
    | Annotated[KeptStyleId, Tag("<kept>")]
    | Annotated[StyleVector, Tag("<vector>")]
    | Annotated[list[WeightedImage], Field(min_length=1, max_length=8), Tag("<list>")],
    Discriminator(
        _image_type,
        custom_error_type="style",
        custom_error_message="Input should be an image, a kept style, or a list of these with weights; "
        "built-in and trained styles are for method fast",
    ),
]
MaskedStyle = Annotated[
    Annotated[ImageRef, Tag("<image>")]
    | Annotated[KeptStyleId, Tag("<kept>")]
    | Annotated[StyleVector, Tag("<vector>")]
    | Annotated[list[MaskedImage], Field(min_length=1, max_length=8), Tag("<list>")],
    Discriminator(
        _image_type,
        custom_error_type="style",
        custom_error_message="Input should be an image, a kept style, or a list of these with weights and masks; "
        "built-in and trained styles are for method fast",
    ),
]


def trained_styles(style: Any) -> dict[str, str]:
    """The ids of the trained networks that the style of a `fast` request names, by their fields."""
    parts = {f"style.{i}.image": part.image for i, part in enumerate(style)} if isinstance(style, list) else {}
    named = parts or {"style": style}
    return {field: image for field, image in named.items() if isinstance(image, str) and image.startswith(TRAINED)}


def check_trained(facts: Facts, style: Any) -> None:
    """Raises BadInput for a trained style that no worker has."""
    named = trained_styles(style)
    known = (
        {name for name, card in facts.cards().items() if card["architecture"].get("name") == "style-net"}
        if named
        else set()
    )
    for field, image in named.items():
        if image not in known:
            raise unknown_model(field, f"No style called {image!r} was trained", sorted(known))


def with_vectors(facts: Facts, style: Any) -> Any:
    """The style of a request with the vector of each kept one, so that the job does not need it; raises NotFound."""
    if isinstance(style, list):
        images = [with_vector(facts, f"style.{i}.image", part.image) for i, part in enumerate(style)]
        return [part.model_copy(update={"image": image}) for part, image in zip(style, images, strict=True)]
    return with_vector(facts, "style", style)


def with_vector(facts: Facts, field: str, style: Any) -> Any:
    """A style with the vector of a kept one; raises NotFound, which names the field."""
    if not isinstance(style, str) or not style.startswith(KEPT):
        return style
    with naming(field):
        return StyleVector(vector=facts.style(style).vector, id=style)
