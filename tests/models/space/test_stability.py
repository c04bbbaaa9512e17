"""Stability of clusterings under resampling, and their agreement with classes."""

from typing import Any

import numpy as np
import pytest

from models.space.clusters import from_labels
from models.space.methods import agglomerative, dbscan, hdbscan, kmeans, spectral
from models.space.stability import agreement_of, classes_of, stability_of
from tests.models.space.blobs import LINE, blobs


@pytest.mark.parametrize("method", [kmeans, agglomerative, spectral, hdbscan, dbscan])
def test_clusters_that_are_apart_are_stable(method: Any) -> None:
    scores, _ = blobs(20)
    found = method(scores, seed=0)
    stability = stability_of(found, scores, {}, 0)
    assert stability is not None and stability > (0.9 if method is dbscan else 0.99)


def test_a_mixture_is_stable_where_its_components_are_apart() -> None:
    scores, labels = blobs(20)
    found = from_labels("mixture", scores, labels, 0)
    assert stability_of(found, scores, {"covariance_type": "spherical"}, 0) == 1


def test_clusters_of_noise_are_not_stable_and_a_seed_gives_one_figure() -> None:
    scores = np.random.default_rng(0).normal(size=(100, 5)).astype(np.float32)
    found = kmeans(scores, n_clusters=8, seed=0)
    stability = stability_of(found, scores, {}, 0)
    assert stability is not None and stability < 0.6
    assert stability_of(found, scores, {}, 0) == stability != stability_of(found, scores, {}, 1)


def test_one_cluster_and_few_members_have_no_stability() -> None:
    scores, _ = blobs(20)
    assert stability_of(from_labels("kmeans", scores, np.zeros(100, np.int64), 0), scores, {}, 0) is None
    assert stability_of(kmeans(LINE, seed=0), LINE, {}, 0) is None


def test_many_clusters_are_resampled_less(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, _ = blobs(20)
    calls: list[int] = []
    stability_of(kmeans(scores, n_clusters=60, seed=0), scores, {}, 0, lambda: calls.append(0))
    assert len(calls) == 3


def classes(*rows: list[int]) -> list[int] | None:
    found = classes_of(np.array(rows, np.int8), [*"abc"][: len(rows[0])])
    return None if found is None else found.tolist()


def test_attributes_are_classes_where_each_member_has_exactly_one() -> None:
    assert classes([1, 0], [0, 1], [-1, -1]) == [0, 1, -1]
    assert classes([1, 1], [0, 1]) is None, "two attributes"
    assert classes([0, 0], [0, 1]) is None, "none"
    assert classes([1, 0], [1, 0]) is None, "one class"
    assert classes([1], [0]) is None and classes([], []) is None and classes([-1, -1]) is None
    rows = np.array([[1, 0, 1, 0], [0, 1, 0, 0]], np.int8)
    found = classes_of(rows, ["a", "b", "class:cat", "class:dog"])
    assert found is not None and found.tolist() == [0, 1], "a model's classes are no labels"


def test_agreement_is_the_adjusted_rand_index_of_the_members_with_a_class() -> None:
    labels, known = np.array([1, 1, 0, 0, 0]), np.array([0, 0, 1, 1, -1])
    assert agreement_of(labels, known) == 1 and agreement_of(labels, None) is None
