"""The runners that are named before they are imported: each exists, and every class of requests has one."""

from collections.abc import Iterator
from importlib import import_module
from inspect import getclosurevars
from typing import Any, get_args

import pytest

from jobs.requests.base import Request
from jobs.requests.kinds import KINDS
from worker.runners import BATCH_RUNNERS, RUNNERS


def classes(union: Any) -> Iterator[type[Request]]:
    """The classes of requests in a union, or the one class."""
    if isinstance(union, type) and issubclass(union, Request):
        yield union
    for part in get_args(getattr(union, "__value__", union)):
        yield from classes(part)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "test"])
def test_every_class_has_one_runner(kind: str) -> None:
    found = set(classes(KINDS[kind]))
    assert found and all((each in RUNNERS) != (each in BATCH_RUNNERS) for each in found)


@pytest.mark.parametrize("runner", {**RUNNERS, **BATCH_RUNNERS}.values(), ids=lambda runner: "runner")
def test_every_named_runner_exists(runner: Any) -> None:
    named = getclosurevars(runner).nonlocals
    assert callable(getattr(import_module(f"worker.runners.{named['module']}"), named["function"]))
