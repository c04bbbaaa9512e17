"""Samples of a cluster, and what can be said of where a vector lies among a collection's members."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from models.space.clusters import Clustering, Labels, assigned
from models.space.mixture import Mixture
from models.space.pca import SpaceError

Array = NDArray[np.float32]
Float64 = NDArray[np.float64]
ROUNDS = 20  # of draws, before those still outside their cluster are moved in
MOVES = 40  # by a fifth each towards the medoid: after all of them 0.01 % of the way is left
FEWEST = 2  # members that a Gaussian needs


def sample_cluster(
    scores: Array, clustering: Clustering, cluster: int, n: int, temperature: float, rng: np.random.Generator
) -> Array:
    """Draws new scores (n, k) from the Gaussian of a cluster's members, `temperature` times as wide.

    Its covariance is the members' own, however few they are: samples vary in no way in which the members do not. An
    estimate that is shrunk towards a multiple of the identity (Ledoit and Wolf 2004) gives each late component of the
    pixels the variance of the average one, and images colored noise. Draws that another cluster is assigned are drawn
    again. Raises SpaceError.
    """
    members = scores[clustering.labels_ == cluster]
    _check_members(cluster, len(members))
    drawn = _draw(members, np.ones(len(members)), n, temperature, rng)
    for _ in range(ROUNDS):
        outside = assigned(clustering, scores, drawn) != cluster
        if not outside.any():
            return drawn
        drawn[outside] = _draw(members, np.ones(len(members)), int(outside.sum()), temperature, rng)
    medoid = scores[clustering.medoids_[cluster]]
    return _moved_in(drawn, medoid, lambda points: assigned(clustering, scores, points) == cluster)


def sample_component(
    scores: Array, mixture: Mixture, component: int, n: int, temperature: float, rng: np.random.Generator
) -> Array:
    """Draws new scores (n, k) of a mixture's component, `temperature` times as wide.

    The Gaussian is that of the members (n, k), each weighted by its posterior probability of the component: without the
    floor that keeps the fit's variances apart from 0, and with the correlations that a diagonal one leaves out. Where
    components overlap a draw may be likelier from another, as a member may. Raises SpaceError.
    """
    _check_members(component, int((mixture.labels(scores) == component).sum()))
    return _draw(scores, mixture.responsibilities(scores, component), n, temperature, rng)


def _check_members(cluster: int, n: int) -> None:
    if n < FEWEST:
        raise SpaceError(f"cluster {cluster} has {n} members; at least {FEWEST} are needed to sample from it")


def _draw(members: Array, weights: Float64, n: int, temperature: float, rng: np.random.Generator) -> Array:
    """Draws from the Gaussian of members (m, k) with weights (m,).

    A sum of the members' differences from their mean, by normal factors, has exactly their covariance. There is no
    matrix (k, k) to factor, which of fewer members than components would be singular.
    """
    shares = weights / weights.sum()
    mean = shares @ members.astype(np.float64)
    factors = rng.standard_normal((n, len(members))) * np.sqrt(shares)
    return np.asarray(mean + temperature * factors @ (members - mean), np.float32)


def _moved_in(drawn: Array, medoid: Array, inside: Callable[[Array], NDArray[np.bool_]]) -> Array:
    """Moves those outside their cluster towards its medoid until they are inside."""
    for _ in range(MOVES):
        outside = ~inside(drawn)
        if not outside.any():
            break
        drawn[outside] = medoid + 0.8 * (drawn[outside] - medoid)
    return drawn


def nearest_members(scores: Array, points: Array, n: int) -> Labels:
    """The `n` members (rows of `scores`) nearest to each point, nearest first, (points, n)."""
    found: Labels = NearestNeighbors(n_neighbors=min(n, len(scores))).fit(scores).kneighbors(points)[1]
    return found


def spread(scores: Array) -> float:
    """The root mean square distance between two members: the unit in which distances are told."""
    return float(np.sqrt(2 * scores.var(0).sum()))


def density(scores: Array, points: Array, neighbours: int = 5) -> Float64:
    """The share of members that lie in sparser places than each point, (points,) in [0, 1].

    Sparser: farther from their `neighbours`-th nearest member (Loftsgaarden and Quesenberry 1965).
    """
    neighbours = min(neighbours, len(scores) - 1)
    index = NearestNeighbors().fit(scores)
    own = index.kneighbors(scores, neighbours + 1)[0][:, -1]  # the first is the member itself
    reach = index.kneighbors(points, neighbours)[0][:, -1]
    shares: Float64 = (own[None] > reach[:, None]).mean(1)
    return shares


def distances(a: Array, b: Array) -> Float64:
    """From each row of a to the same row of b, (n,)."""
    found: Float64 = np.linalg.norm(a.astype(np.float64) - b, axis=1)
    return found
