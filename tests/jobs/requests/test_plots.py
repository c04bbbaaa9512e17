"""By what a collection may be drawn again."""

from typing import Any

import pytest
from pydantic import ValidationError

from jobs.errors import BadInput
from jobs.requests.plots import PlotParams

FIGURES: dict[str, Any] = {
    "n_components": 3,
    "attribute_names": ["glasses"],
    "clusterings": {"kmeans": {"n_clusters": 2}},
    "failed_clusterings": {"hdbscan": "no clusters of 5 images or more were found"},
}


@pytest.mark.parametrize(
    "part", [{"clustering": "kmeans"}, {"component": 0}, {"component": 2}, {"attribute": "glasses"}]
)
def test_one_part_of_a_version_is_drawn(part: dict[str, Any]) -> None:
    found = PlotParams(**part).of_version("col_1", 4, FIGURES).model_dump()
    assert {name: found[name] for name in part} == part
    assert (found["collection"], found["version"]) == ("col_1", 4)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Give one of"),
        ({"component": 0, "attribute": "glasses"}, "Give one of"),
        ({"clustering": "optics"}, "kmeans"),
        ({"component": -1}, "greater than or equal to 0"),
        ({"component": True}, "integer"),
        ({"component": 0, "map": "pca"}, "tsne"),
        ({"attribute": ""}, "at least 1 character"),
        ({"component": 0, "collection": "col_1"}, "Extra"),
    ],
)
def test_anything_else_is_refused(body: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PlotParams(**body)


@pytest.mark.parametrize(
    ("part", "code", "message"),
    [
        ({"clustering": "mixture"}, "unknown_clustering", "no clustering 'mixture'; it has kmeans"),
        ({"clustering": "hdbscan"}, "unknown_clustering", "hdbscan could not be made: no clusters of 5 images"),
        ({"component": 3}, "no_such_component", "3 components, 0 to 2"),
        ({"attribute": "hat"}, "unknown_attribute", "there are glasses"),
    ],
)
def test_what_the_version_lacks_is_named_with_what_it_has(part: dict[str, Any], code: str, message: str) -> None:
    with pytest.raises(BadInput, match=message) as error:
        PlotParams(**part).of_version("col_1", 1, FIGURES)
    assert error.value.code == code and error.value.details["field"] in part
