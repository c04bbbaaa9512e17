"""Color-preserving style transfer: functions of float32 images (h, w, 3) in [0, 1].

Gatys et al. 2017, "Controlling perceptual factors in neural style transfer", section 5. `luminance` transfers the style
in gray and keeps the colors of the content; `histogram` matches the colors of the style to the content beforehand.
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float32]]
LUMINANCE = np.array([0.299, 0.587, 0.114])  # of R, G and B, ITU-R BT.601


def to_gray(image: Array, like: Array | None = None) -> Array:
    """Luminance of an image in three equal channels, with the mean and deviation of that of `like` (eq. 10)."""
    luminance = image @ LUMINANCE
    if like is not None:
        other = like @ LUMINANCE
        luminance = (luminance - luminance.mean()) * (other.std() / max(luminance.std(), 1e-6)) + other.mean()
    return _within(np.repeat(luminance[..., None], 3, axis=2))


def replace_luminance(image: Array, painted: Array) -> Array:
    """Replaces the luminance of an image by that of `painted`, of the same size, and keeps its colors."""
    return _within(image + ((painted - image) @ LUMINANCE)[..., None])


def match_colors(image: Array, like: Array) -> Array:
    """Matches the mean and covariance of an image's colors to those of `like`, of any size (eq. 11 to 14).

    Uses the linear map that changes colors least: A = C⁻½ (C½ C' C½)½ C⁻½ (Dowson and Landau 1982).
    """
    ours, theirs = image.reshape(-1, 3).astype(np.float64), like.reshape(-1, 3).astype(np.float64)
    root = _root(np.cov(ours.T) + 1e-6 * np.eye(3))  # the covariance of a uniform image is singular
    inverse = np.linalg.inv(root)
    moved = inverse @ _root(root @ np.cov(theirs.T) @ root) @ inverse
    mapped = (ours - ours.mean(0)) @ moved + theirs.mean(0)
    return _within(mapped.reshape(image.shape))


def _within(image: np.ndarray) -> Array:
    clipped: Array = image.clip(0, 1).astype(np.float32)
    return clipped


def _root(matrix: np.ndarray) -> np.ndarray:
    """Symmetric square root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    root: np.ndarray = vectors * np.sqrt(values.clip(0)) @ vectors.T
    return root
