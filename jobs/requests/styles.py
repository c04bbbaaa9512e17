"""What styles and layers the requests of a style transfer can name."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Discriminator, Field, Tag

from jobs.requests.base import STRICT, ImageRef

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
StyleLosses = Annotated[
    dict[
        Literal["gram", "mean-std", "covariance", "sliced-wasserstein", "histogram"],
        Annotated[float, Field(gt=0, le=1000)],
    ],
    Field(min_length=1, description="The style losses, and the weight of each."),
]


class WeightedImage(BaseModel):
    """One of several style images, and its weight."""

    model_config = STRICT
    image: ImageRef
    weight: Weight = 1.0


class WeightedStyle(BaseModel):
    """One of several styles, built-in or an image, and its weight."""

    model_config = STRICT
    image: Annotated[
        Annotated[BuiltinStyle, Tag("<builtin>")] | Annotated[ImageRef, Tag("<image>")],
        Discriminator(lambda value: "<builtin>" if str(value).startswith(BUILTIN) else "<image>"),
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


def _style_type(value: Any) -> str | None:
    """The tag, such as <builtin>, of the sort of style that a value is meant to be; errors are about that sort."""
    if isinstance(value, str):
        return "<builtin>" if value.startswith(BUILTIN) else "<image>"
    return "<list>" if isinstance(value, list) else None


def _image_type(value: Any) -> str | None:
    """As `_style_type`, where no built-in style is allowed."""
    parts = value if isinstance(value, list) else []
    images = [part.get("image") if isinstance(part, dict) else getattr(part, "image", None) for part in parts]
    return None if any(str(image).startswith(BUILTIN) for image in images) else _style_type(value)


AnyStyle = Annotated[
    Annotated[BuiltinStyle, Tag("<builtin>")]
    | Annotated[ImageRef, Tag("<image>")]
    | Annotated[list[WeightedStyle], Field(min_length=1, max_length=8), Tag("<list>")],
    Discriminator(
        _style_type,
        custom_error_type="style",
        custom_error_message="Input should be a built-in style, an image, or a list of these with weights",
    ),
]
ImageStyle = Annotated[
    Annotated[ImageRef, Tag("<image>")]
    | Annotated[list[WeightedImage], Field(min_length=1, max_length=8), Tag("<list>")],
    Discriminator(
        _image_type,
        custom_error_type="style",
        custom_error_message="Input should be an image, or a list of images with weights; "
        "built-in styles are for method fast",
    ),
]
MaskedStyle = Annotated[
    Annotated[ImageRef, Tag("<image>")]
    | Annotated[list[MaskedImage], Field(min_length=1, max_length=8), Tag("<list>")],
    Discriminator(
        _image_type,
        custom_error_type="style",
        custom_error_message="Input should be an image, or a list of images with weights and masks; "
        "built-in styles are for method fast",
    ),
]
