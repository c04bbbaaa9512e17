"""Handwritten digits that come with scikit-learn: 1,797 of the UCI set (Alpaydin and Kaynak, 1998), 8 x 8 each."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from models.data.dataset import Dataset

DEPTH = 16  # the pixels count ink in blocks of 4 x 4: 0 to 16


def digits(size: int = 16) -> Dataset:
    """The 1,797 digits, white on black, (1797, size, size, 1), with labels 0 to 9; bicubic where size is not 8."""
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    found = load_digits()
    images = np.stack([_resized(image, size) for image in found.images])
    names = tuple(str(name) for name in found.target_names)
    return Dataset(images[..., None], labels=found.target.astype(np.int64), label_names=names)


def _resized(image: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """One digit (8, 8) of 0 to 16 as (size, size) of 0 to 255, resized in floats; what rings past the ends is cut."""
    canvas = Image.fromarray((image * (255 / DEPTH)).astype(np.float32))
    resized = np.asarray(canvas.resize((size, size), Image.Resampling.BICUBIC))
    return resized.round().clip(0, 255).astype(np.uint8)
