"""Runs single tasks and single jobs."""

from typing import Any

from jobs.objects import Objects
from jobs.settings import get_settings
from jobs.store.jobs import JobStore
from jobs.store.records import Record
from worker import runners
from worker.run import JobResult, Runner, Task, run_jobs
from worker.runners import loaded


def forget() -> None:
    """Reads the settings again and evicts all models."""
    get_settings.cache_clear()
    loaded.evict_all()


def run_alone(task: Task[Any]) -> JobResult:
    """The result of a task by the runner of its class; raises its error."""
    (result,) = runners.run([task])
    if isinstance(result, Exception):
        raise result
    return result


def run_job(jobs: JobStore, objects: Objects, record: Record, runner: Runner = run_alone) -> None:
    """Runs a claimed job to a terminal state."""
    run_jobs(jobs, objects, objects, [record], lambda tasks: [runner(tasks[0])])
