"""Conversion of floats to 8-bit pixels; values that are not finite raise an error rather than become black images."""

import numpy as np
from numpy.typing import NDArray

from models.errors import NotFiniteError

ImageArray = NDArray[np.uint8]  # (h, w, channels), or (n, h, w, channels)
NOT_FINITE = "The image has values that are NaN or infinite."


def to_bytes(image: NDArray[np.float32]) -> ImageArray:
    """Converts floats in [0, 1], clipped to that range, to uint8 0 to 255 of the same shape; raises NotFiniteError."""
    if not np.isfinite(image).all():
        raise NotFiniteError(NOT_FINITE)
    return (image * 255).round().clip(0, 255).astype(np.uint8)
