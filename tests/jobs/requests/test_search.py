from typing import Any

import pytest
from pydantic import ValidationError

from jobs.errors import BadInput
from jobs.requests.search import SearchParams

FIGURES: dict[str, Any] = {
    **{"n_images": 20, "dim": 3, "attribute_names": ["red"]},
    **{"clusterings": {"kmeans": {"n_clusters": 2}}, "failed_clusterings": {}},
}
COLLECTION = "col_" + "0" * 24


def test_the_version_and_the_clustering_are_resolved() -> None:
    stored = SearchParams(**{"member": 19, "cluster": 1, "with": ["red"]}).of_version(COLLECTION, 2, FIGURES).stored()
    assert (stored["collection"], stored["version"], stored["clustering"]) == (COLLECTION, 2, "kmeans")
    assert (stored["with"], stored["without"], stored["n"]) == (["red"], None, 10)


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"member": 20}, "no_such_member", "member"),
        ({"vector": [1, 2]}, "vector_mismatch", "vector"),
        ({"member": 0, "cluster": 2}, "no_such_cluster", "cluster"),
        ({"member": 0, "cluster": 0, "clustering": "mixture"}, "unknown_clustering", "clustering"),
        ({"member": 0, "with": ["red", "blue"]}, "unknown_attribute", "with"),
        ({"member": 0, "without": ["blue"]}, "unknown_attribute", "without"),
    ],
)
def test_what_the_version_lacks_is_refused(given: dict[str, Any], code: str, field: str) -> None:
    with pytest.raises(BadInput) as raised:
        SearchParams(**given).of_version(COLLECTION, 1, FIGURES)
    assert (raised.value.code, raised.value.details["field"]) == (code, field)


@pytest.mark.parametrize(
    "given", [{}, {"member": 0, "text": "red"}, {"member": 0, "clustering": "kmeans"}, {"vector": [float("nan")]}]
)
def test_one_query_and_what_goes_with_it(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SearchParams(**given)
