"""Requests of animations: what is filled in and what is refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from jobs.errors import BadInput
from jobs.requests.animation import Animation

FIGURES: dict[str, Any] = {
    **{"n_components": 5, "attribute_names": ["hat"]},
    "clusterings": {"kmeans": {"n_clusters": 3}, "mixture": {"n_clusters": 4}},
}
A = "img_" + "a" * 64


def asked(path: dict[str, Any], **fields: Any) -> Animation:
    return Animation.model_validate({"collection": "col_" + "0" * 24, "path": path, **fields})


def test_clusterings_of_a_path_are_filled_in() -> None:
    assert asked({"cluster": 2}).fitted(FIGURES).stored()["path"] == {
        **{"cluster": 2, "clustering": "kmeans", "n": 8, "temperature": 1.0},
    }
    path = asked({"through": ["mean", {"cluster": 0}, A]}).fitted(FIGURES).stored()["path"]
    assert path == {"through": ["mean", {"cluster": 0, "clustering": "kmeans"}, A]}
    stored = asked({"attribute": "hat"}).fitted(FIGURES).stored()
    assert stored["path"] == {"attribute": "hat", "fitting": "difference", "strengths": [-3, 3], "start": "mean"}
    assert (stored["format"], stored["n_frames"], stored["fps"], stored["loop"]) == ("webp", 48, 12, True)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "component": ({"component": 5}, "path.component: The collection has 5 components, 0 to 4."),
    "attribute": ({"attribute": "wings"}, "path.attribute: There is no attribute 'wings'; there are hat."),
    "cluster": ({"cluster": 3}, "path.cluster: The clustering has 3 clusters, 0 to 2."),
    "a point's cluster": (
        {"through": ["mean", {"cluster": 9}]},
        "path.through.1.cluster: The clustering has 3 clusters, 0 to 2.",
    ),
    "a start's clustering": (
        {"component": 0, "start": {"cluster": 0, "clustering": "hdbscan"}},
        "path.start.clustering: The collection has no clustering 'hdbscan'; it has kmeans, mixture.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_version_lacks_is_refused_by_its_field(name: str) -> None:
    path, message = REFUSED[name]
    with pytest.raises(BadInput) as refused:
        asked(path).fitted(FIGURES)
    assert refused.value.message == message


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ({}, {}),
        ({"through": [A]}, {}),
        ({"through": ["mean"] * 17}, {}),
        ({"component": 0, "strengths": [1]}, {}),
        ({"cluster": 0, "n": 2}, {}),
        ({"cluster": 0}, {"n_frames": 241}),
        ({"cluster": 0}, {"n_frames": 1}),
        ({"cluster": 0}, {"fps": 61}),
        ({"cluster": 0}, {"fps": 51, "format": "gif"}),
        ({"cluster": 0}, {"format": "png"}),
    ],
)
def test_what_is_out_of_range_is_refused(path: dict[str, Any], fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        asked(path, **fields)
