"""Runs style transfers: a function for each parameter class."""

from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter

from jobs.requests.style_diffusion import DiffusionTransfer
from jobs.requests.style_transfer import (
    FastTransfer,
    FeatureInversion,
    GatysTransfer,
    StyleTransfer,
    TextureSynthesis,
)
from worker.run import JobResult, Task
from worker.runners.lazy import lazy

_PARAMS: TypeAdapter[Any] = TypeAdapter(StyleTransfer)
_RUNNERS: dict[type, Callable[[Task, Any], JobResult]] = {
    FastTransfer: lazy("fast", "run_fast"),
    GatysTransfer: lazy("optimized", "run_transfer"),
    TextureSynthesis: lazy("optimized", "run_texture"),
    FeatureInversion: lazy("optimized", "run_inversion"),
    DiffusionTransfer: lazy("style_diffusion", "run_style_diffusion"),
}


def run_style_transfer(task: Task) -> JobResult:
    """The images of a request."""
    params = _PARAMS.validate_python(task.params)
    return _RUNNERS[type(params)](task, params)
