"""Clusterings by labels, their figures of merit, and the assignment of points."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import silhouette_score

from models.space import clusters as module
from models.space.clusters import assigned, from_labels
from tests.models.space.blobs import LINE, SPLIT, blobs


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


def test_a_sampled_silhouette_is_near_the_whole_and_misses_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, labels = blobs(200, noise=3)
    labels[0] = 5
    monkeypatch.setattr(module, "SILHOUETTE_MEMBERS", 400)
    found = from_labels("kmeans", scores, labels, 0)
    # Four standard errors of a mean of 400 silhouettes, whose deviation is 0.14: 4 * 0.14 / 20 = 0.028.
    assert found.silhouette == pytest.approx(silhouette_score(scores, labels), abs=0.03)
    monkeypatch.setattr(module, "SILHOUETTE_MEMBERS", 1)
    assert from_labels("kmeans", scores, labels, 0).silhouette is not None


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
