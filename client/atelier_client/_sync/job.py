# Generated from _async by client/generate.py.
"""Jobs and their outputs."""

import json
import time
import time as clock
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from httpx_retries import Retry
from httpx_sse import connect_sse
from PIL import Image

from atelier_client import html
from atelier_client.errors import ServiceUnreachableError, WaitTimeoutError, error_of, job_error
from atelier_client.events import Event
from atelier_client.progress import Bar
from atelier_client.settings import BACKOFF_S, MAX_BACKOFF_S
from atelier_client.types.responses import ErrorBodyData, JobData, OutputData, ProgressData

if TYPE_CHECKING:
    from atelier_client._sync.client import Atelier
    from atelier_client._sync.collection import Collection

SILENCE_S, SLICE_S = 40.0, 5.0
TERMINAL = ("succeeded", "failed", "canceled", "expired")


class Job:
    """A job as it was when last read; `refresh`, `wait` and `events` read it again."""

    def __init__(self, atelier: "Atelier", data: JobData) -> None:
        self._atelier = atelier
        self.data = data

    @property
    def id(self) -> str:
        """Its id, `job_…`."""
        return self.data["id"]

    @property
    def kind(self) -> str:
        """The kind of job, such as `style-transfer`."""
        return self.data["kind"]

    @property
    def status(self) -> str:
        """`queued`, `running`, `canceling`, `succeeded`, `failed`, `canceled` or `expired`."""
        return self.data["status"]

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self.status in TERMINAL

    @property
    def progress(self) -> ProgressData | None:
        """Its progress while it runs."""
        return self.data["progress"]

    @property
    def params(self) -> dict[str, Any]:
        """The request as resolved: defaults, seed and image ids filled in."""
        return self.data["params"]

    @property
    def metrics(self) -> dict[str, Any]:
        """Its figures: warnings, times and those of the method."""
        return self.data["metrics"]

    @property
    def warnings(self) -> list[str]:
        """The messages of its warnings."""
        return [each["message"] for each in self.metrics.get("warnings", [])]

    @property
    def error(self) -> ErrorBodyData | None:
        """Why it failed."""
        return self.data["error"]

    @property
    def outputs(self) -> list["Output"]:
        """Its finished images, plots and animations."""
        return [Output(self._atelier, self.id, each) for each in self.data["outputs"]]

    @property
    def collection(self) -> "Collection":
        """The collection that the job builds."""
        return self._atelier.collection(self.id.replace("job_", "col_", 1))

    def refresh(self) -> "Job":
        """Reads the job again."""
        self.data = (self._atelier.request("GET", f"/v1/jobs/{self.id}")).json()
        return self

    def wait(
        self,
        timeout: float | None = None,
        *,
        progress: bool | Callable[[ProgressData], object] = False,
        check: bool = True,
    ) -> "Job":
        """Waits until the job has ended, by its events.

        Args:
            timeout: Seconds; for ever if absent.
            progress: True for a bar, in a terminal or a notebook; or a function that gets each progress.
            check: Whether a job that did not succeed raises.

        Raises:
            JobError: The job failed, was canceled or has expired; its class is that of the code.
            WaitTimeoutError: It has not ended within `timeout`; it goes on.
        """
        bar = Bar(self.id, self.kind) if progress is True else None
        report = bar.update if bar else progress if callable(progress) else None
        try:
            for event in self.events(timeout=timeout):
                if report and event.type in ("progress", "snapshot") and (step := _progress_of(event)):
                    report(step)
        finally:
            if bar:
                bar.close()
        if not self.done:
            self.refresh()
        if check and self.status != "succeeded":
            raise job_error(self)
        return self

    def events(self, *, timeout: float | None = None) -> Iterator[Event]:
        """Yields the events of the job until it ends; a broken stream is resumed without a gap or a repetition.

        Raises:
            WaitTimeoutError: The job has not ended within `timeout` seconds.
            ServiceUnreachableError: The stream breaks again and again without an event between.
        """
        deadline = None if timeout is None else clock.monotonic() + timeout
        last_id, failures = "", 0
        while True:
            try:
                for event in self._stream(last_id, deadline):
                    last_id, failures = event.id or last_id, 0
                    yield event
                self.refresh()
                if self.done:
                    return
            except (httpx.TransportError, ServiceUnreachableError) as error:
                if deadline is not None and clock.monotonic() >= deadline:
                    raise WaitTimeoutError(f"{self.id} has not ended within {timeout} s") from error
                if deadline is not None and isinstance(error, httpx.ReadTimeout):
                    continue
                failures += 1
                if failures > self._atelier.retries:
                    raise ServiceUnreachableError(f"the events of {self.id} end again and again: {error}") from error
                time.sleep(min(BACKOFF_S * 2**failures, MAX_BACKOFF_S))

    def _stream(self, last_id: str, deadline: float | None) -> Iterator[Event]:
        headers = {"Last-Event-ID": last_id} if last_id else {}
        # The service sends a comment every 15 s, so a longer silence means a broken connection. With a deadline the
        # stream is read for a few seconds at a time.
        limit = SILENCE_S if deadline is None else max(min(SLICE_S, deadline - clock.monotonic()), 0.01)
        options = {"timeout": httpx.Timeout(limit, connect=10.0), "extensions": {"retry": Retry(total=0)}}
        path = f"/v1/jobs/{self.id}/events"
        with connect_sse(self._atelier.http, "GET", path, headers=headers, **options) as source:
            if source.response.is_error:
                source.response.read()
                raise error_of(source.response)
            if source.response.status_code == 204:
                return
            for sse in source.iter_sse():
                if deadline is not None and clock.monotonic() >= deadline:
                    raise httpx.ReadTimeout("the deadline has passed")
                if not sse.data:  # a comment, which keeps the connection alive
                    continue
                event = Event(sse.event, json.loads(sse.data), sse.id)
                if event.type == "snapshot":
                    self.data = event.data  # type: ignore[assignment]
                yield event

    def cancel(self) -> "Job":
        """Cancels the job; a running one ends at its next step."""
        return self._post("cancel")

    def finish(self) -> "Job":
        """Ends a running training after its current step, and keeps the model."""
        return self._post("finish")

    def retry(self) -> "Job":
        """Submits a new job with the same parameters and seed."""
        data = self._atelier.submit(f"/v1/jobs/{self.id}/retry", {})
        return Job(self._atelier, data)  # type: ignore[arg-type]

    def delete(self) -> None:
        """Deletes the finished job and its outputs."""
        self._atelier.request("DELETE", f"/v1/jobs/{self.id}")

    def preview(self) -> Image.Image:
        """The newest preview of a running job."""
        return self._atelier.image(f"/v1/jobs/{self.id}/preview")

    def _post(self, action: str) -> "Job":
        self.data = (self._atelier.request("POST", f"/v1/jobs/{self.id}/{action}", retry_post=True)).json()
        return self

    def __repr__(self) -> str:
        return f"<{self.kind} {self.id}: {self.status}>"

    def _repr_html_(self) -> str:
        return html.job(self.data, self._atelier.base_url)


class Output:
    """One output of a job: an image, a grid, a plot or an animation."""

    def __init__(self, atelier: "Atelier", job_id: str, data: OutputData) -> None:
        self._atelier = atelier
        self.job_id = job_id
        self.data = data
        self._path = f"/v1/jobs/{job_id}/outputs/{data['index']}"

    @property
    def role(self) -> str:
        """`picture`, `grid`, `plot` or `animation`."""
        return self.data["role"]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.data["width"], self.data["height"]

    @property
    def seed(self) -> int:
        """The random state it was made with."""
        return self.data["seed"]

    def read(self) -> bytes:
        """The bytes of its file; the address in `data["url"]` may have expired, this one does not."""
        return (self._atelier.request("GET", self._path, follow_redirects=True)).content

    def image(self) -> Image.Image:
        """Its image, or the first frame of an animation."""
        return self._atelier.image(self._path)

    def save(self, path: "str | Path") -> Path:
        """Writes its file and returns the path; into a folder under its own name."""
        target = Path(path)
        if target.is_dir():
            suffix = self.data["content_type"].rpartition("/")[2].replace("jpeg", "jpg")
            target = target / f"{self.job_id}-{self.data['index']}.{suffix}"
        target.write_bytes(self.read())
        return target

    def __repr__(self) -> str:
        return f"<{self.role} {self.data['index']} of {self.job_id}: {self.data['width']}x{self.data['height']}>"

    def _repr_html_(self) -> str:
        return html.output(self.data, self._atelier.base_url)


def _progress_of(event: Event) -> ProgressData | None:
    data: ProgressData | None = event.data.get("progress") if event.type == "snapshot" else event.data  # type: ignore[assignment]
    return data
