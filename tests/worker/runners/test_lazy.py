"""The runners that are named before they are imported: each exists, and every class of requests has one."""

import gc
from importlib import import_module
from inspect import getclosurevars
from typing import Any

import pytest

from jobs.requests.base import request_classes
from jobs.requests.kinds import KINDS
from worker.runners import BATCH_RUNNERS, RUNNERS
from worker.runners.lazy import lazy


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "test"])
def test_every_class_has_one_runner(kind: str) -> None:
    found = set(request_classes(KINDS[kind]))
    assert found and all((each in RUNNERS) != (each in BATCH_RUNNERS) for each in found)


@pytest.mark.parametrize("runner", {**RUNNERS, **BATCH_RUNNERS}.values(), ids=lambda runner: "runner")
def test_every_named_runner_exists(runner: Any) -> None:
    named = getclosurevars(runner).nonlocals
    assert callable(getattr(import_module(f"worker.runners.{named['module']}"), named["function"]))


def test_garbage_is_collected_again_after_an_import() -> None:
    runner = lazy("missing", "run")
    with pytest.raises(ModuleNotFoundError):
        runner()
    assert gc.isenabled()
