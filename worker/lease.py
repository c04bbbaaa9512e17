"""The lease of a claimed job: renews it, reports progress, and notices when the job must stop."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from redis import RedisError

from jobs.errors import AtelierError
from jobs.store.jobs import JobStore
from jobs.store.records import Record

log = logging.getLogger("atelier.worker")
PROGRESS_EVERY_S = 0.25
PREVIEW_EVERY_S = 1.0
stopping = threading.Event()  # set when this process received SIGTERM


class LeaseLostError(Exception):
    """The lease ran out, so the result of this attempt will be refused."""


class StoppingError(Exception):
    """This process is stopping: the job is requeued."""


class CanceledError(Exception):
    """The job was canceled."""


class Lease:
    """Renews the lease of a job until the `with` block ends, from a separate thread that torch does not block.

    `preview` stores an image and returns its sha256, or None on failure.
    """

    def __init__(self, jobs: JobStore, record: Record, preview: Callable[[Any], str | None]) -> None:
        self._jobs = jobs
        self._record = record
        self._preview = preview
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"lease-{record.id}", daemon=True)
        self._limit_s = jobs.settings.timeout_s(record.queue)
        self._deadline = time.monotonic() + self._limit_s
        self._next_progress = self._next_preview = 0.0
        self._preview_sha: str | None = None
        self._measured_from: tuple[int, float] | None = None  # step and time
        self.finishing = False  # the job must end after its current step and keep its results

    def __enter__(self) -> "Lease":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _renew(self) -> None:
        while not self._ended.wait(self._jobs.settings.lease_s / 3):
            try:
                if self._jobs.renew(self._record.id, self._record.fence) == "lost":
                    return
            except RedisError as error:
                log.warning("lease of %s not renewed: %s", self._record.id, type(error).__name__)

    def step(
        self,
        step: int,
        total: int,
        message: str,
        image: Callable[[], Any] | None = None,
        *,
        preview_due: bool = False,
        begins: bool = False,
    ) -> None:
        """Reports progress, at most four times a second, with a preview at most once a second or when it is due.

        begins: the steps begin here, as when a training resumes; the end is estimated by the pace of those after it.
        Raises `CanceledError`, `LeaseLostError`, `StoppingError`, and `AtelierError` (`timeout`) after the time limit.
        """
        if stopping.is_set() and step < total:
            raise StoppingError
        now = time.monotonic()
        if begins or self._measured_from is None or step < self._measured_from[0]:
            self._measured_from = step, now
        if image and (preview_due or now >= self._next_preview):
            self._next_preview = now + PREVIEW_EVERY_S
            self._show(image())
        if now >= self._next_progress or step == total:
            self._next_progress = now + PROGRESS_EVERY_S
            progress = {"step": step, "total": total, "fraction": round(step / total, 4), "message": message}
            progress["estimated_end_at"] = self._estimated_end(step, total, now)
            stored = {**progress, "preview": self._preview_sha}
            self._check(self._jobs.report(self._record.id, self._record.fence, "progress", progress, stored))
        else:
            self._check(self._jobs.renew(self._record.id, self._record.fence))
        if now > self._deadline:
            raise AtelierError("timeout", f"The job ran longer than {self._limit_s:g} seconds.", limit_s=self._limit_s)

    def _estimated_end(self, step: int, total: int, now: float) -> str | None:
        """Time of the last step at the pace so far, in ISO 8601; None before the first step."""
        first, since = self._measured_from or (step, now)
        if step <= first:
            return None
        left = timedelta(seconds=(now - since) / (step - first) * (total - step))
        return (datetime.now(UTC) + left).isoformat(timespec="seconds")

    def _show(self, image: Any) -> None:
        sha = self._preview(image)
        if sha and sha != self._preview_sha:
            self._preview_sha = sha
            self._check(self._jobs.report(self._record.id, self._record.fence, "preview", {"sha256": sha}))

    def _check(self, status: str) -> None:
        self.finishing = self.finishing or status == "finishing"
        check(status)


def check(status: str) -> None:
    """Raises `LeaseLostError` or `CanceledError` if the status returned to a lease holder says so."""
    if status == "lost":
        raise LeaseLostError
    if status == "canceling":
        raise CanceledError
