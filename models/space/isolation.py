"""Which vectors are unlike the members of a collection: farther from these than they are from each other."""

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from models.space.pca import Array

NEAREST = 3  # members that a vector is compared with
SAMPLED = 256  # members whose own distances are measured
FEWEST = 20  # members without which there is no spacing
SHARE = 0.98  # of the members that are within the spacing


def distances_to(members: Array, vectors: Array) -> NDArray[np.float64]:
    """Mean cosine distances (q,) of vectors (q, dim) to their `NEAREST` nearest members (n, dim).

    Of features of a network the angle tells kinds of images apart better than the Euclidean distance.
    """
    return np.asarray(_nearest(members, vectors, NEAREST).mean(1))


def spacing_of(members: Array) -> float | None:
    """The mean distance to the `NEAREST` nearest others that `SHARE` of the members (n, dim) do not exceed.

    An outlier test by the distance to neighbors (Ramaswamy et al. 2000, "Efficient algorithms for mining outliers from
    large data sets"). None for fewer members than `FEWEST`.
    """
    if len(members) < FEWEST:
        return None
    some = members[:: -(-len(members) // SAMPLED)]
    others = _nearest(members, some, NEAREST + 1)[:, 1:]  # each is its own nearest
    return float(np.quantile(others.mean(1), SHARE))


def _nearest(members: Array, vectors: Array, n: int) -> NDArray[np.float64]:
    """Cosine distances (q, n) of vectors to their nearest members, nearest first."""
    distances, _ = NearestNeighbors(metric="cosine", algorithm="brute").fit(members).kneighbors(vectors, n)
    return np.asarray(distances, np.float64)
