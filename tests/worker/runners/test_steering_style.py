"""Steerings and samplings in the space of styles by the real runners, with the networks of `fast`."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jobs.images import read_recipe
from jobs.objects import Objects
from jobs.requests.collection import CollectionParams
from jobs.requests.steering import ClusterSampling, Steering
from jobs.settings import get_settings
from jobs.store.jobs import JobStore
from jobs.store.records import NewJob, Record
from jobs.store.registry import NEW
from models.data.painting import FAMILIES
from models.data.styles import styles
from models.space.style import MIN_CONTENT_KEPT, default_photo
from models.stylize.fast import load_arbitrary, stylize_images
from tests.worker.tasks import run_job
from worker.runners import steering
from worker.runners.images import fit, floats

Installation = tuple[JobStore, Objects]
Pixels = np.ndarray[Any, Any]
COLLECTION: dict[str, Any] = {
    **{"name": "Styles", "space": "style", "data": "smileys", "limit": 24, "n_components": 2, "seed": 1},
    "clusterings": [{"method": "kmeans", "n_clusters": 2}],
}


@pytest.fixture(scope="module")
def installation(valkey: Any) -> Installation:
    valkey.redis.flushall()
    return valkey.jobs, Objects(valkey.settings, valkey.jobs, retry_s=1)


@pytest.fixture(scope="module")
def collection(installation: Installation) -> Record:
    params = CollectionParams(**COLLECTION).fitted().model_dump(mode="json")
    return work(installation, "collect", kind="collection", params=params, collection=NEW)


def work(installation: Installation, queue: str, **job: Any) -> Record:
    jobs, objects = installation
    jobs.create(NewJob(queue=queue, **job))
    [record] = jobs.claim(queue, worker="test")
    run_job(jobs, objects, record)
    ended = jobs.get(record.id)
    assert ended.status == "succeeded", ended.error
    return ended


def run(installation: Installation, collection: Record, request: type[Steering | ClusterSampling], **asked: Any) -> Any:
    """The job, its images and its grid."""
    name = collection.metrics["collection"]
    figures = installation[0].collections.get(name).versions[0].figures
    params = request(collection=name, version=1, seed=5, **asked).fitted(figures)
    kind: Any = request.kind
    job = work(installation, "gpu", kind=kind, params=params.model_dump(mode="json"))
    shown = [np.asarray(Image.open(BytesIO(installation[1].get(each["sha256"])))) for each in job.outputs]
    return job, shown[:-1], shown[-1]


def uploaded(installation: Installation, pixels: Pixels) -> str:
    jobs, objects = installation
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    sha = objects.put(file.getvalue(), "image/png")
    jobs.images.put(sha, {})
    return f"img_{sha}"


def test_a_collection_of_styles_names_its_model_and_keeps_the_scale(collection: Record) -> None:
    figures = collection.metrics["figures"]
    assert (figures["dim"], list(figures["models"])) == (100, ["fast-arbitrary"])
    assert collection.metrics["device"] in ("cpu", "cuda") and collection.metrics["warnings"] == []
    assert collection.params["standardize"] is False


def test_a_content_in_its_own_style_is_what_fast_makes_of_it(installation: Installation, collection: Record) -> None:
    photo = default_photo()[:, :200]
    content = uploaded(installation, photo)
    direction = [{"attribute": "smiling", "strengths": [0, 2]}]
    job, images, _ = run(
        installation, collection, Steering, start="photo", content=content, size=120, components=direction
    )
    net, small = load_arbitrary(get_settings().weights_dir), floats(fit(photo, 120))
    own = stylize_images(net, small, [(small, 1.0)])
    assert images[0].shape == (120, 80, 3) == small.shape
    # A byte is half a step of 255 at most; the vector went through the components' arithmetic in float32.
    assert np.abs(images[0] / 255 - own).max() < 0.01 < np.abs(images[1] / 255 - own).max()
    assert {"distance", "cluster", "density", "strength"} <= job.metrics["pictures"][0].keys()
    recipe = read_recipe(installation[1].get(job.outputs[0]["sha256"])) or {}
    assert recipe["models"].keys() == {"fast-arbitrary", collection.metrics["collection"]}


def test_a_style_image_is_a_start_and_a_style_to_move_to(installation: Installation, collection: Record) -> None:
    style = uploaded(installation, default_photo()[:100, :100])
    asked: dict[str, Any] = {"size": 64, "style_from": style, "style_strengths": [0, 1]}
    _, from_mean, grid = run(installation, collection, Steering, **asked)
    _, from_style, _ = run(installation, collection, Steering, start=style, **asked)
    assert from_mean[0].shape == (43, 64, 3) and grid.shape[2] == 3, "the default photo"
    assert not np.array_equal(from_mean[0], from_mean[1])
    assert np.array_equal(from_style[0], from_style[1]), "it is there already"


def test_a_style_that_covers_the_photo_is_a_warning(installation: Installation, collection: Record) -> None:
    def steered(strength: float) -> Record:
        path = [{"component": 0, "strengths": [strength]}]
        job: Record = run(installation, collection, Steering, start="photo", size=128, components=path)[0]
        return job

    near, far = steered(0), steered(10)
    assert near.metrics["warnings"] == [] and near.metrics["pictures"][0]["style_error"] < 4
    assert far.metrics["pictures"][0]["style_error"] > 4
    codes = [each["code"] for each in far.metrics["warnings"] if each["code"] != "content_covered"]
    assert codes == ["style_out_of_reach", "far_from_members"]
    assert near.metrics["pictures"][0]["target_density"] > 0 == far.metrics["pictures"][0]["target_density"]
    assert far.metrics["warnings"][-1]["message"].startswith("1 of 1 images are decoded from points that are farther")


def test_strokes_that_cover_the_photo_are_a_warning_where_the_style_is_as_intended(
    installation: Installation, collection: Record
) -> None:
    engraving = styles(1, 0, start=list(FAMILIES).index("engraving"))
    engraved = uploaded(installation, engraving.images[0])
    path = [{"component": 0, "strengths": [0]}]
    kept = []
    for start in (engraved, "photo"):
        job, _, _ = run(installation, collection, Steering, start=start, size=192, components=path)
        kept.append(job.metrics["pictures"][0]["content_kept"])
        messages = [each["message"] for each in job.metrics["warnings"] if each["code"] == "content_covered"]
        assert messages == [] or messages[0].startswith(
            f"1 of 1 images keep as little as {kept[0]:.2f} of the structure"
        )
        assert bool(messages) == (start == engraved)
    assert kept[0] < MIN_CONTENT_KEPT < 2 * MIN_CONTENT_KEPT < kept[1]


def test_samples_of_each_cluster_paint_the_content(installation: Installation, collection: Record) -> None:
    job, images, sheet = run(installation, collection, ClusterSampling, n=2, size=96)
    assert [image.shape for image in images] == [(64, 96, 3)] * 4 and sheet.std() > 5
    assert [row["from_cluster"] for row in job.metrics["pictures"]] == [0, 0, 1, 1]


def test_samples_that_leave_their_cluster_are_drawn_again(
    installation: Installation, collection: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    gray = uploaded(installation, np.full((64, 64, 3), 128, np.uint8))
    asked: dict[str, Any] = {"n": 6, "size": 64, "content": gray, "temperature": 2.0}
    job, images, _ = run(installation, collection, ClusterSampling, **asked)
    monkeypatch.setattr(steering, "REDRAWS", 0)
    once, first, _ = run(installation, collection, ClusterSampling, **asked)
    rows, before = job.metrics["pictures"], once.metrics["pictures"]
    inside = [[row["cluster"] == row["from_cluster"] for row in each] for each in (rows, before)]
    assert sum(inside[0]) >= sum(inside[1]) < len(inside[1])
    for k, stayed in enumerate(inside[1]):
        assert np.array_equal(images[k], first[k]) == stayed, "only what left its cluster changes"
