"""The data that a request can name: named sets, and uploaded archives."""

from typing import Annotated, NamedTuple

from pydantic import Field


class NamedSet(NamedTuple):
    """What is known of a named set before it is read; `space` is that of its collections unless a request names one."""

    image_size: int
    channels: int
    attributes: tuple[str, ...] = ()
    space: str = "pixels"


AVATAR_ATTRIBUTES = (
    *("woman", "glasses", "mustache", "hat", "long_hair", "neutral", "smiling", "frowning", "surprised"),
    *("black_hair", "brown_hair", "blond_hair", "red_hair", "grey_hair"),
    *("pale_skin", "tan_skin", "brown_skin", "dark_skin"),
    *("red_hat", "blue_hat", "green_hat", "yellow_hat", "purple_hat"),
    *("white_background", "blue_background", "green_background", "pink_background", "grey_background"),
)

SETS = {
    "digits": NamedSet(16, 1, space="vae-digits-8"),
    "mnist": NamedSet(28, 1),
    "fashion-mnist": NamedSet(28, 1, space="vae-fashion-mnist-8"),
    "avatars": NamedSet(64, 3, AVATAR_ATTRIBUTES, "kandinsky-avatars"),
    "avatars-256": NamedSet(256, 3, AVATAR_ATTRIBUTES, "kandinsky-avatars"),
    "flowers": NamedSet(
        *(128, 3),
        (
            *("bluebell", "blossom", "dahlia", "daisy", "iris", "lily", "poppy", "rose", "sunflower", "tulip"),
            *("white", "yellow", "orange", "red", "pink", "purple", "blue"),
            *("cream_background", "green_background", "grey_background", "slate_background"),
            *("sky_background", "dusk_background", "foliage_background", "leaves", "side_view"),
        ),
        "kandinsky-flowers",
    ),
    "photos": NamedSet(256, 3, space="photo"),
    "smileys": NamedSet(
        *(64, 3),
        (
            *("smiling", "neutral", "frowning", "surprised", "winking"),
            *("yellow_face", "orange_face", "green_face", "blue_face", "pink_face"),
            *("white_background", "grey_background", "navy_background", "teal_background", "lilac_background"),
            *("open_mouth", "large", "tilted_left"),
        ),
        "vae-smileys",
    ),
    "styles": NamedSet(
        *(256, 3),
        (
            *("stripes", "pointillism", "stained_glass", "marbling", "brush_strokes", "swirls", "hatching", "mosaic"),
            *("waves", "halftone", "watercolor", "constructivism", "engraving", "facets", "paper_cut", "builtin"),
            *("ember", "ocean", "forest", "pastel", "neon", "sepia", "ink", "primary", "dusk", "spring"),
        ),
        "style",
    ),
}
DATA = rf"^({'|'.join(SETS)}|zip_[0-9a-f]{{64}})$"

Data = Annotated[
    str,
    Field(
        pattern=DATA,
        description="A named set, or the `zip_…` id of an uploaded archive.",
        json_schema_extra={"format": "training-data"},
    ),
]


def archive_of(data: str | None) -> str | None:
    """The sha256 of the archive that `data` names, if it names one."""
    return data.removeprefix("zip_") if data and data not in SETS else None
