"""Names runners without importing them: most load torch, which must not be loaded before a worker process forks."""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def lazy(module: str, function: str) -> Callable[..., Any]:
    """A function of a module of this package, imported at its first call."""

    def run(*args: Any) -> Any:
        return getattr(import_module(f"worker.runners.{module}"), function)(*args)

    return run
