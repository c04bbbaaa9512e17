"""Reads one untrusted image as a square, with the decoder and the limits of uploads."""

import numpy as np
from numpy.typing import NDArray

from images.decode import decode, over_white
from images.errors import ImageError
from images.limits import MAX_PIXELS
from models.errors import DataError
from models.pixels import center_square


def read_image(data: bytes, size: int, channels: int, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Reads the center square of an image as uint8 (size, size, channels), upright, in sRGB, on white.

    Raises DataError for bytes that are not an image in one of `images.sniff.FORMATS`, are damaged, or declare more than
    `max_pixels`.
    """
    try:
        # A large JPEG is decoded at a half, quarter or eighth of its size, at least four times the requested size.
        decoded = decode(data, max_pixels=max_pixels, enough=4 * size)
    except ImageError as error:
        raise DataError(error.message) from error
    small = center_square(over_white(decoded.image), size)
    return np.asarray(small.convert("L" if channels == 1 else "RGB")).reshape(size, size, channels)
