"""The real worker with one more kind, `probe`: a job that takes steps, logs its runs, and dies where a test asks.

steps, step_s   how many steps it takes, and how long each
die_at          receipt | claim | run | artifact | state: the worker process ends there, at once (os._exit)
die_times       how often, for this job
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from celery.signals import task_prerun

from jobs.objects import Objects
from jobs.settings import get_settings
from jobs.store.jobs import JobStore
from jobs.store.records import Record
from tests.integration.probe import Probe
from worker import app as worker_app
from worker.run import JobResult, OutputImage, Task
from worker.runners import BATCH_RUNNERS

app = worker_app.app
FOLDER = get_settings().data_dir
current: Record | None = None


def run_probe(task: Task[Probe]) -> JobResult:
    """Takes the steps and returns an image that depends on the seed alone."""
    assert task.files is not None
    with (FOLDER / "runs.log").open("a") as runs:
        runs.write(f"{task.files.job_id} {os.getpid()}\n")
    _maybe_die("run", task.files.job_id, task.params.model_dump())
    for step in range(1, task.params.steps + 1):
        time.sleep(task.params.step_s)
        task.report_progress(step, task.params.steps, "probing", lambda step=step: _image(step))
    return JobResult([OutputImage(_image(task.seed))], {}, {}, {})


def _image(seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def run_probes(tasks: Sequence[Task[Probe]]) -> list[JobResult]:
    """Runs a batch of probes one after another; if one dies, all do."""
    if len(tasks) > 1:
        with (FOLDER / "batches.log").open("a") as batches:
            batches.write(f"{len(tasks)}\n")
    return [run_probe(task) for task in tasks]


def _maybe_die(where: str, job_id: str, params: dict[str, Any]) -> None:
    if params.get("die_at") != where:
        return
    for time_ in range(params.get("die_times", 1)):
        marker = Path(FOLDER / f"died-{job_id}-{time_}")
        if not marker.exists():
            marker.touch()
            os._exit(9)


@task_prerun.connect
def _after_receipt(args: list[str], **_: Any) -> None:
    jobs, _objects, _previews = worker_app.open_stores()
    for job_id in args:
        _maybe_die("receipt", job_id, jobs.get(job_id).params)


_claim, _put, _finish = JobStore.claim, Objects.put, JobStore.finish


def _claim_then_die(self: JobStore, *arguments: Any, **named: Any) -> list[Record]:
    global current
    records = _claim(self, *arguments, **named)
    for record in records:
        current = record
        _maybe_die("claim", record.id, record.params)
    return records


def _put_then_die(self: Objects, data: bytes, content_type: str, *, holder: str = "hold") -> str:
    sha = _put(self, data, content_type, holder=holder)
    if current and content_type == "image/png":
        _maybe_die("artifact", current.id, current.params)
    return sha


def _finish_then_die(self: JobStore, *arguments: Any, **named: Any) -> str:
    ended = _finish(self, *arguments, **named)
    if current:
        _maybe_die("state", current.id, current.params)
    return ended


JobStore.claim = _claim_then_die  # type: ignore[method-assign]
Objects.put = _put_then_die  # type: ignore[method-assign]
JobStore.finish = _finish_then_die  # type: ignore[method-assign]
BATCH_RUNNERS[Probe] = run_probes
