"""The colors of one image with the painting of another: float32 arrays (h, w, 3) in [0, 1].

Gatys et al. 2017, "Controlling perceptual factors in neural style transfer", section 5. `luminance` paints in gray and
takes its colors from the content; `histogram` gives the style the content's colors before it is painted with.
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float32]]
LUMINANCE = np.array([0.299, 0.587, 0.114])  # of R, G and B, ITU-R BT.601


def to_gray(image: Array, like: Array | None = None) -> Array:
    """The luminance of an image in three equal channels, with the mean and spread of that of `like`: eq. 10."""
    luminance = image @ LUMINANCE
    if like is not None:
        other = like @ LUMINANCE
        luminance = (luminance - luminance.mean()) * (other.std() / max(luminance.std(), 1e-6)) + other.mean()
    return _within(np.repeat(luminance[..., None], 3, axis=2))


def replace_luminance(image: Array, painted: Array) -> Array:
    """The image with the luminance of one painted from it, of the same size, and its own colors."""
    return _within(image + ((painted - image) @ LUMINANCE)[..., None])


def match_colors(image: Array, like: Array) -> Array:
    """The image with the mean and covariance of the colors of `like`, of any size: eq. 11 to 14.

    Of the linear maps that do so, the one that moves colors least: A = C⁻½ (C½ C' C½)½ C⁻½ (Dowson and Landau 1982).
    """
    ours, theirs = image.reshape(-1, 3).astype(np.float64), like.reshape(-1, 3).astype(np.float64)
    root = _root(np.cov(ours.T) + 1e-6 * np.eye(3))  # an image of one color can have no other covariance
    inverse = np.linalg.inv(root)
    moved = inverse @ _root(root @ np.cov(theirs.T) @ root) @ inverse
    mapped = (ours - ours.mean(0)) @ moved + theirs.mean(0)
    return _within(mapped.reshape(image.shape))


def _within(image: np.ndarray) -> Array:
    cut: Array = image.clip(0, 1).astype(np.float32)
    return cut


def _root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric square root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    root: np.ndarray = vectors * np.sqrt(values.clip(0)) @ vectors.T
    return root
