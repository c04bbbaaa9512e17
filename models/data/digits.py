"""Handwritten digits of scikit-learn: 1,797 images of 8 x 8 pixels of the UCI set (Alpaydin and Kaynak, 1998)."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from models.data.dataset import Dataset

DEPTH = 16  # a pixel is the number of ink pixels in a block of 4 x 4: 0 to 16


def digits(size: int = 16) -> Dataset:
    """Loads the digits, white on black, (1797, size, size, 1), with labels 0 to 9; resized bicubically."""
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    digits = load_digits()
    images = np.stack([_resized(image, size) for image in digits.images])
    names = tuple(str(name) for name in digits.target_names)
    return Dataset(images[..., None], labels=digits.target.astype(np.int64), label_names=names)


def _resized(image: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """Resizes a digit (8, 8) in [0, 16] to uint8 (size, size), in floats; overshoot is clipped."""
    canvas = Image.fromarray((image * (255 / DEPTH)).astype(np.float32))
    resized = np.asarray(canvas.resize((size, size), Image.Resampling.BICUBIC))
    return resized.round().clip(0, 255).astype(np.uint8)
