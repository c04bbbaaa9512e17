"""JPEG files of every kind."""

from typing import Any

from PIL import Image

from tests.images.crafted import (
    pixels,
    save,
)

# Ends of JPEG files


def photo(side: int = 64) -> Image.Image:
    return Image.fromarray(pixels(side, side))


JPEGS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "4:4:4": {"subsampling": 0},
    "progressive": {"progressive": True},
    "restart markers": {"restart_marker_blocks": 2},
    "flat": {},
    "grey": {},
    "cmyk": {},
    "cmyk progressive": {"progressive": True},
}


def jpeg(kind: str) -> bytes:
    modes = {"grey": "L", "cmyk": "CMYK", "cmyk progressive": "CMYK"}
    image = Image.new("RGB", (64, 64), (90, 120, 60)) if kind == "flat" else photo()
    return save(image.convert(modes.get(kind, "RGB")), "JPEG", **JPEGS[kind])
