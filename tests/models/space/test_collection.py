import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import pairwise_distances_argmin

from models.space import collection as module
from models.space.collection import (
    Array,
    FittedCollection,
    MapName,
    Members,
    Method,
    digests_of,
    fit_collection,
    load_collection,
    save_collection,
    summary,
)
from models.space.sampling import sample_component

PCA = {"n_components": 3}
FINDING: tuple[Method, ...] = ("kmeans", "agglomerative", "hdbscan")
METHODS: list[dict[str, Any]] = [
    {"method": "kmeans", "n_clusters": 3},
    {"method": "mixture", "n_components": 2, "covariance_type": "full"},
    {"method": "agglomerative", "max_clusters": 5},
    {"method": "hdbscan"},
]


def members(n: int = 60, seed: int = 0, names: tuple[str, ...] = ("round", "red")) -> Members:
    """Vectors around three corners; the first attribute is the first corner."""
    rng = np.random.default_rng(seed)
    corner = np.arange(n) % 3
    vectors = (10 * np.eye(6)[corner] + rng.normal(size=(n, 6))).astype(np.float32)
    attributes = np.stack([corner == 0, rng.random(n) < 0.5], axis=1).astype(np.int8)
    images = rng.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8)
    return Members(vectors, images, np.array([f"set/{k}" for k in range(n)]), attributes, names)


@pytest.fixture(scope="module")
def fitted() -> FittedCollection:
    return fit_collection(members(), pca=PCA, clusterings=METHODS, seed=0)


def test_every_method_finds_the_corners(fitted: FittedCollection) -> None:
    corner = np.arange(60) % 3
    for method in FINDING:
        labels = fitted.clusterings[method].labels_
        inside = labels >= 0  # HDBSCAN leaves a few out
        assert inside.mean() > 0.9
        assert len(set(zip(labels[inside].tolist(), corner[inside].tolist(), strict=True))) == 3, method
    assert fitted.mixture is not None and len(fitted.mixture.weights_) == 2
    np.testing.assert_array_equal(fitted.clusterings["mixture"].labels_, fitted.mixture.labels(fitted.scores))


def test_what_is_saved_is_what_is_loaded(fitted: FittedCollection, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_collection(fitted, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    loaded = load_collection(tmp_path / "a")
    np.testing.assert_array_equal(loaded.scores, fitted.scores)
    assert loaded.members.names.tolist() == fitted.members.names.tolist()
    assert summary(loaded) == summary(fitted)
    assert loaded.mixture is not None and fitted.mixture is not None
    np.testing.assert_array_equal(loaded.mixture.covariances_, fitted.mixture.covariances_)
    assert loaded.mixture.covariance_type == "full"


def test_a_pickle_in_a_file_is_not_opened(tmp_path: Path) -> None:
    with (tmp_path / "evil").open("wb") as file:
        np.savez(file, facts=np.array([{"members": {}}], object))
    with pytest.raises(ValueError, match="allow_pickle"):
        load_collection(tmp_path / "evil")


def test_figures_are_those_of_the_fit(fitted: FittedCollection) -> None:
    found = summary(fitted)
    assert (found["n_images"], found["dim"], found["n_components"]) == (60, 6, 3)
    assert found["clusterings"]["kmeans"]["sizes"] == [20, 20, 20]
    assert found["components_for"]["0.99"] is None, "three components of six explain less"
    assert found["attribute_names"] == ["round", "red"]


def test_what_is_not_known_of_some_members_stays_known_of_the_others() -> None:
    both = members(3) + members(2, names=("red", "large"))
    assert both.attribute_names == ("round", "red", "large")
    first, second = members(3).attributes, members(2).attributes
    assert both.attributes[:3].tolist() == [[*row, -1] for row in first.tolist()]
    assert both.attributes[3:].tolist() == [[-1, *row] for row in second.tolist()]
    assert len(both) == 5 and both.names.tolist() == ["set/0", "set/1", "set/2", "set/0", "set/1"]


def test_each_stage_is_reported_and_may_stop() -> None:
    stages: list[str] = []
    fit_collection(members(), pca=PCA, clusterings=METHODS, seed=0, on_step=stages.append)
    assert list(dict.fromkeys(each.split(" of ")[0] for each in stages)) == [
        *("principal components", "k-means", "stability", "mixture", "agglomerative clustering", "HDBSCAN"),
    ]


NOISE = {"method": "hdbscan", "min_cluster_size": 61}


def test_a_clustering_that_fails_is_noted_and_the_others_are_there(tmp_path: Path) -> None:
    found = fit_collection(members(), pca=PCA, clusterings=[NOISE, *METHODS[:3]], seed=0)
    reason = "no cluster can have 61 images: there are 60"
    assert (list(found.clusterings), found.failed) == (["kmeans", "mixture", "agglomerative"], {"hdbscan": reason})
    assert summary(found)["failed_clusterings"] == {"hdbscan": reason}
    save_collection(found, tmp_path / "a")
    assert load_collection(tmp_path / "a").failed == found.failed
    none = fit_collection(members(), pca=PCA, clusterings=[NOISE], seed=0)
    assert summary(none)["clusterings"] == {} and len(none.scores) == 60


def test_what_a_library_makes_of_degenerate_data_is_a_reason_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise np.linalg.LinAlgError("not positive definite")

    monkeypatch.setattr(module, "kmeans", broken)
    found = fit_collection(members(), pca=PCA, clusterings=METHODS, seed=0)
    assert found.failed == {"kmeans": "not positive definite"} and len(found.clusterings) == 3


def test_two_images_have_a_component_and_the_reasons_why_they_have_no_clusters() -> None:
    found = fit_collection(members(2), pca={}, clusterings=METHODS[:1] + METHODS[2:], seed=0)
    assert found.scores.shape == (2, 1) and not found.clusterings
    assert "at least 3 images; there are 2" in found.failed["hdbscan"]
    json.dumps(summary(found), allow_nan=False)


def test_each_method_assigns_its_members_to_their_clusters(fitted: FittedCollection) -> None:
    for method, found in fitted.clusterings.items():
        inside = found.labels_ >= 0
        np.testing.assert_array_equal(fitted.assigned(method, fitted.scores[inside]), found.labels_[inside])


def test_a_mixture_assigns_by_its_posterior_where_the_nearest_center_is_another() -> None:
    """A narrow component beside a wide one, whose members lie around it."""
    rng = np.random.default_rng(0)
    vectors = np.concatenate([0.2 * rng.normal(size=(100, 8)), 3 * np.eye(8)[0] + 3 * rng.normal(size=(100, 8))])
    wide = replace(members(200), vectors=vectors.astype(np.float32))
    mixture = {"method": "mixture", "n_components": 2, "covariance_type": "spherical"}
    found = fit_collection(wide, pca={}, clusterings=[mixture], seed=0)
    assert found.mixture is not None
    far = int(found.assigned("mixture", found.scores[-1:])[0])
    drawn = sample_component(found.scores, found.mixture, far, 200, 1.0, rng)
    by_posterior = found.assigned("mixture", drawn) == far
    by_center = pairwise_distances_argmin(drawn, found.clusterings["mixture"].cluster_centers_) == far
    assert by_posterior.mean() > 0.98 and by_center.mean() < 0.8


def test_the_same_image_has_the_same_digest_in_every_version() -> None:
    images = members(5).thumbnails
    assert len(set(digests_of(images))) == 5 and digests_of(images[[0, 0]])[1] == digests_of(images)[0]
    known = replace(members(3), digests=digests_of(images[:3]))
    both = members(2) + known
    assert both.digests is not None
    assert both.digests.tolist() == ["", "", *digests_of(images[:3])], "a version from before has none"


def test_maps_are_kept(fitted: FittedCollection, tmp_path: Path) -> None:
    maps: dict[MapName, Array] = {"tsne": fitted.scores[:, :2], "umap": fitted.scores[:, 1:3]}
    save_collection(replace(fitted, maps=maps), tmp_path / "a")
    loaded = load_collection(tmp_path / "a").maps
    assert list(loaded) == ["tsne", "umap"]
    np.testing.assert_array_equal(loaded["umap"], maps["umap"])
    with np.load(tmp_path / "a") as file:
        of_an_earlier_version = {name: file[name] for name in file if "maps/" not in name} | {"map": maps["tsne"]}
    np.savez(tmp_path / "earlier.npz", **of_an_earlier_version)
    earlier = load_collection(tmp_path / "earlier.npz").maps
    np.testing.assert_array_equal(earlier["tsne"], maps["tsne"])
    save_collection(fitted, tmp_path / "b")
    assert load_collection(tmp_path / "b").maps == {}
