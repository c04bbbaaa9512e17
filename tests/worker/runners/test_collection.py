"""Collections, pc-steerings and cluster-samplings by the real runners, on a real Valkey, with shipped weights."""

import json
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from jobs.errors import BadInput, NotFound
from jobs.images import read_recipe
from jobs.objects import Objects
from jobs.requests.collection import AdditionParams, CollectionParams, built
from jobs.requests.plots import PlotParams
from jobs.requests.steering import ClusterSampling, Steering
from jobs.store.jobs import JobStore
from jobs.store.records import NewJob, Record
from jobs.store.registry import NEW, CollectionRecord
from models.build import load_model
from models.catalogue import cards
from models.data.avatars import ATTRIBUTES
from models.data.smileys import smiley
from models.generative.classifier import Classifier
from models.metrics import answers
from models.space.collection import FittedCollection, load_collection
from models.space.space import OnStep, PixelSpace
from tests.worker.tasks import run_job
from worker.lease import CanceledError, Lease
from worker.runners import network
from worker.runners.network import BATCH
from worker.runners.space import LoadedSpace
from worker.upkeep import remove_unused

SMILEYS: dict[str, Any] = {
    **{"name": "Smileys", "space": "vae-smileys", "data": "smileys", "limit": 80, "n_components": 14, "seed": 3},
    "clusterings": [
        {"method": "kmeans", "n_clusters": 3},
        {"method": "mixture", "n_components": 2},
        {"method": "agglomerative", "n_clusters": 4},
        {"method": "hdbscan", "min_cluster_size": 3},
    ],
}
DIGITS: dict[str, Any] = {
    **{"name": "Digits", "space": "pixels", "image_size": 16, "channels": 1, "data": "digits", "limit": 60, "seed": 1},
}


@pytest.fixture(scope="module")
def installation(valkey: Any) -> tuple[JobStore, Objects]:
    """One job store for the tests of this module, which build on each other's collection."""
    valkey.redis.flushall()
    settings = valkey.settings.model_copy(update={"job_timeout_s": 600})
    jobs = JobStore(valkey.jobs.client, settings)
    return jobs, Objects(settings, jobs, retry_s=1)


@pytest.fixture(scope="module")
def smileys(installation: tuple[JobStore, Objects]) -> Record:
    """The job that built a collection of smileys, whose id is in its metrics."""
    return found(installation, SMILEYS)


def found(installation: tuple[JobStore, Objects], params: dict[str, Any]) -> Record:
    stored = CollectionParams(**params).fitted().model_dump(mode="json")
    return work(installation, kind="collection", params=stored, collection=NEW)


def add(installation: tuple[JobStore, Objects], collection: CollectionRecord, **params: Any) -> Record:
    stored = AdditionParams(**{"seed": 3, **params}).next_version(built(collection.params), collection.id)
    return work(installation, kind="collection", params=stored.model_dump(mode="json"), collection=collection.id)


def steer(installation: tuple[JobStore, Objects], smileys: Record, **params: Any) -> Record:
    version = collection_of(installation, smileys).versions[0]
    asked = Steering(collection=smileys.metrics["collection"], version=1, seed=5, **params)
    stored = asked.fitted(version.figures).model_dump(mode="json")
    return work(installation, kind="pc-steering", params=stored)


def sample(installation: tuple[JobStore, Objects], smileys: Record, **params: Any) -> Record:
    version = collection_of(installation, smileys).versions[0]
    asked = ClusterSampling(collection=smileys.metrics["collection"], version=1, seed=5, **params)
    stored = asked.fitted(version.figures).model_dump(mode="json")
    return work(installation, kind="cluster-sampling", params=stored)


def work(installation: tuple[JobStore, Objects], **job: Any) -> Record:
    """Queues a job and runs it to a terminal state."""
    jobs, objects = installation
    queue = "collect" if job["kind"] == "collection" else "gpu"
    jobs.create(NewJob(queue=queue, **job))
    [record] = jobs.claim(queue, worker="test")
    run_job(jobs, objects, record)
    return jobs.get(record.id)


def collection_of(installation: tuple[JobStore, Objects], record: Record) -> CollectionRecord:
    assert record.status == "succeeded", record.error
    return installation[0].collections.get(record.metrics["collection"])


def fit_of(installation: tuple[JobStore, Objects], record: Record, folder: Path) -> FittedCollection:
    path = folder / "collection.npz"
    installation[1].get_file(collection_of(installation, record).versions[record.metrics["version"] - 1].file, path)
    return load_collection(path)


def shown(installation: tuple[JobStore, Objects], record: Record, role: str = "picture") -> list[np.ndarray[Any, Any]]:
    """The output images of a role."""
    assert record.status == "succeeded", record.error
    files = [installation[1].get(output["sha256"]) for output in record.outputs if output["role"] == role]
    return [np.asarray(Image.open(BytesIO(data)).convert("RGB")) for data in files]


def uploaded(installation: tuple[JobStore, Objects], pixels: np.ndarray[Any, Any]) -> str:
    jobs, objects = installation
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    sha = objects.put(file.getvalue(), "image/png")
    jobs.images.put(sha, {})
    return f"img_{sha}"


Installation = tuple[JobStore, Objects]


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
    assert roles == ["plot"] * 6 + ["grid"] * 2
    assert all(plot.std() > 5 for role in ("plot", "grid") for plot in shown(installation, smileys, role))
    recipe = read_recipe(installation[1].get(smileys.outputs[0]["sha256"])) or {}
    assert "vae-smileys" in recipe["models"]

    fit = fit_of(installation, smileys, tmp_path)
    assert fit.members.names[7] == "smileys/7" and fit.members.thumbnails.shape == (80, 48, 48, 3)
    seconds = smileys.metrics["seconds"]
    assert list(seconds) == [
        *("reading", "encoding", "principal components", "k-means", "mixture", "agglomerative clustering", "HDBSCAN"),
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


def archive(installation: Installation, files: dict[str, np.ndarray[Any, Any]]) -> str:
    jobs, objects = installation
    file = BytesIO()
    with ZipFile(file, "w") as zipped:
        for name, pixels in files.items():
            image = BytesIO()
            Image.fromarray(pixels).save(image, "PNG")
            zipped.writestr(name, image.getvalue())
    sha = objects.put(file.getvalue(), "application/zip")
    jobs.archives.put(sha, {})
    return f"zip_{sha}"


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
    assert names == ["explained-variance", "t-sne", "pca", "components"]
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


# --- plots -----------------------------------------------------------------------------------------------------------


def test_plots_belong_to_the_collection_and_are_deleted_with_it(installation: Installation) -> None:
    settings = installation[0].settings.model_copy(update={"hold_s": 0})  # unreferenced objects are removed at once
    jobs = JobStore(installation[0].client, settings)
    objects = Objects(settings, jobs, retry_s=1)
    record = found((jobs, objects), DIGITS | {"seed": 5})
    collection = collection_of(installation, record)
    [version] = collection.versions
    names = [plot["name"] for plot in version.plots]
    assert names == [
        *("explained-variance", "silhouette", "t-sne", "pca", "clusterings", "components", "medoids"),
    ]
    assert [plot["role"] for plot in version.plots] == ["plot"] * 5 + ["grid"] * 2
    assert [plot["sha256"] for plot in version.plots] == [output["sha256"] for output in record.outputs]
    jobs.delete(record.id)
    remove_unused(jobs, objects)
    shas = [version.file, *(plot["sha256"] for plot in version.plots)]
    assert all(objects.get(sha) for sha in shas), "the plots stay when the job is deleted"
    jobs.collections.delete(collection.id)
    remove_unused(jobs, objects)
    for sha in shas:
        with pytest.raises(NotFound):
            objects.get(sha)


def redraw(installation: Installation, smileys: Record, **part: Any) -> Record:
    collection = collection_of(installation, smileys)
    params = PlotParams(seed=5, **part).of_version(collection.id, 1, collection.versions[0].figures)
    return work(installation, kind="collection-plots", params=params.model_dump(mode="json"))


REDRAWN: dict[str, tuple[dict[str, Any], list[str]]] = {
    "clustering": ({"clustering": "mixture"}, ["silhouette", "t-sne", "pca", "members"]),
    "noise": ({"clustering": "hdbscan"}, ["silhouette", "t-sne", "pca", "members"]),
    "component": ({"component": 3}, ["t-sne", "pca", "component", "members"]),
    "first component": ({"component": 0}, ["t-sne", "pca", "component", "members"]),
    "attribute": ({"attribute": "winking"}, ["t-sne", "pca"]),
}


@pytest.mark.parametrize("name", REDRAWN)
def test_plots_by_each_part(installation: Installation, smileys: Record, name: str) -> None:
    part, names = REDRAWN[name]
    record = redraw(installation, smileys, **part)
    assert [output["name"] for output in record.outputs] == names
    plots = [plot for role in ("plot", "grid") for plot in shown(installation, record, role)]
    assert all(plot.std() > 5 for plot in plots)
    assert (
        smileys.metrics["collection"] in (read_recipe(installation[1].get(record.outputs[0]["sha256"])) or {})["models"]
    )


def test_plots_by_the_first_clustering_equal_those_of_the_build(installation: Installation, smileys: Record) -> None:
    """On the map of the build: t-SNE does not run again."""
    again = shown(installation, redraw(installation, smileys, clustering="kmeans"), "plot")
    names = [output["name"] for output in smileys.outputs if output["role"] == "plot"]
    built = dict(zip(names, shown(installation, smileys, "plot"), strict=True))
    for name, plot in zip(("silhouette", "t-sne", "pca"), again, strict=True):
        np.testing.assert_array_equal(plot, built[name])


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


@pytest.mark.parametrize("message", ["images read", "encoded", "principal components", "two-dimensional map"])
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


def test_a_component_is_a_row_and_a_strength_a_column(installation: Installation, smileys: Record) -> None:
    components = [{"component": 0, "strengths": [-2, 0, 2]}, {"component": 1, "strengths": [-2, 0, 2]}]
    record = steer(installation, smileys, components=components)
    images = shown(installation, record)
    assert len(images) == 6 and len(shown(installation, record, "grid")) == 1
    assert (images[1] == images[4]).all(), "strength 0 is the start, for every component"
    assert np.abs(images[0].astype(int) - images[2]).mean() > 2
    figures = record.metrics["pictures"]
    assert [each["strength"] for each in figures] == [-2, 0, 2, -2, 0, 2]
    assert all(each["distance"] >= 0 and 0 <= each["density"] <= 1 and each["cluster"] in range(3) for each in figures)
    assert (
        smileys.metrics["collection"] in (read_recipe(installation[1].get(record.outputs[0]["sha256"])) or {})["models"]
    )


def test_components_with_different_strengths_have_separate_grids(installation: Installation, smileys: Record) -> None:
    components = [{"component": 0, "strengths": [-1, 1]}, {"component": 2, "strengths": [-2, 0, 2]}]
    record = steer(installation, smileys, components=components)
    assert len(shown(installation, record)) == 5 and len(shown(installation, record, "grid")) == 2


def test_combined_components_move_together(installation: Installation, smileys: Record) -> None:
    one, two = ({"component": k, "strengths": [1.5]} for k in (0, 1))
    [combined] = shown(installation, steer(installation, smileys, components=[one, two], combine=True))
    apart = shown(installation, steer(installation, smileys, components=[one, two]))
    assert len(apart) == 2 and not any((combined == image).all() for image in apart)


def test_an_image_moves_along_a_named_direction(installation: Installation, smileys: Record) -> None:
    start = uploaded(installation, smiley(9, 3)[0])
    for fitting in ("difference", "linear"):
        direction = {"attribute": "winking", "fitting": fitting, "strengths": [0, 2]}
        same, moved = shown(installation, steer(installation, smileys, start=start, components=[direction]))
        assert np.abs(same.astype(int) - smiley(9, 3)[0]).mean() < 25, (
            "strength 0 is the VAE's reconstruction of the image"
        )
        assert np.abs(same.astype(int) - moved).mean() > 0.5


def test_all_components_of_a_style_are_the_style(installation: Installation, smileys: Record) -> None:
    start, style = (uploaded(installation, smiley(9, index)[0]) for index in (3, 4))
    strengths = {"style_components": 14, "style_strengths": [0, 1]}
    at_start, at_style = shown(installation, steer(installation, smileys, start=start, style_from=style, **strengths))
    [only_style] = shown(
        installation, steer(installation, smileys, start=style, components=[{"component": 0, "strengths": [0]}])
    )
    to_style = np.abs(at_style.astype(int) - only_style).mean()
    assert to_style < np.abs(at_start.astype(int) - only_style).mean() / 2


def test_samples_of_one_cluster_are_those_of_all_clusters(installation: Installation, smileys: Record) -> None:
    for method in ("kmeans", "mixture", "agglomerative"):
        everything = sample(installation, smileys, clustering=method, n=3)
        alone = sample(installation, smileys, clustering=method, cluster=1, n=3)
        of_one = [k for k, each in enumerate(everything.metrics["pictures"]) if each["from_cluster"] == 1]
        for image, place in zip(shown(installation, alone), of_one, strict=True):
            difference = image.astype(int) - shown(installation, everything)[place]
            assert np.abs(difference).max() <= 3
        assert len(shown(installation, everything, "grid")) == 1


def test_the_cluster_of_a_sample_follows_the_rule_of_its_clustering(
    installation: Installation, smileys: Record
) -> None:
    for method in ("mixture", "hdbscan"):
        sampled = sample(installation, smileys, clustering=method, n=2)
        assert sampled.metrics["clustering"] == method
    start = {"cluster": 1, "clustering": "mixture"}
    steered = steer(installation, smileys, start=start, components=[{"component": 0, "strengths": [0]}])
    assert steered.metrics["clustering"] == "mixture"
    assert [each["cluster"] for each in steered.metrics["pictures"]] == [1]


def test_samples_of_a_mixture_in_pixels_are_of_their_component(installation: Installation) -> None:
    """By the nearest center many would belong to another component: the Gaussians have different widths."""
    mixture = {"method": "mixture", "n_components": 3}
    record = found(installation, DIGITS | {"limit": 150, "clusterings": [mixture]})
    figures = sample(installation, record, n=64, temperature=1).metrics["pictures"]
    assert np.mean([each["cluster"] == each["from_cluster"] for each in figures]) > 0.97


def test_most_samples_are_assigned_to_their_cluster(installation: Installation, smileys: Record) -> None:
    record = sample(installation, smileys, n=16, temperature=0.7, neighbors=2)
    figures = record.metrics["pictures"]
    again = np.mean([each["cluster"] == each["from_cluster"] for each in figures])
    print(f"{again:.0%} of samples re-encode to their cluster")
    assert again > 0.7
    assert all(len(each["nearest"]) == 2 and each["nearest"][0].startswith("smileys/") for each in figures)


def test_a_cluster_of_one_image_is_not_sampled_from(installation: Installation) -> None:
    images = [uploaded(installation, smiley(9, index)[0]) for index in range(5)]
    few = {"name": "Few", "space": "pixels", "image_size": 16, "images": images, "seed": 1}
    record = found(installation, few | {"clusterings": [{"method": "kmeans", "n_clusters": 4}]})
    sizes = record.metrics["figures"]["clusterings"]["kmeans"]["sizes"]
    alone, pair = sizes.index(1), sizes.index(2)
    job = sample(installation, record, n=1, cluster=alone)
    assert job.status == "failed" and job.error is not None
    assert job.error["code"] == "too_few_members" and "1 members" in job.error["message"]
    job = sample(installation, record, n=2)
    assert [each["from_cluster"] for each in job.metrics["pictures"]] == [pair, pair], "the other clusters are sampled"
    assert [warning["code"] for warning in job.metrics["warnings"]] == ["too_few_members"]


def test_samples_of_many_clusters_have_several_sheets(installation: Installation) -> None:
    """One sheet would exceed the maximum height of a WebP file."""
    many = {"limit": 120, "clusterings": [{"method": "kmeans", "n_clusters": 50}]}
    record = found(installation, DIGITS | many)
    sampled = sample(installation, record, n=1, neighbors=3, format="webp")
    clusters = sum(size > 1 for size in record.metrics["figures"]["clusterings"]["kmeans"]["sizes"])
    sheets = shown(installation, sampled, "grid")
    assert clusters > 20 and len(sheets) == -(-clusters // 20) and len(shown(installation, sampled)) == clusters


def test_at_temperature_0_every_sample_is_the_center(installation: Installation, smileys: Record) -> None:
    images = shown(installation, sample(installation, smileys, cluster=0, n=3, temperature=0))
    assert all((image == images[0]).all() for image in images)


def test_a_collection_of_other_weights_is_not_decoded_or_extended(
    installation: Installation, smileys: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example, when a newer release ships a retrained model with the same id."""
    collection = collection_of(installation, smileys)
    monkeypatch.setattr(network, "revision", lambda card, folder: "0" * 16)
    steered = steer(installation, smileys, start="mean", components=[{"component": 0}])
    for job in (steered, sample(installation, smileys, n=1), add(installation, collection, data="smileys", limit=5)):
        assert job.status == "failed" and job.error is not None
        assert (job.error["code"], job.error["details"]) == ("model_changed", {"model": "vae-smileys"})
        assert "Build a new collection" in job.error["message"]
    assert collection_of(installation, smileys) == collection, "the collection is unchanged"


# --- a space of CLIP embeddings --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def faces(installation: Installation) -> Record:
    return found(
        installation,
        {"name": "Faces", "space": "kandinsky-avatars", "data": "avatars", "limit": 60, "n_components": 4, "seed": 3}
        | {"clusterings": [{"method": "kmeans", "n_clusters": 2}]},
    )


def test_the_image_of_a_text_shows_the_text(installation: Installation, faces: Record) -> None:
    components = [{"component": 0, "strengths": [0]}, {"component": 1, "strengths": [0.5]}]
    steered = steer(installation, faces, start={"text": "a woman with a blue hat"}, components=components)
    made = np.stack(shown(installation, steered))
    judge = load_model(cards()["classifier-avatars"])
    assert isinstance(judge, Classifier)
    says = dict(zip(ATTRIBUTES, answers(judge, made).T.tolist(), strict=True))
    assert made.shape == (2, 64, 64, 3)
    assert says["woman"] == says["hat"] == says["blue_hat"] == [1, 1] and says["red_hat"] == [0, 0]


def test_a_text_that_is_too_long_is_refused(installation: Installation, faces: Record) -> None:
    job = steer(installation, faces, start={"text": "a hat and " * 20}, components=[{"component": 0}])
    assert job.error is not None
    assert job.error["code"] == "text_too_long" and "the model reads 32" in job.error["message"]


def test_samples_of_a_cluster_of_faces_are_assigned_to_it(installation: Installation, faces: Record) -> None:
    sampled = sample(installation, faces, n=4)
    rows = sampled.metrics["pictures"]
    assert len(shown(installation, sampled)) == 8
    assert sum(row["cluster"] == row["from_cluster"] for row in rows) >= 7
    assert all(row["distance"] < 0.7 for row in rows), "encoded again, each image is near the intended scores"


class InThreeSteps(PixelSpace):
    def decode(self, vectors: Tensor, *, seeds: Sequence[int], on_step: OnStep = lambda: None) -> Tensor:
        for _ in range(3):
            on_step()
        return super().decode(vectors, seeds=seeds)


def test_each_step_of_a_decoder_is_reported_and_may_stop() -> None:
    done: list[int] = []
    vectors = np.full((BATCH + 2, 16), 0.5, np.float32)
    LoadedSpace(InThreeSteps(4, 1), None).decode(vectors, range(len(vectors)), done.append)
    assert done == [0, 0, 0, BATCH, BATCH, BATCH, BATCH, BATCH + 2]

    def cancel(done: int) -> None:
        raise CanceledError

    with pytest.raises(CanceledError):
        LoadedSpace(InThreeSteps(4, 1), None).decode(vectors, range(len(vectors)), cancel)


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


def test_an_unfamiliar_start_is_a_warning(installation: Installation, smileys: Record) -> None:
    noise = uploaded(installation, np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    record = steer(installation, smileys, start=noise, components=[{"component": 0, "strengths": [1]}])
    [warning] = record.metrics["warnings"]
    assert (warning["code"], warning["message"].partition(":")[0]) == ("image_unlike_training", "start")
