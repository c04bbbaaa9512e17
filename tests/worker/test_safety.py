"""Images of jobs with a policy of the safety filter are scored before they run, and before outputs are stored."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jobs.images import encode_image
from jobs.objects import Objects
from jobs.schemas import SafetyPolicy
from jobs.store.jobs import JobStore
from jobs.store.records import NewJob, Record
from models.catalogue import card
from models.fetch import fetch
from tests.jobs.conftest import with_settings
from tests.stack import ROOT, WEIGHTS
from tests.worker.tasks import run_job
from worker.run import JobResult, OutputImage, Pixels, Task, run_jobs

CAT = np.asarray(Image.open(ROOT / "examples" / "photos" / "chelsea.jpg").convert("RGB"))
BLACK = np.zeros((64, 64, 3), np.uint8)


@pytest.fixture(autouse=True)
def weights() -> None:
    fetch(card("open-nsfw"), WEIGHTS)


def at(jobs: JobStore, threshold: float, **changed: Any) -> JobStore:
    return with_settings(jobs, safety_threshold=threshold, **{"weights_dir": WEIGHTS, **changed})


def claimed(jobs: JobStore, *policies: SafetyPolicy) -> list[Record]:
    for policy in policies:
        params = {"seed": 5, "format": "png"}
        jobs.create(NewJob(kind="test", queue="fast", params=params, compat="a", safety=policy))
    return jobs.claim("fast", worker="test", limit=len(policies))


def ended(jobs: JobStore, objects: Objects, policy: SafetyPolicy, *images: OutputImage) -> Record:
    """A job with these outputs, which shows the first of them as a preview, at its end."""

    def runner(task: Task) -> JobResult:
        task.report_progress(1, 2, "working", lambda: images[0].pixels)
        return JobResult([*images], {}, {}, {})

    [record] = claimed(jobs, policy)
    run_job(jobs, objects, record, runner)
    return jobs.get(record.id)


def previewed(jobs: JobStore, job: Record) -> bool:
    events: Any = jobs.client.xrange(f"atelier:events:{job.id}")
    return any(fields["type"] == "preview" for _, fields in events)


def test_a_shipped_photo_passes(jobs: JobStore, objects: Objects, folder: Path) -> None:
    store = at(jobs, 0.8)
    assert ended(store, objects, "off", OutputImage(CAT)).metrics.keys() == {
        "queue_ms",
        "load_ms",
        "run_ms",
        "warnings",
    }
    flagged = ended(store, objects, "flag", OutputImage(CAT), OutputImage(BLACK))
    report = flagged.metrics["safety"]
    assert (report["model"], report["threshold"]) == ("open-nsfw", 0.8)
    assert [(each["index"], each["flagged"]) for each in report["outputs"]] == [(0, False), (1, False)]
    assert 0 < report["outputs"][0]["score"] < 0.2
    refusing = ended(store, objects, "refuse", OutputImage(CAT))
    assert refusing.status == "succeeded" and previewed(store, refusing)


def test_above_the_threshold_an_output_is_flagged_or_its_job_is_refused(
    jobs: JobStore, objects: Objects, folder: Path
) -> None:
    store = at(jobs, 1e-4)
    flagged = ended(store, objects, "flag", OutputImage(CAT))
    assert flagged.status == "succeeded" and flagged.metrics["safety"]["outputs"][0]["flagged"] is True
    assert previewed(store, flagged)
    before = set(folder.iterdir())
    refused = ended(store, objects, "refuse", OutputImage(CAT))
    assert refused.status == "failed" and refused.error and not refused.outputs
    assert refused.error["code"] == "output_refused"
    score = flagged.metrics["safety"]["outputs"][0]["score"]
    assert refused.error["details"] == {"index": 0, "score": score, "threshold": 1e-4}
    assert set(folder.iterdir()) == before and not previewed(store, refused)


def test_images_of_a_request_are_scored_before_the_job_runs(jobs: JobStore, objects: Objects) -> None:
    """Its masks are not; the others of a batch run."""
    image = f"img_{objects.put(encode_image(CAT, 'png', {}), 'image/png')}"
    params = {"method": "gatys", "content": image, "style": [{"image": image, "mask": image}], "seed": 5}
    store = at(jobs, 1e-4)
    ran: list[Task] = []

    def runner(tasks: Sequence[Task]) -> list[JobResult]:
        ran.extend(tasks)
        return [JobResult([], {}, {}, {}) for _ in tasks]

    policies: list[SafetyPolicy] = ["refuse", "flag", "off"]
    for policy in policies:
        store.create(NewJob(kind="style-transfer", queue="gpu", params=params, compat="a", safety=policy))
    records = store.claim("gpu", worker="test", limit=3)
    run_jobs(store, objects, objects, records, runner)
    ended_by = {record.safety: store.get(record.id) for record in records}
    refused, flagged, ignored = (ended_by[policy] for policy in policies)
    assert len(ran) == 2 and "safety" not in ignored.metrics
    first, second = flagged.metrics["safety"]["inputs"]
    assert (first["field"], second["field"], first["flagged"]) == ("content", "style.0.image", True)
    assert refused.error and refused.error["code"] == "input_refused" and refused.status == "failed"
    assert refused.error["details"] == {"field": "content", "score": first["score"], "threshold": 1e-4}


def test_each_job_of_a_batch_is_judged_by_its_own_policy(jobs: JobStore, objects: Objects) -> None:
    store = at(jobs, 1e-4)
    records = claimed(store, "refuse", "off", "flag")
    assert len(records) == 3
    run_jobs(store, objects, objects, records, lambda tasks: [JobResult([OutputImage(CAT)], {}, {}, {}) for _ in tasks])
    states = {record.safety: store.get(record.id).status for record in records}
    assert states == {"refuse": "failed", "off": "succeeded", "flag": "succeeded"}


def test_every_frame_of_an_animation_counts(jobs: JobStore, objects: Objects) -> None:
    def film(*frames: Pixels) -> OutputImage:
        return OutputImage(frames[0], "animation", film=lambda frames, recipe: b"film", frames=np.stack(frames))

    store, small = at(jobs, 0.8), np.asarray(Image.fromarray(CAT).resize((64, 64)))
    scores = []
    for frames in ((BLACK,), (small,), (BLACK, small)):
        params = {"seed": 5, "format": "webp"}
        store.create(NewJob(kind="test", queue="fast", params=params, safety="flag"))
        [record] = store.claim("fast", worker="test")
        run_job(store, objects, record, lambda task: JobResult([film(*frames)], {}, {}, {}))  # noqa: B023
        scores.append(store.get(record.id).metrics["safety"]["outputs"][0]["score"])
    assert scores[2] == max(scores[:2]) and scores[0] != scores[1]


def test_without_the_weights_a_job_that_asks_for_them_fails_before_it_runs(
    jobs: JobStore, objects: Objects, tmp_path: Path
) -> None:
    store, ran = at(jobs, 0.8, weights_dir=tmp_path), []

    def runner(task: Task) -> JobResult:
        ran.append(task)
        return JobResult([], {}, {}, {})

    for policy in ("flag", "refuse", "off"):
        [record] = claimed(store, policy)
        run_job(store, objects, record, runner)
        error = store.get(record.id).error
        if policy == "off":
            assert error is None and len(ran) == 1
        else:
            assert error and error["code"] == "weights_unavailable" and not ran
            assert "python -m models.fetch open-nsfw" in error["message"]
