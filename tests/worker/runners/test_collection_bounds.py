"""When a search for the number of clusters ended at a bound."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.space.clusters import from_labels
from models.space.collection import FittedCollection, Members, fit_collection
from worker.runners.collection import at_bound


@pytest.fixture(scope="module")
def collection() -> FittedCollection:
    vectors = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    thumbnails = np.zeros((12, 4, 4, 3), np.uint8)
    members = Members(vectors, thumbnails, np.arange(12).astype(str), np.zeros((12, 0), np.int8))
    return fit_collection(members, pca={}, clusterings=[], seed=0)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"max_clusters": 4}, "4; a larger max_clusters"),
        ({"max_clusters": 5}, None),
        ({"n_clusters": 4}, None),
        ({"candidates": [2, 4]}, "4; larger candidates"),
        ({"candidates": [2, 4, 410]}, "4; larger candidates"),
        ({"candidates": [4, 6]}, "4; smaller candidates"),
        ({"candidates": [2, 4, 6]}, None),
    ],
)
def test_a_bound_is_named_with_what_may_be_better(
    collection: FittedCollection, request_: dict[str, Any], expected: str | None
) -> None:
    tried = [number for number in request_.get("candidates", []) if number < 12]
    sweep = tuple({"n_clusters": number, "inertia": 1.0, "silhouette": 0.5} for number in tried)
    found = replace(from_labels("kmeans", collection.scores, np.arange(12) % 4, 0), sweep=sweep)
    assert at_bound({"method": "kmeans"} | request_, found, collection) == expected
