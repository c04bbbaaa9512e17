import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.metrics import adjusted_rand_score, davies_bouldin_score, silhouette_score

from models.errors import SpaceError
from models.space import clusters as module
from models.space.clusters import agglomerative, assigned, from_labels, hdbscan, kmeans

LINE = np.array([[0.0], [1.0], [3.0], [10.0], [12.0]], np.float32)
SPLIT = np.array([0, 0, 0, 1, 1])


def blobs(n: int = 40, c: int = 5, noise: float = 0.5) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """c clusters of n members each, 10 from the origin in directions of their own, in 6 dimensions."""
    labels = np.repeat(np.arange(c), n)
    scores = 10 * np.eye(c, 6)[labels] + noise * np.random.default_rng(0).normal(size=(n * c, 6))
    return scores.astype(np.float32), labels


def test_labels_make_centers_medoids_sizes_and_figures_by_hand() -> None:
    found = from_labels("kmeans", LINE, SPLIT, 0)
    np.testing.assert_allclose(found.cluster_centers_, np.array([[4 / 3], [11]]), rtol=1e-6)
    assert found.medoids_.tolist() == [1, 3], "the first of two equally near"
    assert found.sizes.tolist() == [3, 2] and found.n_clusters == 2 and found.noise_share == 0
    assert found.silhouette == pytest.approx(silhouette_score(LINE, SPLIT))
    assert found.davies_bouldin == pytest.approx(((4 / 3 + 1 / 3 + 5 / 3) / 3 + 1) / (11 - 4 / 3))


def test_noise_belongs_to_no_cluster_and_to_no_figure() -> None:
    scores = np.concatenate([LINE, [[1000]]]).astype(np.float32)
    found = from_labels("hdbscan", scores, np.array([*SPLIT, -1]), 0)
    without = from_labels("hdbscan", LINE, SPLIT, 0)
    assert found.noise_share == pytest.approx(1 / 6) and found.sizes.tolist() == [3, 2]
    assert (found.silhouette, found.davies_bouldin) == (without.silhouette, without.davies_bouldin)
    np.testing.assert_array_equal(found.cluster_centers_, without.cluster_centers_)


@pytest.mark.parametrize("labels", [np.zeros(5, np.int64), np.arange(5)])
def test_one_cluster_and_clusters_of_one_have_no_silhouette(labels: NDArray[np.int64]) -> None:
    found = from_labels("kmeans", LINE, labels, 0)
    assert found.silhouette is None and found.davies_bouldin is None


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


def test_a_sampled_silhouette_is_near_the_whole_and_misses_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, labels = blobs(200, noise=3)
    labels[0] = 5
    monkeypatch.setattr(module, "SILHOUETTE_MEMBERS", 400)
    found = from_labels("kmeans", scores, labels, 0)
    # Four standard errors of a mean of 400 silhouettes, whose deviation is 0.14: 4 * 0.14 / 20 = 0.028.
    assert found.silhouette == pytest.approx(silhouette_score(scores, labels), abs=0.03)
    monkeypatch.setattr(module, "SILHOUETTE_MEMBERS", 1)
    assert from_labels("kmeans", scores, labels, 0).silhouette is not None


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


def test_points_are_assigned_to_the_nearest_center_by_k_means() -> None:
    found = from_labels("kmeans", LINE, SPLIT, 0)
    assert assigned(found, LINE, np.array([[-5], [6.1], [6.2], [99]], np.float32)).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("method", ["agglomerative", "hdbscan"])
def test_points_are_assigned_to_the_cluster_of_the_nearest_member_by_other_methods(method: str) -> None:
    """Here a ring around a dot: both have their center at the origin."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    ring = 5 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    scores = np.concatenate([0.1 * ring, ring, [[20, 20]]]).astype(np.float32)
    found = from_labels(method, scores, np.repeat([0, 1, -1], [40, 40, 1]), 0)
    np.testing.assert_array_equal(assigned(found, scores, scores[:80]), found.labels_[:80])
    assert assigned(found, scores, np.array([[0, 4], [0, 1], [20, 20]], np.float32)).tolist() == [1, 0, 1]


def test_labels_without_members_leave_no_gap() -> None:
    found = from_labels("kmeans", LINE, np.array([1, 1, 4, -1, 4]), 0)
    assert found.labels_.tolist() == [0, 0, 1, -1, 1] and found.sizes.tolist() == [2, 2]
    np.testing.assert_allclose(found.cluster_centers_[:, 0], [0.5, 7.5])


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
@pytest.mark.parametrize("method", [kmeans, agglomerative, hdbscan])
def test_degenerate_members_have_clusters_of_finite_figures_or_a_reason(method: Callable[..., Any], name: str) -> None:
    try:
        found = method(DEGENERATE[name], seed=0)
    except SpaceError as error:
        assert str(error)
        return
    assert (found.sizes > 0).all() and np.isfinite(found.cluster_centers_).all()
    json.dumps([found.silhouette, found.davies_bouldin, found.sweep], allow_nan=False)


@pytest.mark.parametrize("method", [kmeans, agglomerative])
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
