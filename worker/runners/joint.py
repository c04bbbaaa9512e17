"""Compatible jobs that run as one batch: each has its own progress and previews, and may end before the others."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from jobs.errors import AtelierError
from models.errors import NotFiniteError
from worker.lease import CanceledError, LeaseLostError
from worker.run import JobResult, P, Pixels, Task

T = TypeVar("T")
OWN_ERRORS = (CanceledError, LeaseLostError, AtelierError, NotFiniteError)  # which end one job, not its batch


class AllEndedError(Exception):
    """Every job of a batch has ended."""


class Joint(Generic[P]):
    """The tasks of a batch; `errors` has what ended a task before the others, by its place."""

    def __init__(self, tasks: Sequence[Task[P]]) -> None:
        self.tasks = tasks
        self.errors: dict[int, Exception] = {}

    def each(self, prepare: Callable[[Task[P]], T]) -> list[tuple[int, T]]:
        """The place of each task that goes on, and what `prepare` returns for it; its error ends that task alone."""
        made = []
        for place, task in enumerate(self.tasks):
            try:
                made.append((place, prepare(task)))
            except OWN_ERRORS as error:
                self.errors[place] = error
        return made

    def report_progress(
        self, step: int, total: int, message: str, preview: Callable[[int], Pixels] | None = None
    ) -> None:
        """Reports a step to each task that goes on; `preview` makes the image of the task at a place.

        Raises AllEndedError.
        """
        for place, task in enumerate(self.tasks):
            if place not in self.errors:
                image = (lambda place=place: preview(place)) if preview else None
                try:
                    task.report_progress(step, total, message, image)
                except OWN_ERRORS as error:
                    self.errors[place] = error
        if len(self.errors) == len(self.tasks):
            raise AllEndedError

    def results(self, run: Callable[[], dict[int, JobResult]]) -> list[JobResult | Exception]:
        """The result or the error of each task; `run` returns the results by place."""
        try:
            made = run()
        except AllEndedError:
            made = {}
        return [self.errors.get(place) or made[place] for place in range(len(self.tasks))]


def shares(rows: Any, counts: Sequence[int]) -> Iterator[Any]:
    """The rows of each task, of which task k has `counts[k]`: slices of a sequence or an array."""
    start = 0
    for count in counts:
        yield rows[start : start + count]
        start += count


def noting(tasks: Sequence[Task[Any]], **notes: Any) -> None:
    """Adds notes to each task, and the time that the first one spent on loading."""
    for task in tasks:
        task.notes |= notes
        task.load_ms = tasks[0].load_ms
