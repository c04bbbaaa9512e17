"""Loads a model into the cache of this process before a job needs it."""

from functools import partial
from typing import Any

from jobs.objects import Objects
from jobs.requests.base import Request
from jobs.settings import get_settings
from jobs.store.jobs import JobStore
from models.stylize.fast import load_arbitrary, load_multistyle
from worker.files import find_model
from worker.run import Task
from worker.runners.lazy import lazy
from worker.runners.loaded import loaded_model

FAST: dict[str, Any] = {"fast-multistyle": load_multistyle, "fast-arbitrary": load_arbitrary}  # without torch


def load(jobs: JobStore, objects: Objects, model_id: str) -> None:
    """Loads a model as its runner does, which then finds it; raises what the runner would raise."""
    nothing: Any = None  # loading reads no other field of a task
    task = Task(Request(), lambda *_, **__: None, nothing, partial(find_model, jobs, objects), nothing)
    card = task.find_model(model_id)
    if model_id in FAST:
        loaded_model(task, card, partial(FAST[model_id], get_settings().weights_dir))
    else:
        lazy("network", "load_card")(task, card)
