import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness
from sklearn.neighbors import NearestNeighbors

from models.space import neighbors
from models.space.maps import EXAGGERATED, PLAIN, STEP, map_of, tsne_map, umap_map


def nearest(points: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Of each point the k nearest others, (n, k)."""
    found: NDArray[np.int64] = NearestNeighbors(n_neighbors=k).fit(points).kneighbors(return_distance=False)
    return found


@pytest.fixture(scope="module")
def digits() -> NDArray[np.float32]:
    scores: NDArray[np.float32] = PCA(40).fit_transform(load_digits().data[:200]).astype(np.float32)
    return scores


def test_clusters_that_are_apart_stay_apart() -> None:
    labels = np.repeat(np.arange(5), 30)
    centers = 10 * np.eye(5, 8)
    scores = centers[labels] + np.random.default_rng(0).normal(size=(150, 8))
    found = tsne_map(scores, seed=0)
    assert (labels[nearest(found, 10)] == labels[:, None]).all()


def test_neighbors_stay_neighbors_as_in_scikit_learn_s_map(digits: NDArray[np.float32]) -> None:
    ours = trustworthiness(digits, tsne_map(digits, seed=0), n_neighbors=10)
    theirs = trustworthiness(digits, TSNE(random_state=0).fit_transform(digits), n_neighbors=10)
    assert theirs > 0.97, "the reference itself is a good map"
    # Both minimize the same loss from the same PCA, on float32 paths that part after some steps.
    assert ours == pytest.approx(theirs, abs=0.005)


def test_a_seed_gives_one_map_and_another_seed_another(digits: NDArray[np.float32]) -> None:
    first, again, other = (tsne_map(digits[:60], seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_only_the_first_fifty_scores_count() -> None:
    scores = np.random.default_rng(0).normal(size=(20, 60)).astype(np.float32)
    changed = scores.copy()
    changed[:, 50:] *= 100
    np.testing.assert_array_equal(tsne_map(scores, seed=0), tsne_map(changed, seed=0))
    changed[:, 49] *= 100
    assert not np.array_equal(tsne_map(scores, seed=0), tsne_map(changed, seed=0))


def test_two_pairs_are_enough_for_a_map() -> None:
    found = tsne_map(np.array([[0, 0], [0, 1], [9, 0], [9, 1]], np.float32), seed=0)
    assert found.shape == (4, 2) and found.dtype == np.float32
    assert nearest(found, 1)[:, 0].tolist() == [1, 0, 3, 2]


@pytest.mark.parametrize("n", [3, 4, 7])
def test_a_few_images_and_doubles_among_them_have_their_places(n: int) -> None:
    scores = np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)
    scores[1] = scores[0]
    found = tsne_map(scores, seed=0)
    assert np.isfinite(found).all() and found.std() > 0.1
    assert nearest(found, 1)[:2, 0].tolist() == [1, 0]


def test_a_single_component_is_laid_out_along_itself() -> None:
    scores = np.linspace(-1, 1, 60, dtype=np.float32)[:, None]
    found = tsne_map(scores, seed=0)
    assert (np.abs(nearest(found, 2) - np.arange(60)[:, None]) <= 3).all()


def test_the_inverted_file_gives_the_same_map_as_exact_neighbors(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = PCA(40).fit_transform(load_digits().data[:500]).astype(np.float32)
    exact = tsne_map(scores, seed=0)
    monkeypatch.setattr(neighbors, "EXACT", 100)
    found = tsne_map(scores, seed=0)
    np.testing.assert_array_equal(tsne_map(scores, seed=0), found)
    ours, theirs = (trustworthiness(scores, each, n_neighbors=10) for each in (found, exact))
    assert not np.array_equal(found, exact), "it is another way"
    assert ours == pytest.approx(theirs, abs=0.005)  # chaotic paths part after some steps; a map of chance has 0.5


class StoppedError(Exception):
    """The error that a task raises to stop."""


def test_a_map_can_be_stopped_while_it_is_made(digits: NDArray[np.float32]) -> None:
    calls: list[int] = []

    def stop_at_the_third() -> None:
        calls.append(len(calls))
        if len(calls) == 3:
            raise StoppedError

    with pytest.raises(StoppedError):
        tsne_map(digits[:60], seed=0, on_step=stop_at_the_third)
    assert len(calls) == 3


def test_it_asks_before_a_block_of_neighbors_and_every_ten_iterations(digits: NDArray[np.float32]) -> None:
    calls: list[int] = []
    tsne_map(digits[:20], seed=0, on_step=lambda: calls.append(0))
    assert len(calls) == 1 + EXAGGERATED // STEP + PLAIN // STEP


# --- UMAP ------------------------------------------------------------------------------------------------------------


def test_umap_keeps_clusters_apart_and_depends_on_the_seed_alone() -> None:
    """One test, because numba compiles for seconds in each process."""
    labels = np.repeat(np.arange(4), 12)
    scores = (10 * np.eye(4, 60)[labels] + np.random.default_rng(0).normal(size=(48, 60))).astype(np.float32)
    scores[:, 50:] *= 100
    calls: list[int] = []
    threads = torch.get_num_threads()
    found = umap_map(scores, seed=2**40, on_step=lambda: calls.append(0))
    assert found.shape == (48, 2) and found.dtype == np.float32 and len(calls) > 3
    assert torch.get_num_threads() == threads, "of the rest of the process"
    assert (labels[nearest(found, 8)] == labels[:, None]).all(), "by the first fifty scores"
    np.testing.assert_array_equal(map_of("umap", scores, seed=2**40), found)
    assert not np.array_equal(umap_map(scores, seed=1), found)
    for n in (3, 4):
        assert np.isfinite(umap_map(np.repeat(scores[:2], 2, axis=0)[:n], seed=0)).all(), "few, and doubles"

    def stop() -> None:
        calls.append(0)
        if len(calls) == 5:
            raise StoppedError

    calls.clear()
    with pytest.raises(StoppedError):
        umap_map(scores, seed=0, on_step=stop)
