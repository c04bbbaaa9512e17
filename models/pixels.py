"""Crops center squares and converts floats to 8-bit pixels; NaN raises an error instead of becoming black."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.errors import NotFiniteError

ImageArray = NDArray[np.uint8]  # (h, w, channels), or (n, h, w, channels)
NOT_FINITE = "The image has values that are NaN or infinite."


def to_bytes(image: NDArray[np.float32]) -> ImageArray:
    """Converts floats in [0, 1], clipped to that range, to uint8 0 to 255 of the same shape; raises NotFiniteError."""
    if not np.isfinite(image).all():
        raise NotFiniteError(NOT_FINITE)
    return (image * 255).round().clip(0, 255).astype(np.uint8)


def center_box(width: int, height: int) -> tuple[int, int, int, int]:
    """The largest square in the center of an image: its left, top, right and bottom in pixels."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def center_square(image: Image.Image, size: int) -> Image.Image:
    """Scales the center square of an image to `size` pixels, for images of data sets and of requests."""
    return image.crop(center_box(*image.size)).resize((size, size), Image.Resampling.LANCZOS)
