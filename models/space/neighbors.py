"""Nearest members of a collection's members, and how isolated each is."""

from collections.abc import Callable
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from models.space.clusters import Labels, Scores
from models.space.search import inverted_file

Float32 = NDArray[np.float32]
NEIGHBORS = 20  # of each member; as many as scikit-learn's LocalOutlierFactor takes
EXACT = 50_000  # members up to which all distances are computed; for twice as many, lists take half of the time
LISTS_PER_ROOT, PROBED = 1, 0.1  # above: sqrt(n) lists, of which this share is searched for each
BLOCK = 4096  # members between two calls of `on_step`


class Neighbors(NamedTuple):
    """The nearest other members of each member, nearest first: distances and indices, both (n, k)."""

    distances: Float32
    indices: Labels


def neighbors_of(scores: Scores, n: int = NEIGHBORS, on_step: Callable[[], None] = lambda: None) -> Neighbors:
    """The `n` nearest other members of each member (m, k), fewer if there are fewer.

    Exact up to `EXACT` members. Above, by an inverted file (Sivic and Zisserman 2003, "Video Google"), whose recall
    `python -m bench.spaces fit` prints. `on_step` is called before each `BLOCK` members and may raise to stop.
    """
    n = min(n, len(scores) - 1)
    vectors = np.ascontiguousarray(scores, np.float32)
    index = inverted_file(vectors, LISTS_PER_ROOT) if len(vectors) > EXACT else None
    parts = []
    for start in range(0, len(vectors), BLOCK):
        on_step()
        rows = np.arange(start, min(start + BLOCK, len(vectors)))
        parts.append(_ordered(vectors, rows, _without(rows, _found(vectors, rows, n + 1, index))))
    return Neighbors(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _found(vectors: Float32, rows: Labels, n: int, index: faiss.IndexIVFFlat | None) -> Labels:
    """Indices (rows, n) of the members nearest to each of some rows, usually with itself."""
    if index is None:
        return np.asarray(faiss.knn(vectors[rows], vectors, n)[1])
    index.nprobe = max(1, round(PROBED * index.nlist))
    found = np.asarray(index.search(vectors[rows], n)[1])
    few = (found < 0).any(1)  # the lists that were searched have fewer than n members
    if few.any():
        found[few] = faiss.knn(vectors[rows[few]], vectors, n)[1]
    return found


def _without(rows: Labels, found: Labels) -> Labels:
    """Removes each row from those found for it, or the last one where it is not among them: (m, n) to (m, n - 1)."""
    other = found != rows[:, None]
    other[other.all(1), -1] = False
    kept: Labels = found[other].reshape(len(rows), found.shape[1] - 1)
    return kept


def _ordered(vectors: Float32, rows: Labels, found: Labels) -> Neighbors:
    """Distances, free of the cancellation of those by which they were found, and indices, nearest first."""
    distances = np.stack([np.linalg.norm(vectors[column] - vectors[rows], axis=1) for column in found.T], axis=1)
    order = np.argsort(distances, axis=1, kind="stable")
    return Neighbors(np.take_along_axis(distances, order, 1), np.take_along_axis(found, order, 1))


def outlier_scores(neighbors: Neighbors) -> Float32:
    """How isolated each member is, (n,) in [0, 1): 1 - 1 / LOF, and 0 for members whose LOF is below 1.

    The local outlier factor (Breunig et al. 2000, "LOF: identifying density-based local outliers", definition 7) is the
    density of a member's neighbors relative to its own: 0.5 is half as dense as they are. 1e-10 as in scikit-learn.
    """
    distances, indices = neighbors
    reachability = np.maximum(distances, distances[:, -1][indices]).mean(1, dtype=np.float64)
    density = 1 / (reachability + 1e-10)
    factor = density[indices].mean(1) / density
    return np.asarray(1 - 1 / factor.clip(1), np.float32)
