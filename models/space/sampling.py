"""Samples from clusters, and distances and densities of vectors among a collection's members."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from models.errors import TooFewMembersError
from models.space.clusters import FittedClustering, Labels, assigned
from models.space.mixture import FittedMixture

Array = NDArray[np.float32]
Float64 = NDArray[np.float64]
Inside = Callable[[Array], NDArray[np.bool_]]  # whether points (p, k) are in a cluster, (p,)
ROUNDS = 20  # draws before samples that are still outside their cluster are moved into it
MOVES = 40  # each by a fifth of the distance to a member: after all of them 0.01 % of it is left
FEWEST = 2  # members that a cluster needs to be sampled from
PARENTS = 5  # members that are combined into a sample: fewer give almost a copy of one, many give an average


def sample_cluster(
    scores: Array, clustering: FittedClustering, cluster: int, n: int, temperature: float, rng: np.random.Generator
) -> Array:
    """Samples scores (n, k) with the mean and covariance of a cluster, scaled by `temperature`.

    Samples that are assigned to another cluster are drawn again. Raises TooFewMembersError.
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
    """Samples scores (n, k) of a mixture component, scaled by `temperature`.

    Mean and covariance are those of the members (n, k), weighted by their posterior probability of the component. They
    have no variance floor, unlike the fit, and include the correlations that a diagonal covariance omits. Samples that
    are more likely under another component are drawn again. Raises TooFewMembersError.
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
    """Draws weighted sums of a few members' deviations from the mean; the factors are positive, their squares sum to 1.

    The draws have exactly the mean and covariance of the members (m, k) with weights (m,), even for few members. Draws
    of a Gaussian have them too, but combine all members with both signs, which in pixels is colored noise. A covariance
    that is shrunk towards a multiple of the identity (Ledoit and Wolf 2004) also gives late components the mean
    variance.
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
    """Draws until all samples are inside their cluster; the remaining ones are moved towards a member (k,) inside."""
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
    """Indices of the `n` members (rows of `scores`) nearest to each point, nearest first, (points, n)."""
    nearest: Labels = NearestNeighbors(n_neighbors=min(n, len(scores))).fit(scores).kneighbors(points)[1]
    return nearest


def spread(scores: Array) -> float:
    """Root mean square distance between two members: the unit of reported distances."""
    return float(np.sqrt(2 * scores.var(0).sum()))


def density(scores: Array, points: Array, neighbors: int = 5) -> Float64:
    """Share of members in sparser regions than each point, (points,) in [0, 1].

    The density of a point is measured by the distance to its `neighbors`-th nearest member (Loftsgaarden and
    Quesenberry 1965).
    """
    neighbors = min(neighbors, len(scores) - 1)
    index = NearestNeighbors().fit(scores)
    own = index.kneighbors(scores, neighbors + 1)[0][:, -1]  # the first is the member itself
    reach = index.kneighbors(points, neighbors)[0][:, -1]
    shares: Float64 = (own[None] > reach[:, None]).mean(1)
    return shares


def distances(a: Array, b: Array) -> Float64:
    """Distances (n,) between corresponding rows of a and b (n, k)."""
    lengths: Float64 = np.linalg.norm(a.astype(np.float64) - b, axis=1)
    return lengths
