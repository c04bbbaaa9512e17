"""Clustering methods against scikit-learn's, and what they make of degenerate members."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.cluster import DBSCAN, AgglomerativeClustering, KMeans
from sklearn.metrics import adjusted_rand_score, davies_bouldin_score

from models.errors import SpaceError
from models.space import methods as module
from models.space.methods import agglomerative, bend, dbscan, hdbscan, kmeans, spectral
from tests.models.space.blobs import LINE, blobs


def test_kmeans_finds_the_clusters_and_their_number_and_stops_when_none_is_better() -> None:
    scores, labels = blobs()
    tried: list[int] = []
    found = kmeans(scores, seed=0, on_step=tried.append)
    assert found.n_clusters == 5 and adjusted_rand_score(found.labels_, labels) == 1
    assert tried == [2, 3, 4, 5, 6, 7, 8, 9], "four more after the best"
    assert [row["n_clusters"] for row in found.sweep] == tried
    assert max(found.sweep, key=lambda row: row["silhouette"])["n_clusters"] == 5
    inertia = [row["inertia"] for row in found.sweep]
    assert inertia == sorted(inertia, reverse=True)


def test_kmeans_of_a_given_number_is_as_good_as_scikit_learn_s() -> None:
    scores, _ = blobs(noise=4)
    found, theirs = kmeans(scores, n_clusters=7, seed=0), KMeans(7, n_init=10, random_state=0).fit(scores)
    inertia = ((scores - found.cluster_centers_[found.labels_]) ** 2).sum()
    assert found.sweep == () and found.n_clusters == 7
    assert inertia < 1.03 * theirs.inertia_


def test_a_seed_gives_one_clustering() -> None:
    scores, _ = blobs(noise=4)
    first, again = (kmeans(scores, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.labels_, again.labels_)
    assert first.sweep == again.sweep


def test_many_members_are_clustered_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, labels = blobs(200)
    monkeypatch.setattr(module, "MINI_BATCH", 500)
    monkeypatch.delattr(module, "KMeans")
    assert adjusted_rand_score(kmeans(scores, n_clusters=5, seed=0).labels_, labels) == 1


def test_every_cut_of_the_tree_is_scikit_learn_s_ward() -> None:
    scores, _ = blobs(12, noise=4)
    for size in (2, 3, 7):
        theirs = AgglomerativeClustering(size).fit_predict(scores)
        assert adjusted_rand_score(agglomerative(scores, n_clusters=size, seed=0).labels_, theirs) == 1


def test_agglomerative_chooses_its_number_and_gives_no_fewer_where_distances_tie() -> None:
    scores, labels = blobs()
    found = agglomerative(scores, seed=0)
    assert adjusted_rand_score(found.labels_, labels) == 1 and len(found.sweep) == 8
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    assert agglomerative(corners, n_clusters=3, seed=0).n_clusters == 3


def test_hdbscan_finds_the_clusters_and_leaves_noise_out() -> None:
    scores, labels = blobs()
    far = 30 * np.eye(3, 6, k=3, dtype=np.float32)
    found = hdbscan(np.concatenate([scores, far]), seed=0)
    assert found.n_clusters == 5 and found.labels_[-3:].tolist() == [-1, -1, -1]
    inside = found.labels_[:200] >= 0
    assert inside.mean() > 0.9 and adjusted_rand_score(found.labels_[:200][inside], labels[inside]) == 1
    assert found.davies_bouldin == pytest.approx(davies_bouldin_score(scores[inside], found.labels_[:200][inside]))


def test_k_means_that_leaves_clusters_empty_has_those_with_members(monkeypatch: pytest.MonkeyPatch) -> None:
    """As scikit-learn's does where members are nearer to each other than its arithmetic can tell."""
    empty = {2: [0, 0, 1, 1, 1], 3: [0, 0, 2, 2, 2], 4: [0] * 5}

    class Empty:
        def __init__(self, n_clusters: int, **_: Any) -> None:
            self.n_clusters = n_clusters

        def fit_predict(self, scores: NDArray[np.float32]) -> list[int]:
            return empty[self.n_clusters]

    monkeypatch.setattr(module, "KMeans", Empty)
    assert kmeans(LINE, n_clusters=3, seed=0).sizes.tolist() == [2, 3]
    assert [row["n_clusters"] for row in kmeans(LINE, seed=0).sweep] == [2, 3], "one cluster has no silhouette"
    assert kmeans(LINE, n_clusters=4, seed=0).n_clusters == 1
    empty |= {2: [0] * 5, 3: [0] * 5}
    with pytest.raises(SpaceError, match="no number of clusters from 2 to 4 splits the images"):
        kmeans(LINE, seed=0)


# What people send: near duplicates, many copies of few images, one far outlier.
DEGENERATE = {
    "two of many copies": LINE[[0] * 20 + [4] * 20],
    "equal up to rounding": (1000 + 1e-4 * np.random.default_rng(0).normal(size=(30, 3))).astype(np.float32),
    "one outlier": np.concatenate([np.zeros((20, 2)), [[1e6, 0]]]).astype(np.float32),
    "three": LINE[:3],
    "tiny": 1e-20 * np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32),
}


@pytest.mark.parametrize("name", DEGENERATE)
@pytest.mark.parametrize("method", [kmeans, agglomerative, spectral, hdbscan, dbscan])
def test_degenerate_members_have_clusters_of_finite_figures_or_a_reason(method: Callable[..., Any], name: str) -> None:
    try:
        found = method(DEGENERATE[name], seed=0)
    except SpaceError as error:
        assert str(error)
        return
    assert (found.sizes > 0).all() and np.isfinite(found.cluster_centers_).all()
    json.dumps([found.silhouette, found.davies_bouldin, found.sweep], allow_nan=False)


@pytest.mark.parametrize("method", [kmeans, agglomerative, spectral])
def test_what_cannot_be_clustered_says_why(method: type) -> None:
    with pytest.raises(SpaceError, match="at least 3 images; there are 2"):
        method(LINE[:2], seed=0)
    with pytest.raises(SpaceError, match="4 clusters need as many different images; there are 2"):
        method(LINE[[0, 0, 0, 1, 1]], n_clusters=4, seed=0)
    with pytest.raises(SpaceError, match="all images are the same"):
        method(LINE[[0, 0, 0]], seed=0)


def test_only_so_many_images_make_a_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TREE_MEMBERS", 4)
    with pytest.raises(SpaceError, match="at most 4 images; there are 5"):
        agglomerative(LINE, seed=0)


def test_hdbscan_that_finds_nothing_says_what_to_do() -> None:
    with pytest.raises(SpaceError, match="no clusters of 5 images or more were found; allow smaller ones"):
        hdbscan(np.random.default_rng(0).normal(size=(30, 20)), seed=0)
    with pytest.raises(SpaceError, match="no cluster can have 6 images: there are 5"):
        hdbscan(LINE, min_cluster_size=6, seed=0)
    with pytest.raises(SpaceError, match="at least 3 images"):
        hdbscan(LINE[:2], seed=0)


@pytest.mark.parametrize("n", [3, 4, 5])
def test_three_images_are_enough(n: int) -> None:
    assert kmeans(LINE[:n], seed=0).n_clusters == 2
    assert agglomerative(LINE[:n], seed=0).n_clusters == 2
    assert spectral(LINE[:n], seed=0).n_clusters == 2


def rings() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """A ring around a ring, which no centers tell apart."""
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.concatenate([ring, 5 * ring]).astype(np.float32), np.repeat([0, 1], 60)


def test_spectral_clustering_finds_rings_and_its_number_among_blobs() -> None:
    scores, labels = rings()
    assert adjusted_rand_score(spectral(scores, n_clusters=2, seed=0).labels_, labels) == 1
    assert adjusted_rand_score(kmeans(scores, n_clusters=2, seed=0).labels_, labels) < 0.1, "k-means does not"
    scores, labels = blobs()
    found = spectral(scores, seed=0)
    assert adjusted_rand_score(found.labels_, labels) == 1 and len(found.sweep) == 8


def test_dbscan_is_scikit_learn_s_with_a_radius_at_the_bend() -> None:
    scores, labels = blobs()
    far = np.concatenate([scores, 30 * np.eye(3, 6, k=3, dtype=np.float32)])
    found = dbscan(far, seed=0)
    theirs = DBSCAN(eps=bend(far, 5)).fit_predict(far)
    np.testing.assert_array_equal(found.labels_, theirs)
    assert found.n_clusters == 5 and found.labels_[-3:].tolist() == [-1, -1, -1]
    inside = found.labels_[:200] >= 0
    assert inside.mean() > 0.8 and adjusted_rand_score(found.labels_[:200][inside], labels[inside]) == 1


def test_the_bend_by_hand() -> None:
    """The sorted distances to the nearest other are 1, 1, 1, 7: the line from 1 to 7 is farthest above the third."""
    assert bend(np.array([[0.0], [1.0], [2.0], [9.0]]), 2) == 1


def test_dbscan_that_finds_nothing_says_what_to_do() -> None:
    with pytest.raises(SpaceError, match=r"no 3 images are within 0\.5 of one of them; give a larger `eps`"):
        dbscan(LINE, eps=0.5, min_samples=3, seed=0)


@pytest.mark.parametrize(("method", "bound"), [(spectral, "MAX_SPECTRAL_MEMBERS"), (dbscan, "MAX_DENSITY_MEMBERS")])
def test_methods_of_quadratic_time_are_bounded(
    monkeypatch: pytest.MonkeyPatch, method: Callable[..., Any], bound: str
) -> None:
    monkeypatch.setattr(module, bound, 4)
    with pytest.raises(SpaceError, match="clustering takes at most 4 images; there are 5"):
        method(LINE, seed=0)


@pytest.mark.parametrize("method", [kmeans, agglomerative, spectral])
def test_all_candidates_are_tried_that_the_members_allow(method: Callable[..., Any]) -> None:
    scores, _ = blobs(8)
    found = method(scores, candidates=[20, 2, 5, 3, 410], seed=0)
    assert [row["n_clusters"] for row in found.sweep] == [2, 3, 5, 20] and found.n_clusters == 5
    with pytest.raises(SpaceError, match="must be at most 39 for these images"):
        method(scores, candidates=[410, 500], seed=0)
