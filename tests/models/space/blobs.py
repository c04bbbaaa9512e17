"""Members that tests cluster, and colors in plots."""

import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from models.pixels import ImageArray

Mask = NDArray[np.bool_]

LINE = np.array([[0.0], [1.0], [3.0], [10.0], [12.0]], np.float32)
SPLIT = np.array([0, 0, 0, 1, 1])


def blobs(n: int = 40, c: int = 5, noise: float = 0.5) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """c clusters of n members each, 10 from the origin in directions of their own, in 6 dimensions."""
    labels = np.repeat(np.arange(c), n)
    scores = 10 * np.eye(c, 6)[labels] + noise * np.random.default_rng(0).normal(size=(n * c, 6))
    return scores.astype(np.float32), labels


def where(plot: ImageArray, name: str, opacity: float = 1) -> Mask:
    """Which pixels have a color, laid on white with an opacity."""
    rgb = 255 * (opacity * np.array(to_rgb(name)) + 1 - opacity)
    return np.asarray((np.abs(plot - rgb) <= 1).all(2))
