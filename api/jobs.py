"""Jobs: get, list, follow, cancel, finish, retry and delete jobs, and download their outputs."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from sse_starlette import EventSourceResponse, ServerSentEvent

from api.content import ALWAYS_ASK, IMAGE, OUTPUT, IfNoneMatch, Range, serve
from api.errors import EVENT_ID, Responses, error_responses
from api.pools import FOLLOWING
from api.present import present, present_all, present_event
from api.service import Service, ServiceDep
from api.submit import JOB_RESPONSES, SubmissionDep, answer_with_job, enqueue
from jobs.errors import Conflict, NotFound
from jobs.events import order
from jobs.requests.kinds import parse
from jobs.schemas import JOB_ID, Job, JobPage, Kind, Status
from jobs.store.records import Event, Record

router = APIRouter(tags=["jobs"])
JobId = Annotated[
    str,
    Path(
        pattern=JOB_ID,
        description="The id of a job.",
        examples=["job_" + "0" * 24],
        json_schema_extra={"format": "job-id"},
    ),
]


class JobFilter(BaseModel):
    """Query parameters of the list; others are refused."""

    model_config = ConfigDict(extra="forbid")

    kind: Annotated[Kind | None, Field(description="Only jobs of this kind.")] = None
    status: Annotated[Status | None, Field(description="Only jobs with this status.")] = None
    limit: Annotated[int, Field(ge=1, le=100, description="Maximum number of jobs on a page.")] = 20
    cursor: Annotated[str | None, Field(pattern=JOB_ID, description="`next_cursor` of the previous page.")] = None


@router.get("/v1/jobs", summary="List jobs, newest first", responses=error_responses(422, 503))
def list_jobs(service: ServiceDep, job_filter: Annotated[JobFilter, Query()]) -> JobPage:
    """Returns a page of jobs; pass its `next_cursor` as `cursor` to get the next page."""
    records, next_cursor = service.jobs.page(**job_filter.model_dump())
    return JobPage(jobs=present_all(service, records), next_cursor=next_cursor)


@router.get("/v1/jobs/{job_id}", summary="Get a job", responses=error_responses(404, 422, 503))
def get_job(job_id: JobId, service: ServiceDep) -> Job:
    """Returns its status, progress, resolved parameters, outputs, metrics and error."""
    return present(service, job_id)


@router.delete(
    "/v1/jobs/{job_id}", status_code=204, summary="Delete a finished job", responses=error_responses(404, 409, 422, 503)
)
def delete_job(job_id: JobId, service: ServiceDep) -> None:
    """Deletes the job, and its images unless other jobs name them. Returns 409 if the job has not finished."""
    service.jobs.delete(job_id)


@router.post("/v1/jobs/{job_id}/cancel", summary="Cancel a job", responses=error_responses(404, 422, 503))
def cancel_job(job_id: JobId, service: ServiceDep) -> Job:
    """Cancels a queued job at once and a running job at its next step; does not change a finished job. Idempotent."""
    service.jobs.cancel(job_id)
    return present(service, job_id)


@router.post("/v1/jobs/{job_id}/finish", summary="Finish a training now", responses=error_responses(404, 409, 422, 503))
def finish_job(job_id: JobId, service: ServiceDep) -> Job:
    """Ends a running training after its current step; it succeeds with the model trained so far.

    Returns 409 for a queued job and for another kind of job; does not change a finished job. Idempotent.
    """
    service.jobs.finish_early(job_id)
    return present(service, job_id)


@router.post(
    "/v1/jobs/{job_id}/retry",
    status_code=202,
    response_model=Job,
    summary="Run a finished job again",
    responses=error_responses(404, 409, 422, 429, 503, also=JOB_RESPONSES),
)
async def retry_job(job_id: JobId, submission: SubmissionDep) -> Response:
    """Creates a job with the same parameters, seed and `webhook_url`, and so the same result.

    `retry_of` is the id of the old job. A training resumes from the newest checkpoint of the old job.
    """
    service = submission.service

    def create() -> str:
        record = service.jobs.get(job_id)
        if not record.finished:
            raise Conflict("job_not_finished", "The job has not finished; cancel it first.", job=job_id)
        once = {"priority": record.priority, "webhook_url": record.webhook_url}  # these are not among the params
        params = parse(record.kind, record.params).model_copy(update=once)
        idempotency = (submission.key, job_id.removeprefix("job_")) if submission.key else None
        return enqueue(service, params, idempotency=idempotency, retry_of=job_id)

    return await answer_with_job(submission, create)


@router.get(
    "/v1/jobs/{job_id}/outputs/{index}",
    summary="Get an output",
    response_class=Response,
    responses=error_responses(404, 416, 422, 500, 503, also=OUTPUT),
)
def get_output(
    job_id: JobId,
    index: Annotated[int, Path(ge=0, le=1000, description="The number of the output, from 0.", examples=[0])],
    service: ServiceDep,
    if_none_match: IfNoneMatch = None,
    range_: Range = None,
) -> Response:
    """Returns the bytes of an output; the ETag is their sha256. Supports `Range` and `If-None-Match`."""
    record = service.jobs.get(job_id)
    if index >= len(record.outputs):
        message = f"The job has {len(record.outputs)} outputs; its status is {record.status}."
        raise NotFound("output_not_found", message, job=job_id, index=index)
    output = record.outputs[index]
    return serve(service.objects, output["sha256"], output["content_type"], if_none_match, range_)


CHECKPOINT: Responses = {
    200: {
        "description": "A safetensors file.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get(
    "/v1/jobs/{job_id}/checkpoint",
    summary="Get the newest checkpoint of a training",
    response_class=StreamingResponse,
    responses=error_responses(404, 422, 500, 503, also=CHECKPOINT),
)
def get_checkpoint(job_id: JobId, service: ServiceDep) -> Response:
    """Returns weights, optimizer states and losses of a training that has not succeeded."""
    checkpoint = service.jobs.get(job_id).checkpoint
    if checkpoint is None:
        raise NotFound("checkpoint_not_found", "The job has no checkpoint.", job=job_id)
    return StreamingResponse(service.objects.read(checkpoint["sha256"]), media_type="application/octet-stream")


POINTS: Any = [{"step": 17, "losses": {"loss": 0.41}}, {"step": 34, "losses": {"loss": 0.2}}]


class LossPoint(BaseModel):
    """The mean losses of the steps after the point before, up to this step."""

    step: int
    losses: Annotated[dict[str, float], Field(description="By name, such as `reconstruction` of a VAE.")]


class Losses(BaseModel):
    """The losses of a training."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"job": "job_" + "0" * 24, "points": POINTS}]})

    job: Annotated[str, Field(pattern=JOB_ID)]
    points: Annotated[list[LossPoint], Field(description="At most 120; empty before the first 25 steps.")]


@router.get(
    "/v1/jobs/{job_id}/losses", summary="Get the losses of a training", responses=error_responses(404, 422, 503)
)
def get_losses(job_id: JobId, service: ServiceDep) -> Losses:
    """Returns the losses from the first step on, while the training runs and after it; none of other jobs.

    They are stored every two seconds; the events of the job have those since.
    """
    points = service.jobs.get(job_id).losses
    return Losses(job=job_id, points=[LossPoint(**each) for each in points])


PREVIEW: Responses = {200: {**IMAGE[200], "content": {"image/jpeg": IMAGE[200]["content"]["image/jpeg"]}}}


@router.get(
    "/v1/jobs/{job_id}/preview",
    summary="Get the newest preview of a running job",
    response_class=Response,
    responses=error_responses(404, 422, 500, 503, also=PREVIEW),
)
def get_preview(job_id: JobId, service: ServiceDep) -> Response:
    """Returns a preview of the image, with sides of at most 256 pixels."""
    sha = (service.jobs.get(job_id).progress or {}).get("preview")
    if sha is None:
        raise NotFound("preview_not_found", "The job has no preview yet.", job=job_id)
    return serve(service.objects, sha, "image/jpeg", None, None, ALWAYS_ASK)


EVENT = {
    "type": "object",
    "description": "One event of the stream.",
    "properties": {
        "id": {"type": "string", "pattern": EVENT_ID},
        "event": {"enum": ["snapshot", "status", "progress", "preview", "output"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}


@router.get(
    "/v1/jobs/{job_id}/events",
    summary="Follow a job (Server-Sent Events)",
    response_class=EventSourceResponse,
    responses=error_responses(
        *(404, 422, 503),
        also={
            200: {
                "description": "`snapshot`, then events.",
                "content": {"text/event-stream": {"schema": EVENT}},
            },
            204: {"description": "`Last-Event-ID` was the last event of a finished job."},
        },
    ),
)
async def follow_job(
    job_id: JobId,
    service: ServiceDep,
    last_event_id: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            pattern=EVENT_ID,
            description="Resume after this event.",
            json_schema_extra={"format": "event-id"},
        ),
    ] = None,
) -> Response:
    """Streams a `snapshot` of the job, then `status`, `progress`, `preview` and `output` events until the job ends.

    Each event has an id; a client that reconnects with `Last-Event-ID` receives each event once. The stream ends with
    the `status` event of the final status.
    """
    record, last, first_id = await FOLLOWING.run(service.jobs.snapshot, job_id)
    if last_event_id is not None and record.finished and order(last_event_id) >= order(last.id):
        return Response(status_code=204)
    # An id that is invalid, or older than the stored events, gets a snapshot instead.
    resumable = last_event_id is not None and order(first_id) <= order(last_event_id) <= order(last.id)
    start = last_event_id if resumable else None
    return EventSourceResponse(_stream(service, record, last, start), ping=15)


async def _stream(service: Service, record: Record, last: Event, start: str | None) -> AsyncIterator[ServerSentEvent]:
    if start is None:
        [job] = await FOLLOWING.run(present_all, service, [record])
        if record.finished:
            yield _sse(None, "snapshot", job.model_dump(mode="json"))
            yield _sse(last.id, last.type, last.data)
            return
        yield _sse(last.id, "snapshot", job.model_dump(mode="json"))
        start = last.id
    async for event in service.events.follow(record.id, start):
        yield _sse(event.id, event.type, present_event(service, record.id, event))


def _sse(event_id: str | None, kind: str, data: dict[str, Any]) -> ServerSentEvent:
    return ServerSentEvent(json.dumps(data), event=kind, id=event_id)
