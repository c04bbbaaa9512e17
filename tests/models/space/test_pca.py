from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from models.errors import SpaceError
from models.space import pca as module
from models.space.pca import Pca, components_for, fit_pca


def vectors(n: int, dim: int, rank: int = 8) -> NDArray[np.float32]:
    """A few strong directions and a little noise, far from the origin."""
    rng = np.random.default_rng(n + dim)
    strong = rng.normal(size=(n, rank)) * np.linspace(4, 1, rank) @ rng.normal(size=(rank, dim))
    return np.asarray(strong + 0.3 * rng.normal(size=(n, dim)) + 20, np.float32)


def assert_same(ours: Pca, x: NDArray[np.floating], theirs: PCA, rtol: float) -> None:
    """The same variances, shares and components up to their signs as one of scikit-learn's."""
    k = len(ours.components_)
    np.testing.assert_allclose(ours.explained_variance_, theirs.explained_variance_[:k], rtol=rtol)
    np.testing.assert_allclose(ours.explained_variance_ratio_, theirs.explained_variance_ratio_[:k], rtol=rtol)
    scaled = (x - ours.mean_.astype(np.float64)) / ours.scale_
    # Scores reach some tens; float32 sums over vectors far from the origin keep three decimals of them.
    np.testing.assert_allclose(np.abs(ours.transform(x)), np.abs(theirs.transform(scaled)[:, :k]), atol=1e-2)


def test_points_on_a_line_by_hand() -> None:
    # Along (3, 4) at -10, 0 and 10 from their mean: the variance is (100 + 0 + 100) / 2.
    x = np.array([[1, 2], [7, 10], [13, 18]], np.float32)
    found = fit_pca(x, n_components=1, standardize=False, seed=0)
    np.testing.assert_allclose(found.components_, [[0.6, 0.8]], atol=1e-6)
    assert found.explained_variance_.tolist() == pytest.approx([100])
    assert found.explained_variance_ratio_.tolist() == pytest.approx([1])
    assert found.mean_.tolist() == [7, 10] and found.scale_.tolist() == [1, 1]
    np.testing.assert_allclose(found.transform(x), [[-10], [0], [10]], atol=1e-5)
    np.testing.assert_allclose(found.inverse_transform(np.array([[5.0]], np.float32)), [[10, 14]], atol=1e-5)


@pytest.mark.parametrize("shape", [(120, 30), (30, 120)])
@pytest.mark.parametrize("standardize", [True, False])
def test_it_is_scikit_learn_s_in_float64(shape: tuple[int, int], standardize: bool) -> None:
    x = vectors(*shape)
    ours = fit_pca(x, n_components=20, standardize=standardize, seed=0)
    scaled = StandardScaler(with_std=standardize).fit_transform(x.astype(np.float64))
    assert_same(ours, x, PCA(svd_solver="full").fit(scaled), rtol=1e-5)


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a few vectors count as many, in several blocks."""
    monkeypatch.setattr(module, "MANY", 1)
    monkeypatch.setattr(module, "ROWS", 32)


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("standardize", [True, False])
def test_sums_in_single_precision_are_scikit_learn_s_in_float64(standardize: bool) -> None:
    x = vectors(1200, 30)
    x[:600, :5] += 100  # the mean of the first blocks is not that of all
    x[:, 3] = 7
    ours = fit_pca(x, n_components=8, standardize=standardize, seed=0)
    scaled = StandardScaler(with_std=standardize).fit_transform(x.astype(np.float64))
    assert_same(ours, x, PCA(svd_solver="full").fit(scaled), rtol=1e-5)
    assert (ours.scale_[3], ours.mean_[3]) == (1, 7)


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.full((30, 3), 0.1, np.float32), "all images are the same"),
        (np.repeat(vectors(3, 9), 50, axis=0), "differ in 2 components only; 3 were asked for"),
        (np.array([[0, np.nan, 0], [1, 2, 3], [2, 1, 4]] * 10), "no numbers"),
        (np.array([[0, np.inf, 0], [1, 2, 3], [2, 1, 4]] * 10), "infinite"),
    ],
)
def test_many_that_cannot_be_fitted_say_why(x: NDArray[np.floating], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        fit_pca(x, n_components=3, standardize=False, seed=0)


@pytest.mark.parametrize("shape", [(120, 30), (30, 120)])
def test_a_memory_map_in_blocks_gives_what_one_block_gives(
    shape: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = vectors(*shape)
    np.save(tmp_path / "x.npy", x)
    whole = fit_pca(x, seed=0)
    monkeypatch.setattr(module, "BLOCK", 200)
    calls: list[int] = []
    parts = fit_pca(np.load(tmp_path / "x.npy", mmap_mode="r"), seed=0, on_step=lambda: calls.append(0))
    np.testing.assert_allclose(parts.components_, whole.components_, atol=1e-5)
    np.testing.assert_allclose(parts.transform(x), whole.transform(x), atol=1e-3)
    assert len(calls) > 30, "asked at every block"


def test_the_randomized_decomposition_gives_nearly_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x = vectors(150, 120)
    monkeypatch.setattr(module, "RANDOMIZED", 100)
    ours, again = (fit_pca(x, n_components=6, seed=0) for _ in range(2))
    assert_same(ours, x, PCA(svd_solver="full").fit(StandardScaler().fit_transform(x.astype(float))), rtol=1e-3)
    np.testing.assert_array_equal(ours.components_, again.components_)
    monkeypatch.setattr(module, "RANDOMIZED", 1000)
    assert not np.array_equal(ours.components_, fit_pca(x, n_components=6, seed=0).components_), "another way there"


def test_as_many_components_are_kept_as_reach_the_share() -> None:
    x = vectors(200, 40)
    shares = PCA().fit(StandardScaler().fit_transform(x.astype(float))).explained_variance_ratio_.cumsum()
    for share in (0.5, 0.9, 0.99):
        k = len(fit_pca(x, explained_variance=share, seed=0).components_)
        assert shares[k - 1] >= share > shares[k - 2]


@pytest.mark.parametrize("shape", [(60, 20), (20, 60)])
def test_components_are_orthonormal_with_their_largest_loading_positive(shape: tuple[int, int]) -> None:
    components = fit_pca(vectors(*shape), n_components=15, seed=0).components_
    np.testing.assert_allclose(components @ components.T, np.eye(15), atol=1e-5)
    assert (components[np.arange(15), np.abs(components).argmax(1)] > 0).all()


def test_all_components_give_the_vectors_back_and_scores_have_the_explained_variance() -> None:
    x = vectors(50, 12)
    found = fit_pca(x, n_components=12, seed=0)
    scores = found.transform(x)
    np.testing.assert_allclose(found.inverse_transform(scores), x, atol=1e-3)
    np.testing.assert_allclose(np.cov(scores.T), np.diag(found.explained_variance_), atol=1e-3)
    assert scores.dtype == found.inverse_transform(scores).dtype == found.components_.dtype == np.float32


def test_a_value_that_never_changes_is_kept_as_it_is() -> None:
    x = vectors(50, 12)
    x[:, 3] = 7
    found = fit_pca(x, seed=0)
    assert found.scale_[3] == 1 and found.mean_[3] == 7
    assert found.inverse_transform(found.transform(x))[:, 3] == pytest.approx(7)


def test_components_for_a_share_by_hand() -> None:
    ratio = np.array([0.5, 0.25, 0.125, 0.0625])
    assert [components_for(ratio, share) for share in (0.4, 0.5, 0.51, 0.9)] == [1, 1, 2, 4]
    assert components_for(ratio, 0.95) is None, "together they explain 0.9375"


@pytest.mark.parametrize(
    ("x", "n_components", "message"),
    [
        (vectors(1, 3), None, "at least 2 images; there are 1"),
        (vectors(4, 9), 5, "5 components need at least 6 images; there are 4"),
        (vectors(9, 3), 5, "5 components need as many values in a vector; there are 3"),
        (np.full((9, 3), 0.1, np.float32), None, "all images are the same"),
        (np.repeat(vectors(3, 9), 5, axis=0), 3, "differ in 2 components only; 3 were asked for"),
        (np.array([[0, np.nan], [1, 2], [2, 1]]), None, "no numbers"),
        (np.array([[0, np.inf], [1, 2], [2, 1]]), None, "infinite"),
    ],
)
def test_what_cannot_be_fitted_says_why(x: NDArray[np.floating], n_components: int | None, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        fit_pca(x, n_components=n_components, seed=0)


def test_doubles_keep_only_the_components_they_differ_in() -> None:
    x = np.repeat(vectors(3, 9), 5, axis=0)
    assert len(fit_pca(x, explained_variance=1.0, standardize=False, seed=0).components_) <= 2


class StoppedError(Exception):
    """The error that a task raises to stop."""


def test_a_fit_can_be_stopped() -> None:
    def stop() -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        fit_pca(vectors(9, 3), seed=0, on_step=stop)
