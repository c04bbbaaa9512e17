"""The processes of the benchmarks: the real API and worker with a kind without work, and a bare Celery task."""

import time
from typing import Annotated, ClassVar

from celery import Task
from fastapi import Body, Response
from pydantic import Field
from redis import Redis

from api.main import app as api_app
from api.submit import SubmissionDep, submit
from jobs.queue import make_celery
from jobs.requests.base import Request
from jobs.requests.kinds import KINDS
from jobs.settings import get_settings
from worker.app import app
from worker.run import JobResult
from worker.run import Task as JobTask
from worker.runners import RUNNERS

__all__ = ["api_app", "app", "raw"]


class Noop(Request):
    """A request that occupies a worker for a time without work."""

    kind: ClassVar[str] = "noop"
    seconds: Annotated[float, Field(ge=0)] = 0

    @property
    def queue(self) -> str:
        """The queue of the measured worker."""
        return "fast"


def run_noop(task: JobTask[Noop]) -> JobResult:
    """Waits and returns nothing."""
    time.sleep(task.params.seconds)
    return JobResult([], {}, {}, {})


KINDS["noop"] = Noop
RUNNERS[Noop] = run_noop


@api_app.post("/v1/noops", status_code=202)
async def create_noop(params: Annotated[Noop, Body()], submission: SubmissionDep) -> Response:
    """Queues a job that does nothing."""
    return await submit(submission, params)


raw = make_celery(get_settings())
_replies: Redis = Redis.from_url(get_settings().redis_url)


@raw.task(name="bench.echo", bind=True)
def echo(self: Task, number: int) -> None:
    """Reports that the message arrived."""
    _replies.rpush("bench:replies", number)
