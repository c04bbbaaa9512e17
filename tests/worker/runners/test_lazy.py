"""The runners that are named before they are imported: each exists, and every class of requests has one."""

from importlib import import_module
from inspect import getclosurevars
from typing import Any

import pytest

from jobs.requests.base import request_classes
from jobs.requests.kinds import KINDS
from worker.runners import BATCH_RUNNERS, RUNNERS


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "test"])
def test_every_class_has_one_runner(kind: str) -> None:
    found = set(request_classes(KINDS[kind]))
    assert found and all((each in RUNNERS) != (each in BATCH_RUNNERS) for each in found)


@pytest.mark.parametrize("runner", {**RUNNERS, **BATCH_RUNNERS}.values(), ids=lambda runner: "runner")
def test_every_named_runner_exists(runner: Any) -> None:
    named = getclosurevars(runner).nonlocals
    assert callable(getattr(import_module(f"worker.runners.{named['module']}"), named["function"]))
