"""Collections by the real runner, on a real Valkey, with shipped weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.errors import BadInput
from jobs.images import read_recipe
from jobs.store.jobs import JobStore
from jobs.store.records import Record
from models.data.smileys import smiley
from tests.worker.runners.collecting import (
    DIGITS,
    SMILEYS,
    Installation,
    add,
    archive,
    collection_of,
    fit_of,
    found,
    sample,
    shown,
    steer,
    uploaded,
)
from worker.lease import Lease


def test_a_collection_has_a_fit_figures_and_plots(installation: Installation, smileys: Record, tmp_path: Path) -> None:
    collection = collection_of(installation, smileys)
    [version] = collection.versions
    figures = version.figures
    assert (figures["n_images"], figures["dim"], figures["n_components"]) == (80, 16, 14)
    assert list(figures["clusterings"]) == ["kmeans", "mixture", "agglomerative", "hdbscan"]
    assert sum(figures["clusterings"]["kmeans"]["sizes"]) == 80 and figures["mixture"]["n_components"] == 2
    assert "winking" in figures["attribute_names"]
    ratio = figures["explained_variance_ratio"]
    assert ratio == sorted(ratio, reverse=True) and 0.5 < sum(ratio) <= 1

    roles = [output["role"] for output in smileys.outputs]
    assert roles == ["plot"] * 8 + ["grid"] * 2
    meanings = figures["components"]
    assert [each["component"] for each in meanings] == list(range(14)) and any(each["name"] for each in meanings)
    assert [each["cluster"] for each in figures["clusterings"]["kmeans"]["clusters"]] == [0, 1, 2]
    assert len(figures["clusterings"]["kmeans"]["attribute_shares"]["winking"]) == 3
    assert all(0 < each["stability"] <= 1 for each in figures["clusterings"].values())
    assert all(plot.std() > 5 for role in ("plot", "grid") for plot in shown(installation, smileys, role))
    recipe = read_recipe(installation[1].get(smileys.outputs[0]["sha256"])) or {}
    assert "vae-smileys" in recipe["models"]

    fit = fit_of(installation, smileys, tmp_path)
    assert fit.members.names[7] == "smileys/7" and fit.members.thumbnails.shape == (80, 48, 48, 3)
    seconds = smileys.metrics["seconds"]
    assert list(seconds) == [
        *("reading", "encoding", "principal components", "k-means", "stability", "mixture"),
        *("agglomerative clustering", "HDBSCAN"),
        *("map", "plots", "storing"),
    ]
    assert all(seconds.values()) and sum(seconds.values()) < smileys.metrics["run_ms"] / 1000
    assert smileys.metrics["warnings"] == [] and figures["failed_clusterings"] == {}
    again = collection_of(installation, found(installation, SMILEYS))
    assert again.versions[0].file == version.file, "the same request and seed give the same bytes"


def test_images_are_added_and_the_old_version_stays(
    installation: Installation, smileys: Record, tmp_path: Path
) -> None:
    before = fit_of(installation, smileys, tmp_path)
    images = [uploaded(installation, smiley(9, index)[0]) for index in range(4)]
    collection = collection_of(installation, smileys)
    record = add(installation, collection, images=images)
    after = fit_of(installation, record, tmp_path)
    assert (record.metrics["version"], len(after.members)) == (2, 84)
    assert after.members.names[80:].tolist() == images
    assert set(before.members.attributes.flat) == {0, 1} and (after.members.attributes[80:] == -1).all(), "not known"
    np.testing.assert_array_equal(after.members.attributes[:80], before.members.attributes)
    np.testing.assert_array_equal(after.members.vectors[:80], before.members.vectors)
    np.testing.assert_array_equal(fit_of(installation, smileys, tmp_path).scores, before.scores)

    collection = collection_of(installation, smileys)
    more = add(installation, collection, data="smileys", limit=10, clusterings=[{"method": "kmeans", "n_clusters": 2}])
    names = fit_of(installation, more, tmp_path).members.names
    assert names[84:].tolist() == [f"smileys/{index}" for index in range(80, 90)], (
        "those that the collection did not have"
    )
    assert list(collection_of(installation, more).versions[-1].figures["clusterings"]) == ["kmeans"]

    again = add(installation, collection_of(installation, smileys), images=images)
    assert (again.error or {})["code"] == "bad_data" and "already" in (again.error or {})["message"]
    assert len(collection_of(installation, smileys).versions) == 3


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_images_are_added(installation: Installation, smileys: Record, tmp_path: Path, n: int) -> None:
    images = [uploaded(installation, smiley(20 + n, index)[0]) for index in range(n)]
    before = len(collection_of(installation, smileys).versions)
    record = add(installation, collection_of(installation, smileys), images=images, clusterings=[{"n_clusters": 2}])
    assert record.metrics["version"] == before + 1 and record.metrics["warnings"] == []
    assert fit_of(installation, record, tmp_path).members.names[-n:].tolist() == images


def test_the_same_image_is_counted_once_and_reported(installation: Installation, tmp_path: Path) -> None:
    images = [uploaded(installation, smiley(30, index)[0]) for index in range(5)]
    larger = uploaded(installation, smiley(30, 0)[0].repeat(2, 0).repeat(2, 1))
    few = {"name": "Few", "space": "pixels", "image_size": 64, "images": [*images, images[1]], "seed": 1}
    record = found(installation, few | {"clusterings": [{"n_clusters": 2}]})
    assert record.metrics["duplicates"] == [{"image": images[1], "same_as": images[1]}]
    [warning] = record.metrics["warnings"]
    assert warning["code"] == "duplicate_images" and warning["message"].startswith("1 of the images are the same")
    assert fit_of(installation, record, tmp_path).members.names.tolist() == images

    # The same bytes under two names, in an archive and as uploads.
    zipped = archive(installation, {"a.png": smiley(31, 0)[0], "b.png": smiley(31, 0)[0], "c.png": smiley(30, 3)[0]})
    again = add(installation, collection_of(installation, record), data=zipped)
    assert [(each["image"], each["same_as"]) for each in again.metrics["duplicates"]] == [
        (f"{zipped}/1", f"{zipped}/0"),
        (f"{zipped}/2", images[3]),
    ]
    assert fit_of(installation, again, tmp_path).members.names[5:].tolist() == [f"{zipped}/0"]
    assert again.metrics["figures"]["n_images"] == 6
    more = add(installation, collection_of(installation, record), images=[images[0], larger])
    assert more.metrics["duplicates"][0] == {"image": images[0], "same_as": images[0]}
    assert more.metrics["figures"]["n_images"] in (6, 7), "of another size it may become the same 64 pixels"


def test_a_clustering_that_fails_is_noted_and_the_others_stay(installation: Installation) -> None:
    """HDBSCAN finds only noise in noise."""
    rng = np.random.default_rng(0)
    data = archive(installation, {f"{k:02}.png": rng.integers(0, 256, (32, 32, 3), np.uint8) for k in range(40)})
    noise = {"name": "Noise", "space": "pixels", "image_size": 32, "data": data, "seed": 1}
    three = [{"method": "hdbscan"}, {"method": "kmeans"}, {"method": "mixture"}, {"method": "agglomerative"}]
    record = found(installation, noise | {"clusterings": three})
    assert record.status == "succeeded", record.error
    [version] = collection_of(installation, record).versions
    assert list(version.figures["clusterings"]) == ["kmeans", "mixture", "agglomerative"]
    assert list(version.figures["failed_clusterings"]) == ["hdbscan"]
    [warning] = record.metrics["warnings"]
    assert warning["code"] == "clustering_failed"
    assert warning["message"].startswith("There is no hdbscan clustering: no clusters of 5 images or more were found")
    with pytest.raises(BadInput, match=r"no clustering 'hdbscan'.*hdbscan could not be made: no clusters of 5"):
        sample(installation, record, clustering="hdbscan")


def test_a_collection_without_clusterings_can_be_steered(installation: Installation) -> None:
    images = [uploaded(installation, smiley(40, index)[0]) for index in range(5)]
    few = {"name": "Few", "space": "pixels", "image_size": 16, "images": images, "seed": 1}
    record = found(installation, few | {"clusterings": [{"method": "kmeans", "n_clusters": 9}]})
    names = [output["name"] for output in record.outputs]
    assert names == ["explained-variance", "t-sne", "pca", "correlations", "components"]
    assert record.metrics["figures"]["clusterings"] == {}
    steered = steer(installation, record, components=[{"component": 0, "strengths": [0, 1]}])
    assert [each["cluster"] for each in steered.metrics["pictures"]] == [None, None]
    with pytest.raises(
        BadInput, match=r"no clustering; it has none. kmeans could not be made: 9 clusters need as many"
    ):
        sample(installation, record)


@pytest.mark.parametrize("n", [2, 3])
def test_two_or_three_different_images_are_a_collection(installation: Installation, n: int) -> None:
    """For example, when most files of an archive are copies."""
    files = {f"{k}.png": smiley(41, k % n)[0] for k in range(6)}
    few = {"name": "Few", "space": "vae-smileys", "data": archive(installation, files), "seed": 1}
    clusterings = [{"method": "kmeans"}, {"method": "mixture"}, {"method": "agglomerative"}, {"method": "hdbscan"}]
    record = found(installation, few | {"clusterings": clusterings})
    assert record.status == "succeeded", record.error
    assert record.metrics["figures"]["n_images"] == n
    json.dumps(record.metrics, allow_nan=False)
    assert all(plot.std() > 5 for role in ("plot", "grid") for plot in shown(installation, record, role))


def test_gray_pixels_are_a_space(installation: Installation, tmp_path: Path) -> None:
    record = found(installation, DIGITS)
    fit = fit_of(installation, record, tmp_path)
    assert fit.members.vectors.shape == (60, 256) and (fit.pca.scale_ == 1).all()
    assert fit.members.attribute_names == tuple("0123456789"), (
        "labels are the attributes of a data set without attributes"
    )
    assert record.metrics["figures"]["components_for"]["0.99"] == len(fit.pca.components_)


def test_equal_images_cannot_be_fitted(installation: Installation) -> None:
    # Of different sizes, so that they are four uploads.
    white = [uploaded(installation, np.full((8 + k, 8, 3), 255, np.uint8)) for k in range(4)]
    record = found(installation, {"name": "White", "space": "pixels", "image_size": 16, "images": white, "seed": 1})
    assert record.status == "failed" and record.error is not None
    assert record.error["code"] == "cannot_be_fitted" and "same" in record.error["message"]


@pytest.mark.parametrize("message", ["images read", "encoded", "principal components", "map by t-SNE"])
def test_a_cancel_is_noticed_in_each_phase(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    at_message(monkeypatch, message, lambda jobs, job_id: jobs.cancel(job_id))
    assert found(installation, DIGITS).status == "canceled"


def at_message(monkeypatch: pytest.MonkeyPatch, message: str, act: Callable[[JobStore, str], None]) -> None:
    real = Lease.step

    def step(self: Lease, step: int, total: int, said: str, image: Any = None) -> None:
        if message in said:
            act(self._jobs, self._record.id)
        real(self, step, total, said, image)

    monkeypatch.setattr(Lease, "step", step)


def test_a_search_at_its_bound_and_unfamiliar_images_are_warnings(
    installation: Installation,
) -> None:
    rng = np.random.default_rng(0)
    images = [uploaded(installation, rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(6)]
    clusterings = [{"method": "kmeans", "max_clusters": 2}, {"method": "agglomerative", "n_clusters": 2}]
    record = found(
        installation,
        {"name": "Noise", "space": "vae-smileys", "images": images, "clusterings": clusterings, "seed": 0},
    )
    warnings = {warning["code"]: warning["message"] for warning in record.metrics["warnings"]}
    assert record.status == "succeeded", record.error
    assert warnings["search_at_bound"].startswith("kmeans: the search ended at its bound of 2; a larger max_clusters")
    assert warnings["image_unlike_training"].startswith("6 of 6 images that were compared are unlike")
