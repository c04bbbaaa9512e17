import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

from models.errors import SpaceError
from models.space import mixture as module
from models.space.mixture import CovarianceType, FittedMixture, em, fit_mixture

TYPES: tuple[CovarianceType, ...] = ("full", "tied", "diag", "spherical")
Float64 = NDArray[np.float64]


def clumps(n: int = 300, c: int = 4, k: int = 3) -> tuple[Float64, NDArray[np.int64]]:
    """Members of unit variance in each of k scores, in c overlapping clumps, and the clump of each."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % c
    scores = 4 * rng.normal(size=(c, k))[labels] + rng.normal(size=(n, k)) @ rng.normal(size=(k, k))
    return (scores - scores.mean(0)) / scores.std(0), labels


def mixture_of(covariance_type: CovarianceType) -> FittedMixture:
    """Two components in two dimensions, of one shape in every type that can have it."""
    full = np.array([[[2, 1], [1, 3]], [[1, 0], [0, 4]]], float)
    covariances = {
        "full": full,
        "tied": full[0],
        "diag": np.array([[2, 3], [1, 4]], float),
        "spherical": np.array([2.0, 1]),
    }
    return FittedMixture(
        covariance_type, np.array([0.25, 0.75]), np.array([[0, 0], [3, -1]], float), covariances[covariance_type]
    )


def matrices(mixture: FittedMixture) -> list[Float64]:
    """The covariance matrix of each component."""
    match mixture.covariance_type:
        case "full":
            return list(mixture.covariances_)
        case "tied":
            return [mixture.covariances_] * len(mixture.weights_)
        case "diag":
            return [np.diag(each) for each in mixture.covariances_]
        case "spherical":
            return [each * np.eye(mixture.means_.shape[1]) for each in mixture.covariances_]


@pytest.mark.parametrize("covariance_type", TYPES)
def test_densities_are_scipy_s(covariance_type: CovarianceType) -> None:
    mixture = mixture_of(covariance_type)
    points = np.random.default_rng(0).normal(size=(7, 2)) * 3
    columns = [
        weight * multivariate_normal(mean, matrix).pdf(points)
        for weight, mean, matrix in zip(mixture.weights_, mixture.means_, matrices(mixture), strict=True)
    ]
    wanted = np.stack(columns, axis=1)
    np.testing.assert_allclose(np.exp(mixture.log_prob(points)), wanted, rtol=1e-10)
    np.testing.assert_allclose(np.exp(mixture.score_samples(points)), wanted.sum(1), rtol=1e-10)
    np.testing.assert_array_equal(mixture.labels(points), wanted.argmax(1))


@pytest.mark.parametrize("covariance_type", TYPES)
def test_the_same_start_leads_where_it_leads_scikit_learn(covariance_type: CovarianceType) -> None:
    scores, labels = clumps()
    theirs = GaussianMixture(4, covariance_type=covariance_type, reg_covar=module.FLOOR)
    start = np.eye(4)[labels]
    theirs._initialize_parameters = lambda x, random_state, xp: theirs._initialize(x, start)
    theirs.fit(scores)
    steps: list[int] = []
    ours = em(scores, labels, covariance_type, steps.append)
    assert len(steps) == theirs.n_iter_ > 2
    np.testing.assert_allclose(ours.score_samples(scores).sum(), theirs.score(scores) * len(scores), rtol=1e-6)
    np.testing.assert_allclose(ours.covariances_, theirs.covariances_, rtol=1e-6)
    np.testing.assert_allclose(ours.means_, theirs.means_, atol=1e-6)
    row = module._row(ours, scores)
    assert row["aic"] == pytest.approx(theirs.aic(scores)) and row["bic"] == pytest.approx(theirs.bic(scores))


@pytest.mark.parametrize("covariance_type", TYPES)
def test_the_likelihood_never_falls(covariance_type: CovarianceType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLOOR", 1e-9)  # with a floor it is a little less than the likelihood that rises
    scores, labels = clumps()
    found = []
    for steps in range(1, 9):
        mixture = em(scores, labels, covariance_type, max_iter=steps)
        found.append(mixture.score_samples(scores).sum())
    assert (np.diff(found) > -1e-6).all() and found[-1] > found[0]


@pytest.mark.parametrize("criterion", ["aic", "bic"])
def test_the_number_of_clear_clumps_is_found(criterion: module.Criterion) -> None:
    labels = np.arange(350) % 7
    scores = 8 * np.eye(7)[labels] + 0.3 * np.random.default_rng(0).normal(size=(350, 7))
    found = fit_mixture(scores.astype(np.float32), criterion=criterion, patience=2, seed=0)
    assert len(found.weights_) == 7, "between two sizes of the grid"
    # Clumps 27 deviations apart share no member; only reg_covar and the stop of EM are left.
    np.testing.assert_allclose(found.weights_, 1 / 7, atol=1e-3)
    assert [row["n_components"] for row in found.sweep][:6] == [1, 2, 3, 4, 6, 7]
    assert min(found.sweep, key=lambda row: row[criterion])["n_components"] == 7


def test_a_component_for_every_member_does_not_win() -> None:
    scores = np.random.default_rng(0).normal(size=(60, 40)).astype(np.float32)
    found = fit_mixture(scores, max_components=60, patience=99, seed=0)
    assert len(found.sweep) > 10 and len(found.weights_) <= 2
    assert found.sweep[-1]["aic"] > 1.2 * found.sweep[0]["aic"]


def test_all_candidates_are_tried_as_far_as_there_are_members() -> None:
    scores, _ = clumps(60)
    tried: list[int] = []
    fit_mixture(scores, candidates=[40, 1, 4, 4, 20, 61], seed=0, on_step=lambda size, n_iter: tried.append(size))
    assert list(dict.fromkeys(tried)) == [1, 4, 20, 40]
    with pytest.raises(SpaceError, match="61 components need at least as many images; there are 60"):
        fit_mixture(scores, candidates=[99, 61], seed=0)


def test_sparse_sums_are_those_of_dense_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, _ = clumps(200, 20)
    labels = module.starts(scores, 0)(20)
    sparse = em(scores, labels, "diag", max_iter=3)
    monkeypatch.setattr(module, "SPARSE", 0)
    dense = em(scores, labels, "diag", max_iter=3)
    np.testing.assert_allclose(sparse.means_, dense.means_, rtol=1e-10)
    np.testing.assert_allclose(sparse.covariances_, dense.covariances_, rtol=1e-10)


@pytest.mark.parametrize(("n_components", "covariance_type"), [(4, "diag"), (2, "full"), (3, "tied")])
def test_a_given_number_is_fitted_alone(n_components: int, covariance_type: CovarianceType) -> None:
    scores, _ = clumps()
    found = fit_mixture(scores, n_components=n_components, covariance_type=covariance_type, seed=0)
    assert len(found.weights_) == n_components and len(found.sweep) == 1
    assert set(np.unique(found.labels(scores))) == set(range(n_components))


def test_components_that_are_nobody_s_likeliest_are_dropped_and_no_label_changes() -> None:
    mixture = FittedMixture("diag", np.array([0.5, 0.2, 0.3]), np.array([[0.0], [0.1], [9]]), np.ones((3, 1)))
    points = np.array([[-1.0], [0], [8]])
    found = module._without_empty(mixture, points)
    assert found.weights_.tolist() == pytest.approx([0.5 / 0.8, 0.3 / 0.8]) and found.means_[:, 0].tolist() == [0, 9]
    assert mixture.labels(points).tolist() == [0, 0, 2] and found.labels(points).tolist() == [0, 0, 1]


def test_responsibilities_are_the_posterior_by_hand() -> None:
    mixture = FittedMixture("diag", np.array([0.25, 0.75]), np.array([[0.0], [2]]), np.ones((2, 1)))
    points = np.array([[1.0], [0]])
    first = mixture.responsibilities(points, 0)
    assert first.tolist() == pytest.approx([0.25, 0.25 / (0.25 + 0.75 * np.exp(-2))])
    np.testing.assert_allclose(first + mixture.responsibilities(points, 1), 1)


def test_many_members_start_from_a_tree_of_some(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.arange(400) % 4
    scores = 8 * np.eye(4)[labels] + 0.3 * np.random.default_rng(0).normal(size=(400, 4))
    monkeypatch.setattr(module, "TREE_MEMBERS", 50)
    found = fit_mixture(scores, seed=0)
    assert len(found.weights_) == 4
    np.testing.assert_allclose(found.weights_, 0.25, atol=1e-6)


def test_the_search_tries_a_growing_grid_then_halves() -> None:
    asked: list[int] = []

    def cost(size: int) -> float:
        asked.append(size)
        return abs(size - 21)

    assert module._least(cost, 200, patience=2) == 21
    assert sorted(set(asked)) == [1, 2, 3, 4, 6, 8, 12, 16, 18, 19, 20, 21, 22, 24, 28, 32, 48]
    assert module._least(lambda size: -size, 200, patience=2) == 200
    assert module._least(lambda size: size, 1, patience=2) == 1


def test_more_components_than_images_are_refused() -> None:
    with pytest.raises(SpaceError, match="9 components need at least 9 images; there are 8"):
        fit_mixture(np.eye(8), n_components=9, seed=0)
    with pytest.raises(SpaceError, match="at least 2 images; there are 1"):
        fit_mixture(np.eye(1), seed=0)


class StoppedError(Exception):
    """The error that a task raises to stop."""


def test_a_sweep_can_be_stopped_at_every_step() -> None:
    calls: list[tuple[int, int]] = []

    def stop_in_the_second(n_components: int, n_iter: int) -> None:
        calls.append((n_components, n_iter))
        if n_components == 2 and n_iter == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        fit_mixture(clumps()[0], seed=0, on_step=stop_in_the_second)
    assert calls == [(1, 1), (1, 2), (2, 1), (2, 2)]
