"""Samples of a cluster, and what can be said of where a vector lies among a collection's members."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from models.errors import TooFewMembersError
from models.space.clusters import FittedClustering, Labels, assigned
from models.space.mixture import FittedMixture

Array = NDArray[np.float32]
Float64 = NDArray[np.float64]
Inside = Callable[[Array], NDArray[np.bool_]]  # of points (p, k), which are in a cluster, (p,)
ROUNDS = 20  # of draws, before those still outside their cluster are moved in
MOVES = 40  # by a fifth each towards a member: after all of them 0.01 % of the way is left
FEWEST = 2  # members that a cluster needs to be sampled from
PARENTS = 5  # members of which a sample is made: of fewer it is nearly one of them, of many an average of all


def sample_cluster(
    scores: Array, clustering: FittedClustering, cluster: int, n: int, temperature: float, rng: np.random.Generator
) -> Array:
    """Draws new scores (n, k) with the mean and the covariance of a cluster's members, `temperature` times as wide.

    Draws that another cluster is assigned are drawn again. Raises TooFewMembersError.
    """
    members = scores[clustering.labels_ == cluster]
    _check_members(cluster, len(members))
    medoid = scores[clustering.medoids_[cluster]]

    def inside(points: Array) -> NDArray[np.bool_]:
        return np.equal(assigned(clustering, scores, points), cluster)

    return _draw_inside(members, np.ones(len(members)), medoid, inside, n, temperature, rng)


def sample_component(
    scores: Array, mixture: FittedMixture, component: int, n: int, temperature: float, rng: np.random.Generator
) -> Array:
    """Draws new scores (n, k) of a mixture's component, `temperature` times as wide.

    Mean and covariance are those of the members (n, k), each weighted by its posterior probability of the component:
    without the floor that keeps the fit's variances apart from 0, and with the correlations that a diagonal one leaves
    out. Draws that are likelier from another component are drawn again. Raises TooFewMembersError.
    """
    own = np.flatnonzero(mixture.labels(scores) == component)
    _check_members(component, len(own))
    weights = mixture.responsibilities(scores, component)
    likeliest = scores[own[weights[own].argmax()]]

    def inside(points: Array) -> NDArray[np.bool_]:
        return np.equal(mixture.labels(points), component)

    return _draw_inside(scores, weights, likeliest, inside, n, temperature, rng)


def _check_members(cluster: int, n: int) -> None:
    if n < FEWEST:
        raise TooFewMembersError(f"cluster {cluster} has {n} members; at least {FEWEST} are needed to sample from it")


def _draw(members: Array, weights: Float64, n: int, temperature: float, rng: np.random.Generator) -> Array:
    """Draws sums of a few members' differences from their mean, by positive factors whose squares add up to 1.

    They have exactly the mean and the covariance of the members (m, k) with weights (m,), however few these are. A
    Gaussian has them too, but its draws are sums of all members with both signs, which in pixels are colored noise; one
    whose covariance is shrunk towards a multiple of the identity (Ledoit and Wolf 2004) also gives each late component
    the variance of the average one.
    """
    shares = weights / weights.sum()
    mean = shares @ members.astype(np.float64)
    parents = members[rng.choice(len(members), (n, PARENTS), p=shares)] - mean  # (n, PARENTS, k)
    factors = np.abs(rng.standard_normal((n, PARENTS, 1)))
    factors *= temperature / np.linalg.norm(factors, axis=1, keepdims=True)
    return np.asarray(mean + (factors * parents).sum(1), np.float32)


def _draw_inside(
    members: Array,
    weights: Float64,
    member: Array,
    inside: Inside,
    n: int,
    temperature: float,
    rng: np.random.Generator,
) -> Array:
    """Draws until all are inside their cluster; those that stay out are moved towards a member (k,) that is inside."""
    drawn = _draw(members, weights, n, temperature, rng)
    for _ in range(ROUNDS):
        outside = ~inside(drawn)
        if not outside.any():
            return drawn
        drawn[outside] = _draw(members, weights, int(outside.sum()), temperature, rng)
    for _ in range(MOVES):
        outside = ~inside(drawn)
        if not outside.any():
            break
        drawn[outside] = member + 0.8 * (drawn[outside] - member)
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
