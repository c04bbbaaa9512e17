"""Queues the job of a request of OpenAI's Images API and answers with its images, at its end or while it runs."""

import hashlib
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urljoin

from fastapi import Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from redis import RedisError
from sse_starlette import EventSourceResponse, ServerSentEvent

from api.errors import answer
from api.openai.errors import openai_error
from api.openai.fields import USAGE, GeneratedImage, GeneratedImages
from api.openai.translate import Translation
from api.pools import SUBMITTING
from api.present import link_fields
from api.service import Service
from api.submit import Submission, queue, wait
from jobs.errors import AtelierError
from jobs.store.records import Event, Record

MAX_WAIT_S = 600  # as long as OpenAI's clients wait unless they are set otherwise
NO_RETRY = {"x-should-retry": "false"}  # to OpenAI's clients, which would queue another job
PLAIN = {"background": "opaque", "quality": "auto"}
REFUSED = ("input_refused", "output_refused")


@dataclass(frozen=True)
class Asked:
    """How a request wants its images: `kind` is the first part of the names of its events."""

    kind: str
    base_url: str
    response_format: str | None = None
    stream: bool = False
    partial_images: int = 0


async def answer_with_images(submission: Submission, translate: Translation, asked: Asked) -> Response:
    """Queues a job and answers with its images, or with a stream of events."""
    service = submission.service

    def created() -> str:
        params = translate(service)
        digest = hashlib.sha256(params.model_dump_json().encode()).hexdigest() if submission.key else ""
        submission.scope["job_id"] = job_id = queue(replace(submission, digest=digest), params)  # for the log
        return job_id

    job_id = await SUBMITTING.run(created)
    if asked.stream:
        return EventSourceResponse(_events(service, job_id, asked), ping=15)
    await wait(service, job_id, MAX_WAIT_S)
    return await run_in_threadpool(_finished, service, job_id, asked)


def _finished(service: Service, job_id: str, asked: Asked) -> Response:
    record = service.jobs.get(job_id)
    if not record.finished:
        message = f"{job_id} has not ended yet; GET /v1/jobs/{job_id} follows it."
        return answer(503, "job_not_finished", message, NO_RETRY)
    if record.status != "succeeded":
        status, error = _failure(record)
        return answer(status, error["code"], error["message"], NO_RETRY, **error["details"])
    wanted = [asked.response_format] if asked.response_format else ["url", "b64_json"]
    images = []
    for output in _images(record):
        link = link_fields(service, output["sha256"], f"/v1/jobs/{job_id}/outputs/{output['index']}")["url"]
        url = urljoin(asked.base_url, link) if "url" in wanted else None
        images.append(GeneratedImage(url=url, b64_json=_base64(service, output) if "b64_json" in wanted else None))
    made = GeneratedImages(created=_ended(record), data=images, background="opaque", **_looks(record))
    return JSONResponse(made.model_dump(mode="json", exclude_none=True))


def _failure(record: Record) -> tuple[int, dict[str, Any]]:
    """The status and the error of a job that did not succeed; of its details only the field."""
    error = record.error or {"code": record.status, "message": f"{record.id} is {record.status}.", "details": {}}
    field = error["details"].get("field")
    status = 400 if error["code"] in REFUSED else 500
    return status, error | {"details": {"field": field} if field else {}}


async def _events(service: Service, job_id: str, asked: Asked) -> AsyncIterator[ServerSentEvent]:
    """Partial images at equal parts of the progress, as far as there are previews; then the images, or an error."""
    shown, fraction = 0, 0.0
    try:
        async for event in service.events.follow(job_id, "0"):
            if event.type == "progress":
                fraction = event.data["fraction"]
            if event.type != "preview" or shown >= asked.partial_images or fraction < shown / asked.partial_images:
                continue
            if partial := await run_in_threadpool(_partial, service, job_id, event, asked, shown):
                yield partial
                shown += 1
        for each in await run_in_threadpool(_last_events, service, job_id, asked):
            yield each
    except (AtelierError, RedisError):
        message = f"The images of {job_id} cannot be read; GET /v1/jobs/{job_id} follows it."
        yield _sse("error", openai_error(503, {"code": "redis_unavailable", "message": message, "details": {}}))


def _partial(service: Service, job_id: str, event: Event, asked: Asked, index: int) -> ServerSentEvent | None:
    """The event of a preview, a JPEG; None for one that was replaced before it was read."""
    record = service.jobs.get(job_id)
    try:
        data = b64encode(service.objects.get(event.data["sha256"])).decode()
    except AtelierError:
        return None
    looks = _looks(record) | {"output_format": "jpeg", "created_at": record.created_at // 1000}
    return _sse(f"{asked.kind}.partial_image", {"b64_json": data, "partial_image_index": index, **looks, **PLAIN})


def _last_events(service: Service, job_id: str, asked: Asked) -> list[ServerSentEvent]:
    record = service.jobs.get(job_id)
    if record.status != "succeeded":
        return [_sse("error", openai_error(*_failure(record)))]
    shared = {"created_at": _ended(record), **_looks(record), **PLAIN, "usage": USAGE}
    kind = f"{asked.kind}.completed"
    return [_sse(kind, {"b64_json": _base64(service, output), **shared}) for output in _images(record)]


def _sse(kind: str, data: dict[str, Any]) -> ServerSentEvent:
    return ServerSentEvent(json.dumps({"type": kind, **data}), event=kind)


def _images(record: Record) -> list[dict[str, Any]]:
    return [output for output in record.outputs if output["role"] != "grid"]


def _looks(record: Record) -> dict[str, Any]:
    """The format and the size of the images: the one asked for until there are images."""
    made = _images(record)
    if made:
        size = f"{made[0]['width']}x{made[0]['height']}"
    else:
        scale = record.params.get("upscale") or 1
        size = f"{record.params['width'] * scale}x{record.params['height'] * scale}"
    return {"output_format": record.params["format"], "size": size}


def _base64(service: Service, output: dict[str, Any]) -> str:
    return b64encode(service.objects.get(output["sha256"])).decode()


def _ended(record: Record) -> int:
    return (record.finished_at or record.created_at) // 1000
