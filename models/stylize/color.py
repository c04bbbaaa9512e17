"""The colours of one picture with the painting of another: float32 arrays (h, w, 3) in [0, 1].

Gatys et al. 2017, "Controlling perceptual factors in neural style transfer", section 5. `luminance` paints in grey and
takes its colours from the content; `histogram` gives the style the content's colours before it is painted with.
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float32]]
LUMINANCE = np.array([0.299, 0.587, 0.114])  # of R, G and B, ITU-R BT.601


def to_gray(picture: Array, like: Array | None = None) -> Array:
    """The luminance of a picture in three equal channels, with the mean and spread of that of `like`: eq. 10."""
    luminance = picture @ LUMINANCE
    if like is not None:
        other = like @ LUMINANCE
        luminance = (luminance - luminance.mean()) * (other.std() / max(luminance.std(), 1e-6)) + other.mean()
    return _within(np.repeat(luminance[..., None], 3, axis=2))


def replace_luminance(picture: Array, painted: Array) -> Array:
    """The picture with the luminance of one painted from it, of the same size, and its own colours."""
    return _within(picture + ((painted - picture) @ LUMINANCE)[..., None])


def match_colors(picture: Array, like: Array) -> Array:
    """The picture with the mean and covariance of the colours of `like`, of any size: eq. 11 to 14.

    Of the linear maps that do so, the one that moves colours least: A = C⁻½ (C½ C' C½)½ C⁻½ (Dowson and Landau 1982).
    """
    ours, theirs = picture.reshape(-1, 3).astype(np.float64), like.reshape(-1, 3).astype(np.float64)
    root = _root(np.cov(ours.T) + 1e-6 * np.eye(3))  # a picture of one colour can have no other covariance
    inverse = np.linalg.inv(root)
    moved = inverse @ _root(root @ np.cov(theirs.T) @ root) @ inverse
    mapped = (ours - ours.mean(0)) @ moved + theirs.mean(0)
    return _within(mapped.reshape(picture.shape))


def _within(picture: np.ndarray) -> Array:
    cut: Array = picture.clip(0, 1).astype(np.float32)
    return cut


def _root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric square root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    root: np.ndarray = vectors * np.sqrt(values.clip(0)) @ vectors.T
    return root
