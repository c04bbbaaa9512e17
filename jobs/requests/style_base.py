"""What style transfers of several classes share: sizes, strength and colors."""

from typing import Annotated, Literal

from pydantic import AliasChoices, Field

from jobs.errors import BadInput
from jobs.requests.base import ImageSize

MIN_OUTPUT_SIDE = 32  # pixels of an output's shorter side, the least that the networks of `fast` take

Size = Annotated[
    int, Field(ge=64, le=2048, description="Longer side of the output in pixels; the aspect ratio is kept.")
]
Strength = Annotated[float, Field(ge=0, le=1, description="0 leaves the content as it is, 1 is the full style.")]
PreserveColor = Annotated[
    Literal["none", "luminance", "histogram"],
    Field(
        validation_alias=AliasChoices("preserve_color", "preserve_colour"),
        description="Keep the content's colors: stylize its luminance only, or match the style's colors to it first.",
    ),
]


def check_shorter_side(content: ImageSize, size: int, field: str = "size") -> None:
    """Raises BadInput, naming a field, where a content has too few pixels on one side at `size` on the other."""
    shorter = round(size * min(content) / max(content))
    if shorter < MIN_OUTPUT_SIDE:
        message = f"{field}: At {size} the shorter side would have {shorter} pixels; at least {MIN_OUTPUT_SIDE} are "
        message = f"{message}needed."
        raise BadInput("content_too_narrow", message, field=field, shorter_side=shorter, min_side=MIN_OUTPUT_SIDE)
