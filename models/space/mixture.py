"""Gaussian mixtures whose number of components is chosen by an information criterion."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, ward
from scipy.linalg import solve_triangular
from scipy.sparse import csr_array
from scipy.special import logsumexp
from sklearn.metrics import pairwise_distances_argmin
from sklearn.metrics.pairwise import euclidean_distances

from models.errors import SpaceError

CovarianceType = Literal["full", "tied", "diag", "spherical"]
Criterion = Literal["aic", "bic"]
Row = dict[str, float]
Float64 = NDArray[np.float64]
Labels = NDArray[np.int64]
Scores = NDArray[np.floating]  # (n, k)
TREE_MEMBERS = 3_000  # the most members of the Ward tree that initializes EM
TOL, MAX_ITER = 1e-3, 100  # of EM, as in scikit-learn: smallest gain of the mean log-likelihood, and most iterations
SWEEP_ITER = 3  # EM steps before numbers of components are compared; later steps hardly change which is best
TINY = 1e-100  # smaller responsibilities are set to 0: products with subnormal floats take five times as long
SPARSE = 0.1  # share of responsibilities that are not 0 below which sums over members skip those that are
# Share of each score's variance that is added to the variance of every component. A component of one member costs
# 2 * 2k of AIC (k means and k variances), and with a floor f it gains k (1 + ln(1 / f)) over one Gaussian for all
# members. With a floor below e^-3 = 0.05 AIC therefore prefers one component per member. At 0.1 the curve of 800
# flowers has one minimum.
FLOOR = 0.1


@dataclass(frozen=True)
class FittedMixture:
    """A mixture of c Gaussians, with scikit-learn's names and shapes.

    weights_: (c,). means_: (c, k). covariances_: (c, k, k) for full, (k, k) tied, (c, k) diag, (c,) spherical. sweep:
    n_components, aic, bic and log_likelihood of all members for each number of components that was tried.
    """

    covariance_type: CovarianceType
    weights_: Float64
    means_: Float64
    covariances_: Float64
    sweep: tuple[Row, ...] = ()

    def log_prob(self, scores: Scores) -> Float64:
        """Weighted log density of points (n, k) under each component, (n, c)."""
        squares, log_det = _mahalanobis(self, scores.astype(np.float64))
        log_prob: Float64 = np.log(self.weights_) - 0.5 * (scores.shape[1] * np.log(2 * np.pi) + log_det + squares)
        return log_prob

    def score_samples(self, scores: Scores) -> Float64:
        """Log density of points (n, k) under the mixture, (n,)."""
        return np.asarray(logsumexp(self.log_prob(scores), axis=1))

    def labels(self, scores: Scores) -> Labels:
        """Most likely component of points (n, k), (n,)."""
        return np.asarray(self.log_prob(scores).argmax(1), np.int64)

    def responsibilities(self, scores: Scores, component: int) -> Float64:
        """Posterior probability of a component for points (n, k), (n,)."""
        log_prob = self.log_prob(scores)
        posterior: Float64 = np.exp(log_prob[:, component] - logsumexp(log_prob, axis=1))
        return posterior


def fit_mixture(
    scores: Scores,
    *,
    n_components: int | None = None,
    max_components: int = 200,
    criterion: Criterion = "aic",
    covariance_type: CovarianceType = "diag",
    patience: int = 5,
    candidates: Sequence[int] = (),
    seed: int,
    on_step: Callable[[int, int], None] = lambda n_components, n_iter: None,
) -> FittedMixture:
    """Fits a mixture to scores (n, k), with `n_components` or the number with the smallest AIC or BIC.

    The numbers 1, 2, 3, 4, 6, 8, 12, … are tried until `patience` in a row are no better, then numbers between the best
    and its neighbors by bisection; with `candidates`, all of those up to the number of members. EM
    starts from a cut of one Ward tree (Fraley and Raftery 1998, "How many clusters?"). The criteria of the sweep are
    those after `SWEEP_ITER` EM steps; the chosen mixture is fitted until it converges. Components that are not the most
    likely one of any member are dropped.

    `on_step` is called with the number of components and the EM step and may raise to stop. Raises SpaceError.
    """
    n, least = len(scores), max(2, n_components or 0)
    if n < least:
        raise SpaceError(f"{n_components or 'chosen'} components need at least {least} images; there are {n}")
    members = scores.astype(np.float64)
    start_of = starts(members, seed)
    fits: dict[int, tuple[FittedMixture, Row]] = {}

    def fitted(size: int, max_iter: int) -> FittedMixture:
        return em(members, start_of(size), covariance_type, lambda n_iter: on_step(size, n_iter), max_iter)

    def cost(size: int) -> float:
        if size not in fits:
            candidate = fitted(size, MAX_ITER if n_components else SWEEP_ITER)
            fits[size] = candidate, _row(candidate, members)
        return fits[size][1][criterion]

    def searched() -> int:
        within = [size for size in sorted({*candidates}) if size <= min(n, TREE_MEMBERS)]
        if candidates and not within:
            raise SpaceError(f"{min(candidates)} components need at least as many images; there are {n}")
        return min(within, key=cost) if within else _least(cost, min(max_components, n, TREE_MEMBERS), patience)

    chosen = n_components or searched()
    cost(chosen)
    few = fits[chosen][0]
    mixture = few if n_components else fitted(chosen, MAX_ITER)
    if len(mixture.weights_) < len(few.weights_):
        mixture = few  # keeps the chosen number of components
    rows = sorted((row for _, row in fits.values()), key=lambda row: (row["n_components"], -row[criterion]))
    sweep = {row["n_components"]: row for row in rows}  # two numbers may be the same after components were dropped
    return replace(mixture, sweep=tuple(sweep.values()))


def em(
    members: Float64,
    labels: Labels,
    covariance_type: CovarianceType,
    on_step: Callable[[int], None] = lambda n_iter: None,
    max_iter: int = MAX_ITER,
) -> FittedMixture:
    """Fits a mixture to members (n, k) by expectation maximization from initial labels (n,).

    Dempster et al. 1977, "Maximum likelihood from incomplete data via the EM algorithm". The steps are those of
    scikit-learn, with a variance floor relative to each score, and with matrix products instead of loops for tied
    covariances, which is many times faster.
    """
    responsibilities = np.eye(labels.max() + 1)[labels]
    mixture, before = _maximized(members, responsibilities, covariance_type), -np.inf
    for n_iter in range(1, max_iter + 1):
        on_step(n_iter)
        log_prob = mixture.log_prob(members)
        log_density = logsumexp(log_prob, axis=1, keepdims=True)
        responsibilities = np.exp(log_prob - log_density)
        responsibilities[responsibilities < TINY] = 0
        mixture = _maximized(members, responsibilities, covariance_type)
        gain, before = log_density.mean() - before, log_density.mean()
        if abs(gain) < TOL:
            break
    return _without_empty(mixture, members)


def _maximized(members: Float64, responsibilities: Float64, covariance_type: CovarianceType) -> FittedMixture:
    """M step: fits a mixture to members (n, k), given responsibilities (n, c)."""
    counts = responsibilities.sum(0) + 10 * np.finfo(float).eps
    shares = responsibilities.T
    if np.count_nonzero(shares) < SPARSE * shares.size:
        shares = csr_array(shares)
    means = shares @ members / counts[:, None]
    floor = FLOOR * members.var(0)
    match covariance_type:
        case "full":
            covariances = np.stack(
                [_covariance(members - mean, r) for mean, r in zip(means, responsibilities.T, strict=True)]
            )
            covariances += np.diag(floor)
        case "tied":
            covariances = (members.T @ members - means.T * counts @ means) / len(members) + np.diag(floor)
        case _:
            covariances = shares @ members**2 / counts[:, None] - means**2 + floor
            covariances = covariances if covariance_type == "diag" else covariances.mean(1)
    return FittedMixture(covariance_type, counts / counts.sum(), means, covariances)


def _covariance(apart: Float64, weights: Float64) -> Float64:
    """Of members that are `apart` (n, k) from their mean, with weights (n,), (k, k)."""
    covariance: Float64 = (apart.T * weights) @ apart / (weights.sum() + 10 * np.finfo(float).eps)
    return covariance


def _mahalanobis(mixture: FittedMixture, scores: Float64) -> tuple[Float64, Float64]:
    """Squared Mahalanobis distances (n, c) of points to the means, and log determinants (c,) of the covariances."""
    means, covariances = mixture.means_, mixture.covariances_
    match mixture.covariance_type:
        case "full":
            roots = _cholesky(covariances)
            each = [_solved(root, scores - mean) for root, mean in zip(roots, means, strict=True)]
            return np.stack([(solved**2).sum(1) for solved in each], axis=1), _log_det(roots)
        case "tied":
            root = _cholesky(covariances)
            return euclidean_distances(_solved(root, scores), _solved(root, means), squared=True), _log_det(root)
        case "diag":
            precisions = 1 / covariances
            factors = np.concatenate([precisions, -2 * means * precisions], axis=1)
            squares = np.concatenate([scores**2, scores], axis=1) @ factors.T + (means**2 * precisions).sum(1)
            return squares, np.log(covariances).sum(1)
        case "spherical":
            squares = euclidean_distances(scores, means, squared=True) / covariances
            return squares, scores.shape[1] * np.log(covariances)


def _cholesky(covariances: Float64) -> Float64:
    return np.asarray(np.linalg.cholesky(covariances), np.float64)


def _solved(root: Float64, vectors: Float64) -> Float64:
    return np.asarray(solve_triangular(root, vectors.T, lower=True)).T


def _log_det(roots: Float64) -> Float64:
    log_determinants: Float64 = 2 * np.log(np.diagonal(roots, axis1=-2, axis2=-1)).sum(-1)
    return log_determinants


def _without_empty(mixture: FittedMixture, members: Float64) -> FittedMixture:
    """Drops components that are not the most likely one of any member; the most likely ones do not change."""
    kept = np.unique(mixture.labels(members))
    weights = mixture.weights_[kept]
    covariances = mixture.covariances_ if mixture.covariance_type == "tied" else mixture.covariances_[kept]
    return replace(mixture, weights_=weights / weights.sum(), means_=mixture.means_[kept], covariances_=covariances)


def _row(mixture: FittedMixture, members: Float64) -> Row:
    """AIC and BIC (Akaike 1974, Schwarz 1978): -2 log L + 2 p and -2 log L + p ln n, with p free parameters."""
    c, k = mixture.means_.shape
    of_covariances = {"full": c * k * (k + 1) // 2, "tied": k * (k + 1) // 2, "diag": c * k, "spherical": c}
    p = of_covariances[mixture.covariance_type] + c * k + c - 1
    log_likelihood = float(mixture.score_samples(members).sum())
    aic, bic = 2 * p - 2 * log_likelihood, float(np.log(len(members))) * p - 2 * log_likelihood
    return {"n_components": c, "aic": aic, "bic": bic, "log_likelihood": log_likelihood}


def starts(members: Float64, seed: int) -> Callable[[int], Labels]:
    """Returns initial labels (n,) by number of components: cuts of one Ward tree.

    The tree has at most `TREE_MEMBERS` random members; the others get the label of the nearest mean.
    """
    n = len(members)
    if n <= TREE_MEMBERS:
        tree = ward(members)
        return lambda size: _cut(tree, size)
    drawn = members[np.random.default_rng(seed).choice(n, TREE_MEMBERS, replace=False)]
    tree = ward(drawn)

    def labels(size: int) -> Labels:
        cut = _cut(tree, size)
        means = np.stack([drawn[cut == component].mean(0) for component in range(cut.max() + 1)])
        return np.asarray(pairwise_distances_argmin(members, means), np.int64)

    return labels


def _cut(tree: Float64, size: int) -> Labels:
    return np.asarray(fcluster(tree, size, "maxclust") - 1, np.int64)  # fewer than `size` where heights tie


def _least(cost: Callable[[int], float], largest: int, patience: int) -> int:
    """Size of smallest cost: on a grid until `patience` in a row are no better, then by bisection near the best."""
    grid = sorted(size for power in range(largest.bit_length()) for size in {2**power, 3 * 2**power // 2})
    tried: list[int] = []
    for size in sorted({*(size for size in grid if size <= largest), largest}):
        tried.append(size)
        best = min(tried, key=cost)
        if len(tried) - 1 - tried.index(best) == patience:
            break
    while True:
        place = tried.index(best)
        halves = {(best + other) // 2 for other in tried[max(0, place - 1) : place + 2]} - {*tried}
        if not halves:
            return best
        tried = sorted({*tried, *halves})
        best = min(tried, key=cost)
