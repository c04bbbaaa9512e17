import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jobs.errors import AtelierError
from jobs.images import read_recipe
from jobs.objects import Objects
from jobs.store.jobs import JobStore
from jobs.store.records import NewJob, Record
from models.pixels import to_bytes
from tests.worker.tasks import run_job
from worker.run import JobResult, OutputImage, Runner, Task, run_jobs

PIXELS = np.arange(16 * 20 * 3, dtype=np.uint8).reshape(16, 20, 3)


def finished(jobs: JobStore, objects: Objects, record: Record, runner: Runner) -> Record:
    run_job(jobs, objects, record, runner)
    return jobs.get(record.id)


def raising(error: Exception) -> Runner:
    def runner(task: Task) -> JobResult:
        raise error

    return runner


def test_the_image_is_stored_with_its_recipe(jobs: JobStore, objects: Objects, record: Record) -> None:
    def runner(task: Task) -> JobResult:
        with task.loading():
            time.sleep(0.3)
        task.notes["device"] = "cpu"
        return JobResult([OutputImage(PIXELS)], {"vgg16": "abc"}, {"torch": "2"}, {"loss": 1.5})

    ended = finished(jobs, objects, record, runner)
    assert ended.status == "succeeded"
    data = objects.get(ended.outputs[0]["sha256"])
    assert np.array_equal(np.asarray(Image.open(BytesIO(data))), PIXELS)
    assert read_recipe(data) == {
        "kind": "test", "params": {"seed": 5, "format": "png"}, "index": 0,
        "models": {"vgg16": "abc"}, "versions": {"torch": "2"},
    }  # fmt: skip
    expected = {"index": 0, "content_type": "image/png", "width": 20, "height": 16, "seed": 5, "size_bytes": len(data)}
    assert expected.items() <= ended.outputs[0].items()
    assert ended.metrics["loss"] == 1.5 and ended.metrics["device"] == "cpu"
    assert ended.metrics["load_ms"] >= 300 > ended.metrics["run_ms"]


def test_warnings_are_listed_in_the_metrics(jobs: JobStore, objects: Objects, record: Record) -> None:
    def runner(task: Task) -> JobResult:
        task.warn("unknown_words", "The model does not know 'cat'.")
        return JobResult([OutputImage(PIXELS)], {}, {}, {})

    ended = finished(jobs, objects, record, runner)
    assert ended.metrics["warnings"] == [{"code": "unknown_words", "message": "The model does not know 'cat'."}]


def test_the_same_job_gives_the_same_bytes(jobs: JobStore, objects: Objects) -> None:
    made = []
    for _ in range(2):
        jobs.create(NewJob(kind="test", queue="fast", params={"seed": 5, "format": "webp"}))
        record = jobs.claim("fast", worker="test")[0]
        ended = finished(jobs, objects, record, lambda task: JobResult([OutputImage(PIXELS)], {}, {}, {}))
        made.append(ended.outputs[0]["sha256"])
    assert made[0] == made[1]


def test_a_known_error_is_returned_to_the_user(jobs: JobStore, objects: Objects, record: Record) -> None:
    ended = finished(jobs, objects, record, raising(AtelierError("diverged", "The loss is infinite.", step=3)))
    assert ended.status == "failed"
    assert ended.error == {"code": "diverged", "message": "The loss is infinite.", "details": {"step": 3}}


def test_an_image_that_is_not_finite_fails_its_job(jobs: JobStore, objects: Objects, record: Record) -> None:
    def runner(task: Task) -> JobResult:
        return JobResult([OutputImage(to_bytes(np.full((16, 16, 3), np.nan, np.float32)))], {}, {}, {})

    ended = finished(jobs, objects, record, runner)
    assert ended.status == "failed" and not ended.outputs
    assert ended.error is not None and ended.error["code"] == "not_finite"


def test_a_damaged_image_fails_the_job_with_its_code(
    jobs: JobStore, objects: Objects, record: Record, folder: Path
) -> None:
    file = BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    sha = objects.put(file.getvalue(), "image/png")
    (folder / sha).write_bytes(file.getvalue()[:-20])

    def runner(task: Task) -> JobResult:
        return JobResult([OutputImage(task.read_image(f"img_{sha}"))], {}, {}, {})

    ended = finished(jobs, objects, record, runner)
    assert ended.status == "failed" and ended.error is not None
    assert (ended.error["code"], ended.error["details"]) == ("object_damaged", {"sha256": sha})


def test_figures_that_are_not_finite_are_null(jobs: JobStore, objects: Objects, record: Record) -> None:
    figures = {"loss": float("nan"), "parts": [{"a": 1.5}, {"a": float("-inf")}], "n": 2, "which": "nan"}
    ended = finished(jobs, objects, record, lambda task: JobResult([OutputImage(PIXELS)], {}, {}, figures))
    expected = {"loss": None, "parts": [{"a": 1.5}, {"a": None}], "n": 2, "which": "nan"}
    assert ended.status == "succeeded" and expected.items() <= ended.metrics.items()


def test_an_unexpected_error_reveals_nothing_of_the_machine(jobs: JobStore, objects: Objects, record: Record) -> None:
    ended = finished(jobs, objects, record, raising(RuntimeError("/secret/path")))
    assert ended.error is not None and ended.error["code"] == "internal"
    print(f"S6: runner: {ended.error['message']}")
    assert "secret" not in str(ended)


def test_a_batch_that_fails_is_run_one_by_one(jobs: JobStore, objects: Objects) -> None:
    """An error that the runner raises for one job ends only that job."""
    for seed in range(4):
        jobs.create(NewJob(kind="test", queue="fast", params={"seed": seed, "format": "png"}, compat="a"))
    records = jobs.claim("fast", worker="test", limit=4)
    sizes = []

    def runner(tasks: Sequence[Task]) -> list[JobResult | Exception]:
        sizes.append(len(tasks))
        for task in tasks:
            task.warn("seen", "This task was looked at.")
        if any(task.seed == 2 for task in tasks):
            raise AtelierError("out_of_memory", "Too much.")
        return [JobResult([OutputImage(PIXELS)], {}, {}, {}) for _ in tasks]

    run_jobs(jobs, objects, objects, records, runner)
    ended = [jobs.get(record.id) for record in records]
    assert sizes == [4, 1, 1, 1, 1]
    assert [(job.params["seed"], job.status) for job in sorted(ended, key=lambda job: job.params["seed"])] == [
        (0, "succeeded"), (1, "succeeded"), (2, "failed"), (3, "succeeded")
    ]  # fmt: skip
    assert all(len(job.metrics["warnings"]) == 1 for job in ended), "those of the first run are removed"


def test_a_canceled_job_stores_nothing(jobs: JobStore, objects: Objects, record: Record, folder: Path) -> None:
    before = set(folder.iterdir())

    def runner(task: Task) -> JobResult:
        jobs.cancel(record.id)
        task.report_progress(1, 2, "working")
        return JobResult([OutputImage(PIXELS + 1)], {}, {}, {})

    ended = finished(jobs, objects, record, runner)
    assert ended.status == "canceled" and not ended.outputs
    assert set(folder.iterdir()) == before


def test_a_cancel_after_the_last_step_wins(jobs: JobStore, objects: Objects, record: Record) -> None:
    def runner(task: Task) -> JobResult:
        jobs.cancel(record.id)
        return JobResult([OutputImage(PIXELS)], {}, {}, {})

    ended = finished(jobs, objects, record, runner)
    assert ended.status == "canceled" and not ended.outputs


def test_unavailable_storage_fails_the_job(valkey: Any, jobs: JobStore, record: Record) -> None:
    away = valkey.settings.model_copy(update={"storage_url": "s3://atelier", "storage_endpoint": "http://127.0.0.1:9"})
    result = JobResult([OutputImage(PIXELS)], {}, {}, {})
    ended = finished(jobs, Objects(away, jobs, retry_s=0.5), record, lambda task: result)
    assert ended.status == "failed"
    assert ended.error is not None and ended.error["code"] == "storage_unavailable"
    assert jobs.stats.read()["storage_errors", "put"] == 1


def test_a_job_whose_params_cannot_be_read_fails_and_the_others_of_its_batch_run(
    jobs: JobStore, objects: Objects, caplog: pytest.LogCaptureFixture
) -> None:
    for params in ({"seed": 1, "format": "png"}, {"seed": "one"}):
        jobs.create(NewJob(kind="test", queue="fast", params=params, compat="a"))
    records = jobs.claim("fast", worker="test", limit=2)
    run_jobs(jobs, objects, objects, records, lambda tasks: [JobResult([], {}, {}, {}) for _ in tasks])
    ended = [jobs.get(record.id) for record in records]  # created in one millisecond, they come in any order
    read, unreadable = sorted(ended, key=lambda job: job.params["seed"] == "one")
    assert read.status == "succeeded"
    assert unreadable.status == "failed" and unreadable.error and unreadable.error["code"] == "internal"
    assert "ValidationError ['seed']" in caplog.text and "one" not in caplog.text, "the value may be a prompt"
