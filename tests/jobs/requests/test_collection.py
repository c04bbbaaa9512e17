"""What a collection may ask for, and what is filled in."""

from typing import Any

import pytest
from pydantic import ValidationError

from jobs.requests.collection import AdditionParams, CollectionParams, NextVersion, built

IMAGES = [f"img_{k:064x}" for k in range(4)]
ZIP = "zip_" + "0" * 64
PIXELS: dict[str, Any] = {"name": "Cats", "space": "pixels", "data": "digits"}
CODES: dict[str, Any] = {"name": "Cats", "space": "vae-smileys", "data": "smileys"}

NUMBER = {"n_clusters": None, "max_clusters": 20, "candidates": None}
KMEANS = {"method": "kmeans", "criterion": "silhouette"} | NUMBER
MIXTURE = {
    **{"method": "mixture", "covariance_type": "diag", "criterion": "aic"},
    **{"n_components": None, "max_components": 200, "candidates": None},
}


@pytest.mark.parametrize(
    ("given", "space"),
    [
        ({"data": "flowers"}, "kandinsky-flowers"),
        ({"data": "styles"}, "style"),
        ({"data": "mnist"}, "pixels"),
        ({"data": ZIP}, "photo"),
        ({"images": IMAGES}, "photo"),
        ({"vectors": ZIP}, "vectors"),
        ({"vectors": ZIP, "data": ZIP}, "vectors"),
        ({"data": "flowers", "space": "pixels"}, "pixels"),
    ],
)
def test_the_space_follows_from_the_images_unless_one_is_named(given: dict[str, Any], space: str) -> None:
    assert CollectionParams(name="Mine", **given).fitted().space == space


def filled(**changed: Any) -> dict[str, Any]:
    return CollectionParams(**PIXELS | changed).fitted().model_dump(mode="json")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, {"image_size": 64, "channels": 3, "limit": 1000, "standardize": False, "explained_variance": 0.99}),
        ({"image_size": 16, "channels": 1, "limit": 4}, {"image_size": 16, "channels": 1, "limit": 4}),
        ({"data": ZIP}, {"data": ZIP, "limit": None}),
        ({"data": None, "images": IMAGES}, {"images": IMAGES, "limit": None}),
        ({"space": "vae-2"}, {"image_size": None, "channels": None, "standardize": True}),
        ({"space": "vae-2", "standardize": False}, {"standardize": False}),
        ({"standardize": True}, {"standardize": True}),
        ({"n_components": 5}, {"n_components": 5, "explained_variance": None}),
        ({"explained_variance": 0.5}, {"n_components": None, "explained_variance": 0.5}),
        ({}, {"clusterings": [KMEANS]}),
        ({"clusterings": [{"n_clusters": 7}]}, {"clusterings": [KMEANS | {"n_clusters": 7, "max_clusters": None}]}),
        (
            {"clusterings": [{"method": "mixture", "max_components": 9}, {"method": "hdbscan"}]},
            {
                "clusterings": [
                    MIXTURE | {"max_components": 9},
                    {"method": "hdbscan", "min_cluster_size": None},
                ]
            },
        ),
        (
            {"clusterings": [{"method": "mixture", "candidates": [5, 410]}]},
            {"clusterings": [MIXTURE | {"max_components": None, "candidates": [5, 410]}]},
        ),
    ],
)
def test_what_depends_on_other_fields_is_filled_in(changed: dict[str, Any], expected: dict[str, Any]) -> None:
    found = filled(**changed)
    assert {name: found[name] for name in expected} == expected


def test_a_mixture_may_have_more_components_than_others_have_clusters() -> None:
    methods = ["mixture", "agglomerative", "kmeans"]
    found = filled(clusterings=[{"method": method} for method in methods])
    assert found["clusterings"] == [MIXTURE, KMEANS | {"method": "agglomerative"}, KMEANS]


@pytest.mark.parametrize("changed", [{}, {"space": "vae-2"}, {"n_components": 3}, {"data": None, "images": IMAGES}])
def test_what_was_resolved_can_be_asked_for_again(changed: dict[str, Any]) -> None:
    once = filled(**changed, clusterings=[{"method": "mixture"}, {"method": "hdbscan"}, {"n_clusters": 3}])
    assert CollectionParams(**once).fitted().model_dump(mode="json") == once


def refusals(model: type[CollectionParams] | type[AdditionParams], **body: Any) -> set[str]:
    """The fields that are refused."""
    with pytest.raises(ValidationError) as error:
        model(**body)
    places = [
        (*problem["loc"], *filter(None, [problem.get("ctx", {}).get("field")])) for problem in error.value.errors()
    ]
    return {".".join(str(part) for part in place if not str(part).startswith("<")) for place in places}


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"data": None}, "images"),
        ({"images": IMAGES}, "data"),
        ({"images": IMAGES[:3], "data": None}, "images"),
        ({"images": IMAGES * 65, "data": None}, "images"),
        ({"images": ["cat.png", *IMAGES], "data": None}, "images.0"),
        ({"images": IMAGES, "data": None, "limit": 4}, "limit"),
        ({"limit": 3}, "limit"),
        ({"limit": 20_001}, "limit"),
        ({"data": "cats"}, "data"),
        ({"name": ""}, "name"),
        ({"name": "n" * 101}, "name"),
        ({"space": "VAE"}, "space"),
        ({"space": "vae-2", "image_size": 64}, "image_size"),
        ({"space": "vae-2", "channels": 3}, "channels"),
        ({"image_size": 12}, "image_size"),
        ({"image_size": 18}, "image_size"),
        ({"image_size": 260}, "image_size"),
        ({"channels": 2}, "channels"),
        ({"n_components": 0}, "n_components"),
        ({"n_components": 5, "explained_variance": 0.9}, "explained_variance"),
        ({"explained_variance": 1.0}, "explained_variance"),
        ({"standardize": 1}, "standardize"),
        ({"clusterings": []}, "clusterings"),
        ({"clusterings": [{"method": "optics"}]}, "clusterings.0"),
        ({"clusterings": [{}, {"method": "kmeans"}]}, "clusterings"),
        ({"clusterings": [{"n_clusters": 1}]}, "clusterings.0.n_clusters"),
        ({"clusterings": [{"max_clusters": 501}]}, "clusterings.0.max_clusters"),
        ({"clusterings": [{"candidates": [2, 501]}]}, "clusterings.0.candidates.1"),
        ({"clusterings": [{"candidates": [2]}]}, "clusterings.0.candidates"),
        ({"clusterings": [{"candidates": [2, 5], "n_clusters": 3}]}, "clusterings.0.candidates"),
        ({"clusterings": [{"candidates": [2, 5], "max_clusters": 3}]}, "clusterings.0.candidates"),
        ({"clusterings": [{"criterion": "bic"}]}, "clusterings.0.criterion"),
        ({"clusterings": [{"method": "spectral", "criterion": "gap"}]}, "clusterings.0.criterion"),
        ({"clusterings": [{"method": "dbscan", "eps": 0}]}, "clusterings.0.eps"),
        ({"maps": ["tsne", "tsne"]}, "maps"),
        ({"clusterings": [{"n_clusters": 3, "max_clusters": 5}]}, "clusterings.0.max_clusters"),
        (
            {"clusterings": [{"method": "mixture", "n_components": 3, "max_components": 5}]},
            "clusterings.0.max_components",
        ),
        (
            {"clusterings": [{"method": "mixture", "candidates": [3, 5], "max_components": 5}]},
            "clusterings.0.candidates",
        ),
        ({"clusterings": [{"method": "mixture", "n_clusters": 3}]}, "clusterings.0.n_clusters"),
        ({"clusterings": [{"method": "hdbscan", "n_clusters": 3}]}, "clusterings.0.n_clusters"),
        ({"clusterings": [{"method": "agglomerative", "criterion": "aic"}]}, "clusterings.0.criterion"),
        ({"clusterings": [{"covariance_type": "full"}]}, "clusterings.0.covariance_type"),
        ({"clusterings": [{"min_cluster_size": 5}]}, "clusterings.0.min_cluster_size"),
        ({"collection": "col_" + "0" * 24}, "collection"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_field(changed: dict[str, Any], field: str) -> None:
    assert refusals(CollectionParams, **PIXELS | changed) == {field}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "images"),
        ({"images": IMAGES, "data": "digits"}, "data"),
        ({"data": "digits", "name": "Cats"}, "name"),
        ({"data": "digits", "space": "pixels"}, "space"),
        ({"data": "digits", "clusterings": [{}, {}]}, "clusterings"),
        ({"images": []}, "images"),
        ({"data": "digits", "limit": 0}, "limit"),
    ],
)
def test_an_addition_takes_images_and_clusterings_alone(body: dict[str, Any], field: str) -> None:
    assert refusals(AdditionParams, **body) == {field}


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_images_may_join(n: int) -> None:
    added = AdditionParams(images=IMAGES[:n]).next_version(built(filled()), "col_1")
    assert added.images == IMAGES[:n]
    assert AdditionParams(data="digits", limit=n).next_version(built(filled()), "col_1").limit == n


def test_the_same_image_may_be_named_twice() -> None:
    """The job recognizes it, as it does one under two names."""
    assert CollectionParams(**PIXELS | {"data": None, "images": IMAGES * 2}).images == IMAGES * 2


def test_the_next_version_is_made_as_the_one_before() -> None:
    before = filled(n_components=5, image_size=32, seed=1, clusterings=[{"method": "hdbscan"}], format="webp", limit=9)
    added = AdditionParams(images=IMAGES, seed=2).next_version(built(before), "col_1")
    assert isinstance(added, NextVersion) and added.collection == "col_1"
    assert added.model_dump(mode="json", exclude={"collection"}) == before | {
        **{"images": IMAGES, "data": None, "limit": None, "seed": 2, "format": "png"},
    }
    changed = AdditionParams(data="digits", clusterings=[{"method": "kmeans"}]).next_version(built(before), "col_1")
    assert (changed.limit, changed.images) == (1000, None)
    assert changed.model_dump()["clusterings"] == [KMEANS]


def test_images_are_found_and_changed_in_their_places() -> None:
    params = CollectionParams(**PIXELS | {"data": None, "images": IMAGES})
    assert params.image_refs() == {f"images.{k}": image for k, image in enumerate(IMAGES)}
    assert params.with_images({f"images.{k}": IMAGES[0] for k in range(4)}).images == [IMAGES[0]] * 4
    assert CollectionParams(**PIXELS).with_images({}).images is None
