"""Runs work on several images at once, a few ahead of the one whose result is needed."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from models.sessions import available_cores

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Future[Result]]]:
    """Yields each item in order and what `work` makes of it; a core works on each, and few of them are read ahead."""
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(available_cores()) as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) > 2 * available_cores():
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            for _, running in waiting:  # where the caller has stopped
                running.cancel()
