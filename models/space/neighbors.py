"""Nearest members of a collection's members: outliers and near-duplicates."""

from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from models.space.clusters import Labels, Scores

Float32 = NDArray[np.float32]
NEIGHBORS = 20  # of each member; as many as scikit-learn's LocalOutlierFactor takes
EXACT = 20_000  # members up to which all distances are computed
LINKS, EF_CONSTRUCTION, EF_SEARCH = 32, 80, 80  # of the HNSW graph above


class Neighbors(NamedTuple):
    """The nearest other members of each member, nearest first: distances and indices, both (n, k)."""

    distances: Float32
    indices: Labels


class Pairs(NamedTuple):
    """Pairs of members, nearest first: indices (p, 2), the smaller first, and distances (p,)."""

    indices: Labels
    distances: Float32


def neighbors_of(scores: Scores, n: int = NEIGHBORS) -> Neighbors:
    """The `n` nearest other members of each member (m, k), fewer if there are fewer.

    Exact up to `EXACT` members. Above, by a graph (Malkov and Yashunin 2018, "Efficient and robust approximate nearest
    neighbor search using hierarchical navigable small world graphs").
    """
    n = min(n, len(scores) - 1)
    if len(scores) <= EXACT:
        distances, indices = NearestNeighbors(n_neighbors=n).fit(scores).kneighbors()
        return Neighbors(distances.astype(np.float32), indices)
    vectors = np.ascontiguousarray(scores, np.float32)
    graph = faiss.IndexHNSWFlat(vectors.shape[1], LINKS)
    graph.hnsw.efConstruction, graph.hnsw.efSearch = EF_CONSTRUCTION, EF_SEARCH
    graph.add(vectors)
    squared, found = graph.search(vectors, n + 1)
    return Neighbors(*_without_self(np.sqrt(squared.clip(0)), found))


def _without_self(distances: Float32, indices: Labels) -> tuple[Float32, Labels]:
    """Removes each member from its own neighbors, or the last one where it is not among them: (m, n + 1) to (m, n)."""
    other = indices != np.arange(len(indices))[:, None]
    other[other.all(1), -1] = False
    shape = len(indices), indices.shape[1] - 1
    return distances[other].reshape(shape), indices[other].reshape(shape)


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


def near_pairs(neighbors: Neighbors, reach: float, most: int) -> Pairs:
    """The `most` nearest pairs of members that are at most `reach` apart, among each one's nearest neighbors."""
    rows, columns = np.nonzero(neighbors.distances <= reach)
    pairs = np.sort(np.stack([rows, neighbors.indices[rows, columns]], axis=1), axis=1)
    pairs, first = np.unique(pairs, axis=0, return_index=True)
    distances = neighbors.distances[rows, columns][first]
    order = np.argsort(distances, kind="stable")[:most]
    return Pairs(pairs[order], distances[order])
