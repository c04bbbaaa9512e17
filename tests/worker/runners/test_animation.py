"""Animations by the real runner, on a real Valkey, with shipped weights; the files are read again."""

from io import BytesIO
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence

from jobs.images import read_recipe
from jobs.objects import Objects
from jobs.requests.animation import Animation
from jobs.requests.collection import CollectionParams
from jobs.store.jobs import JobStore
from jobs.store.records import NewJob, Record
from jobs.store.registry import NEW
from models.data.smileys import smiley
from tests.worker.tasks import run_job

Installation = tuple[JobStore, Objects]
Pixels = np.ndarray[Any, Any]
COLLECTION: dict[str, Any] = {
    **{"name": "Smileys", "space": "vae-smileys", "data": "smileys", "limit": 40, "n_components": 6, "seed": 1},
    "clusterings": [{"method": "kmeans", "n_clusters": 2}, {"method": "mixture", "n_components": 2}],
}


@pytest.fixture(scope="module")
def installation(valkey: Any) -> Installation:
    valkey.redis.flushall()
    return valkey.jobs, Objects(valkey.settings, valkey.jobs, retry_s=1)


@pytest.fixture(scope="module")
def collection(installation: Installation) -> str:
    params = CollectionParams(**COLLECTION).fitted().model_dump(mode="json")
    record = work(installation, "collect", kind="collection", params=params, collection=NEW)
    assert record.status == "succeeded", record.error
    return str(record.metrics["collection"])


def work(installation: Installation, queue: str, **job: Any) -> Record:
    jobs, objects = installation
    jobs.create(NewJob(queue=queue, **job))
    [record] = jobs.claim(queue, worker="test")
    run_job(jobs, objects, record)
    return jobs.get(record.id)


def animate(installation: Installation, collection: str, **asked: Any) -> Record:
    figures = installation[0].collections.get(collection).versions[0].figures
    params = Animation.model_validate({"collection": collection, "version": 1, "seed": 5, **asked}).fitted(figures)
    return work(installation, "gpu", kind="pc-animation", params=params.model_dump(mode="json"))


def uploaded(installation: Installation, index: int) -> str:
    jobs, objects = installation
    file = BytesIO()
    Image.fromarray(smiley(9, index)[0]).save(file, "PNG")
    sha = objects.put(file.getvalue(), "image/png")
    jobs.images.put(sha, {})
    return f"img_{sha}"


def film_of(installation: Installation, record: Record) -> tuple[bytes, Pixels, list[int]]:
    """The file of a WebP or GIF, its frames, and the milliseconds of each."""
    assert record.status == "succeeded", record.error
    data = installation[1].get(record.outputs[0]["sha256"])
    with Image.open(BytesIO(data)) as image:
        each = [(np.asarray(frame.convert("RGB")), frame.info["duration"]) for frame in ImageSequence.Iterator(image)]
    return data, np.stack([frame for frame, _ in each]), [int(duration) for _, duration in each]


def changes(frames: Pixels) -> Pixels:
    """How much each frame differs from the one before, the first from the last."""
    return np.asarray(np.abs(frames.astype(int) - np.roll(frames, 1, axis=0)).mean((1, 2, 3)))


def test_a_component_goes_out_and_back_without_a_jump(installation: Installation, collection: str) -> None:
    path = {"component": 0, "strengths": [-2, 2]}
    record = animate(installation, collection, path=path, n_frames=20, fps=10)
    data, frames, durations = film_of(installation, record)
    film, grid = record.outputs
    assert (film["role"], film["content_type"], grid["role"], grid["content_type"]) == (
        *("animation", "image/webp"),
        *("grid", "image/png"),
    )
    assert frames.shape == (20, film["height"], film["width"], 3) and durations == [100] * 20
    assert (record.metrics["n_frames"], record.metrics["duration_s"]) == (20, 2.0)
    assert record.metrics["largest_step"] == pytest.approx(record.metrics["mean_step"], rel=1e-3), "all are even"
    assert changes(frames)[0] <= 1.3 * changes(frames)[1:].max(), "the step back to the first frame"
    assert np.abs(frames[4].astype(int) - frames[16]).mean() < 2, "the way back shows the same images"
    assert np.abs(frames[0].astype(int) - frames[10]).mean() > 4 * changes(frames).mean(), "it shows something"
    recipe = read_recipe(data) or {}
    assert recipe["params"]["path"]["strengths"] == [-2, 2] and {collection, "vae-smileys"} <= recipe["models"].keys()
    checked = record.metrics["frames"]
    assert [each["frame"] for each in checked] == sorted({round(k) for k in np.linspace(0, 19, 12)})
    assert all(0 <= each["distance"] < 1 and each["cluster"] in (0, 1) for each in checked)


def test_frames_far_from_all_members_are_a_warning(installation: Installation, collection: str) -> None:
    near, far = (
        animate(installation, collection, path={"component": 0, "strengths": [0, strength]}, n_frames=4)
        for strength in (0.5, 9)
    )
    assert near.metrics["warnings"] == []
    assert [each["code"] for each in far.metrics["warnings"]] == ["far_from_members"]
    assert [each["target_density"] > 0 for each in far.metrics["frames"]] == [True, False, False, False]


def test_two_images_become_a_film_from_one_to_the_other(installation: Installation, collection: str) -> None:
    first, last = (uploaded(installation, index) for index in (0, 3))
    record = animate(
        installation, collection, path={"through": [first, last]}, n_frames=9, fps=15, loop=False, format="mp4"
    )
    assert record.status == "succeeded", record.error
    assert record.outputs[0]["content_type"] == "video/mp4" and record.outputs[1]["content_type"] == "image/png"
    with av.open(BytesIO(installation[1].get(record.outputs[0]["sha256"])), "r") as container:
        assert container.streams.video[0].average_rate == 15
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert len(frames) == 9
    steps = changes(frames)
    assert steps[0] > steps[1:].max(), "it does not return"
    assert np.abs(frames[0].astype(int) - frames[8]).mean() > np.abs(frames[0].astype(int) - frames[4]).mean()


def test_a_circle_of_several_and_a_tour_of_a_cluster_are_closed(installation: Installation, collection: str) -> None:
    points = [uploaded(installation, 1), {"cluster": 0}, uploaded(installation, 2), "mean"]
    for path in ({"through": points}, {"cluster": 1, "clustering": "mixture", "n": 5, "temperature": 0.7}):
        record = animate(installation, collection, path=path, n_frames=40, fps=20, format="gif")
        data, frames, durations = film_of(installation, record)
        assert len(frames) == 40 and sum(durations) == 2000 and Image.open(BytesIO(data)).info["loop"] == 0
        assert changes(frames)[0] <= 1.2 * changes(frames)[1:].max(), "no jump at the loop"
        assert record.metrics["largest_step"] < 1.1 * record.metrics["mean_step"]
    assert record.metrics["clustering"] == "mixture"
    inside = [each["cluster"] == 1 for each in record.metrics["frames"]]
    assert sum(inside) > len(inside) / 2, "it stays around the cluster, in whose space its frames are encoded again"


def test_a_path_without_length_fails_by_name(installation: Installation, collection: str) -> None:
    record = animate(installation, collection, path={"through": ["mean", "mean"]})
    assert (record.status, (record.error or {})["code"]) == ("failed", "path_without_length")
