"""A job record as the API shows it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from api.service import Service
from jobs.schemas import Checkpoint, ErrorBody, Job, JobUrls, Metrics, Output, Progress
from jobs.store.records import Event, Record


def present(service: Service, record: Record) -> Job:
    """The job with its links, times in UTC and its place in the queue."""
    return present_all(service, [record])[0]


def present_all(service: Service, records: Sequence[Record]) -> list[Job]:
    """Each job as `present` shows it."""
    positions = service.jobs.queue_positions(records)
    return [_job(service, record, position) for record, position in zip(records, positions, strict=True)]


def _job(service: Service, record: Record, position: int | None) -> Job:
    path = f"/v1/jobs/{record.id}"
    return Job(
        id=record.id,
        kind=record.kind,
        status=record.status,
        attempt=record.attempt,
        priority=record.priority,
        created_at=_time(record.created_at) or datetime.now(UTC),
        started_at=_time(record.started_at),
        finished_at=_time(record.finished_at),
        expires_at=_time(record.expires_at),
        queue_position=position,
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
    """An event's data with the links of the pictures it names."""
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


def _output(service: Service, job_id: str, output: dict[str, Any]) -> Output:
    link = service.objects.link(output["sha256"])
    until = datetime.now(UTC) + timedelta(seconds=service.settings.link_ttl_s) if link else None
    return Output(**output, url=link or f"/v1/jobs/{job_id}/outputs/{output['index']}", url_expires_at=until)


def _checkpoint(service: Service, record: Record) -> Checkpoint | None:
    if record.checkpoint is None:
        return None
    link = service.objects.link(record.checkpoint["sha256"])
    return Checkpoint(**record.checkpoint, url=link or f"/v1/jobs/{record.id}/checkpoint")


def _time(ms: int | None) -> datetime | None:
    return datetime.fromtimestamp(ms / 1000, UTC) if ms is not None else None
