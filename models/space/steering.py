"""Directions in a space and moves along them, in standard deviations of a collection's members."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from models.errors import SpaceError, TooFewMembersError
from models.space.pca import Pca

Array = NDArray[np.float32]
Fitting = Literal["difference", "linear"]


def moved(pca: Pca, vectors: Array, changes: Array) -> Array:
    """Moves vectors (n, dim) by changes (n, k) of their scores; their part outside the components stays the same."""
    result: Array = (vectors + (changes @ pca.components_) * pca.scale_).astype(np.float32)
    return result


def along(direction: Array, strengths: Sequence[float]) -> Array:
    """Multiplies a direction (k,) of one standard deviation by each strength: (strengths, k)."""
    return np.asarray(strengths, np.float32)[:, None] * direction


def component_direction(pca: Pca, component: int) -> Array:
    """Change of scores (k,) by one standard deviation along a component, counted from 0. Raises SpaceError."""
    k = len(pca.components_)
    if not 0 <= component < k:
        raise SpaceError(f"there is no component {component}; there are {k}, 0 to {k - 1}")
    direction = np.zeros(k, np.float32)
    direction[component] = np.sqrt(pca.explained_variance_[component])
    return direction


def attribute_direction(scores: Array, has: NDArray[np.bool_], fitting: Fitting = "difference") -> Array:
    """Direction (k,) from members (n, k) without an attribute to those with it, one standard deviation long.

    "difference": the difference of the two means (Larsen et al. 2016, section 4.2). "linear": the normal of Fisher's
    linear discriminant, which changes least what correlates with the attribute by chance. Raises TooFewMembersError.
    """
    if min(has.sum(), (~has).sum()) < 2:
        message = f"{has.sum()} of {len(has)} images have the attribute; at least 2 must have it and 2 lack it"
        raise TooFewMembersError(message)
    if fitting == "difference":
        towards = scores[has].mean(0) - scores[~has].mean(0)
    else:
        towards = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(scores, has).coef_[0]
    length = np.linalg.norm(towards)
    if not np.isfinite(length) or length == 0:
        message = "images with and without the attribute have the same mean; there is no direction between them"
        raise TooFewMembersError(message)
    unit = towards / length
    direction: Array = (unit * (scores @ unit).std()).astype(np.float32)
    return direction


def towards_style(start: Array, style: Array, n_components: int, strength: float) -> Array:
    """Change of scores (k,) that moves the first `n_components` of `start` (k,) towards those of `style` (k,).

    At strength 1 they equal those of the style. Later components stay the same.
    """
    change = np.zeros_like(start)
    change[:n_components] = strength * (style[:n_components] - start[:n_components])
    return change
