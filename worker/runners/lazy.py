"""Names runners without importing them: most load torch, which must not be loaded before a worker process forks."""

import gc
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any


def lazy(module: str, function: str) -> Callable[..., Any]:
    """A function of a module of this package, imported at its first call."""

    def run(*args: Any) -> Any:
        return getattr(_imported(f"worker.runners.{module}"), function)(*args)

    return run


def _imported(name: str) -> ModuleType:
    """Imports a module. Garbage collections, of which there is nothing to collect, would take a sixth of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        return import_module(name)
    finally:
        if collects:
            gc.enable()
