"""The step from floats to pixels, and the error for values that are not finite, which must not become black images."""

import numpy as np
from numpy.typing import NDArray


class NotFiniteError(ArithmeticError):
    """An image or a weight is NaN or infinite; the message says which."""


def to_bytes(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Images of [0, 1], clipped to it, as 0 to 255; raises NotFiniteError."""
    if not np.isfinite(image).all():
        raise NotFiniteError(NOT_FINITE)
    return (image * 255).round().clip(0, 255).astype(np.uint8)


NOT_FINITE = "The image has values that are NaN or infinite."
