"""Builds the job of a response from its record."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, overload

from api.service import Service
from jobs.schemas import Checkpoint, ErrorBody, Job, JobUrls, Metrics, Output, Progress
from jobs.store.records import Event, Record


def present(service: Service, job_id: str) -> Job:
    """Returns a job, with its links and its position in the queue; raises `NotFound`."""
    record, place = service.jobs.placed(job_id)
    return _job(service, record, *place)


def present_all(service: Service, records: Sequence[Record]) -> list[Job]:
    """Returns the job of each record, as `present` does of an id."""
    places = service.jobs.queue_places(records)
    return [_job(service, record, *place) for record, place in zip(records, places, strict=True)]


def _job(service: Service, record: Record, position: int | None, wait_ms: int | None) -> Job:
    path = f"/v1/jobs/{record.id}"
    return Job(
        id=record.id,
        kind=record.kind,
        status=record.status,
        attempt=record.attempt,
        priority=record.priority,
        created_at=time_of(record.created_at),
        started_at=time_of(record.started_at),
        finished_at=time_of(record.finished_at),
        expires_at=time_of(record.expires_at),
        queue_position=position,
        estimated_start_at=datetime.now(UTC) + timedelta(milliseconds=wait_ms) if wait_ms is not None else None,
        progress=_progress(record),
        params=record.params,
        outputs=[_output(service, record.id, output) for output in record.outputs],
        metrics=Metrics(**record.metrics),
        error=ErrorBody(**record.error) if record.error else None,
        retry_of=record.retry_of,
        checkpoint=_checkpoint(service, record),
        urls=JobUrls(self=path, events=f"{path}/events", cancel=f"{path}/cancel"),
    )


def present_event(service: Service, job_id: str, event: Event) -> dict[str, Any]:
    """Returns the data of an event, with links to its images."""
    if event.type == "output":
        return _output(service, job_id, event.data).model_dump(mode="json")
    if event.type == "preview":
        return {**event.data, "preview_url": f"/v1/jobs/{job_id}/preview"}
    return event.data


def _progress(record: Record) -> Progress | None:
    if record.progress is None:
        return None
    preview_url = f"/v1/jobs/{record.id}/preview" if record.progress.get("preview") else None
    return Progress(**{k: v for k, v in record.progress.items() if k != "preview"}, preview_url=preview_url)


def link_fields(service: Service, sha: str, path: str) -> dict[str, Any]:
    """Returns `url` and `url_expires_at` of an object: a presigned link, or `path`, which does not expire."""
    link = service.objects.link(sha)
    until = datetime.now(UTC) + timedelta(seconds=service.settings.link_ttl_s) if link else None
    return {"url": link or path, "url_expires_at": until}


def _output(service: Service, job_id: str, output: dict[str, Any]) -> Output:
    return Output(**output, **link_fields(service, output["sha256"], f"/v1/jobs/{job_id}/outputs/{output['index']}"))


def _checkpoint(service: Service, record: Record) -> Checkpoint | None:
    if record.checkpoint is None:
        return None
    link = service.objects.link(record.checkpoint["sha256"])
    return Checkpoint(**record.checkpoint, url=link or f"/v1/jobs/{record.id}/checkpoint")


@overload
def time_of(ms: int) -> datetime: ...
@overload
def time_of(ms: int | None) -> datetime | None: ...
def time_of(ms: int | None) -> datetime | None:
    """The time of Unix milliseconds, in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC) if ms is not None else None
