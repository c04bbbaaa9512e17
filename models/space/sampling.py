"""New vectors of a cluster, and what can be said of where a vector lies among a collection's members."""

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors

from models.space.clusters import Clustering, assigned
from models.space.pca import SpaceError

Array = NDArray[np.float32]
ROUNDS = 20  # of draws, before those still outside their cell are drawn in


def sample_cluster(
    scores: Array, clustering: Clustering, cluster: int, n: int, temperature: float, rng: np.random.Generator
) -> Array:
    """New scores (n, k) of one cluster, from the Gaussian of its members, `temperature` times as wide.

    The covariance is that of Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional covariance
    matrices", since a cluster may have fewer members than there are components. Draws that lie nearer to another
    centre are drawn again. Raises SpaceError.
    """
    members = scores[clustering.labels_ == cluster]
    if len(members) < 2:
        raise SpaceError(f"cluster {cluster} has {len(members)} members; at least 2 are needed to sample from it")
    members = members.astype(np.float64)  # in float32 the covariance of two is not positive definite
    mean = members.mean(0)
    root = np.linalg.cholesky(LedoitWolf().fit(members).covariance_ + 1e-9 * np.eye(len(mean)))

    def draw(count: int) -> Array:
        noise = rng.standard_normal((count, len(mean)))
        return np.asarray(mean + temperature * noise @ root.T, np.float32)

    drawn = draw(n)
    for _ in range(ROUNDS):
        outside = assigned(clustering, drawn) != cluster
        if not outside.any():
            return drawn
        drawn[outside] = draw(int(outside.sum()))
    return _drawn_in(drawn, clustering, cluster)


def _drawn_in(drawn: Array, clustering: Clustering, cluster: int) -> Array:
    """Those outside the cell moved towards its centre until they are inside."""
    centre = clustering.cluster_centers_[cluster]
    while (outside := assigned(clustering, drawn) != cluster).any():
        drawn[outside] = centre + 0.8 * (drawn[outside] - centre)
    return drawn


def nearest_members(scores: Array, points: Array, n: int) -> NDArray[np.int64]:
    """The `n` members (rows of `scores`) nearest to each point, nearest first, (points, n)."""
    found: NDArray[np.int64] = NearestNeighbors(n_neighbors=min(n, len(scores))).fit(scores).kneighbors(points)[1]
    return found


def spread(scores: Array) -> float:
    """The root mean square distance between two members: the unit in which distances are told."""
    return float(np.sqrt(2 * scores.var(0).sum()))


def density(scores: Array, points: Array, neighbours: int = 5) -> NDArray[np.float64]:
    """The share of members that lie in sparser places than each point, (points,) in [0, 1].

    Sparser: farther from their `neighbours`-th nearest member (Loftsgaarden and Quesenberry 1965).
    """
    neighbours = min(neighbours, len(scores) - 1)
    index = NearestNeighbors().fit(scores)
    own = index.kneighbors(scores, neighbours + 1)[0][:, -1]  # the first is the member itself
    reach = index.kneighbors(points, neighbours)[0][:, -1]
    shares: NDArray[np.float64] = (own[None] > reach[:, None]).mean(1)
    return shares


def distances(a: Array, b: Array) -> NDArray[np.float64]:
    """From each row of a to the same row of b, (n,)."""
    found: NDArray[np.float64] = np.linalg.norm(a.astype(np.float64) - b, axis=1)
    return found
