"""From a checked request to a queued job: idempotency, the record, the nudge and the wait."""

import asyncio
import logging
import re
import secrets
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from kombu.exceptions import OperationalError
from redis import RedisError

import jobs.schemas
from api.bounds import forget_body
from api.errors import VISIBLE_ASCII, WEBHOOK_URL, Responses, error_responses
from api.json_route import ParsedRequest
from api.pools import SUBMITTING
from api.present import present
from api.service import Service, ServiceDep
from jobs.errors import BadInput
from jobs.intake.outbound import check_url
from jobs.queue import nudge
from jobs.requests.collection import KIND as COLLECTION
from jobs.requests.text_to_image import compat_of
from jobs.requests.training import MODEL_ID
from jobs.schemas import ARCHIVE_ID, IMAGE_FIELDS, IMAGE_ID, Job
from jobs.store.records import NewJob
from jobs.store.registry import NEW

log = logging.getLogger("atelier.api")
MAX_WAIT_S = 60

_HEADERS = {
    "Location": {"description": "The job.", "schema": {"type": "string"}},
    "Preference-Applied": {"description": "`wait=…` as it was applied.", "schema": {"type": "string"}},
}
JOB_RESPONSES: Responses = {
    200: {
        "model": Job,
        "description": "The job ended within the time that `Prefer: wait` gave.",
        "headers": _HEADERS,
    },
    202: {
        "model": Job,
        "description": "The job is queued; follow `urls.events` or ask `urls.self`.",
        "headers": _HEADERS,
    },
}
SUBMIT_RESPONSES = error_responses(400, 404, 408, 413, 415, 422, 429, 503, also=JOB_RESPONSES)


class Submission:
    """One submit request: its service, its idempotency key and how long its caller waits."""

    def __init__(
        self,
        request: Request,
        service: ServiceDep,
        idempotency_key: Annotated[
            str | None,
            Header(
                alias="Idempotency-Key",
                min_length=1,
                max_length=200,
                pattern=VISIBLE_ASCII,
                description="The same key and body return the first job again, for 24 hours.",
            ),
        ] = None,
        prefer: Annotated[
            str | None,
            Header(
                alias="Prefer", description=f"`wait=20` holds the answer until the job ends, at most {MAX_WAIT_S} s."
            ),
        ] = None,
    ) -> None:
        self.service = service
        self.scope = request.scope
        self.digest = request.digest if isinstance(request, ParsedRequest) else ""
        self.key = idempotency_key
        wait = re.search(r"(?:^|[,;\s])wait=(\d{1,4})(?:$|[,;\s])", prefer or "")
        self.wait_s = min(int(wait[1]), MAX_WAIT_S) if wait else 0


SubmissionDep = Annotated[Submission, Depends()]


async def submit(
    submission: Submission,
    *,
    kind: str,
    queue: str | Callable[[jobs.schemas.Request], str],
    params: jobs.schemas.Request,
    resolve: Callable[[Service], jobs.schemas.Request],
) -> Response:
    """Queue a job and answer with it; `resolve` stores the images of `params` and returns them as ids.

    queue: its name, or a function of the resolved parameters.
    """
    service = submission.service
    idempotency = (submission.key, submission.digest) if submission.key else None

    def create() -> str:
        known = service.jobs.known_request(*idempotency) if idempotency else None
        if known:
            return known
        if params.webhook_url:
            _check_webhook(params.webhook_url)
        resolved = resolve(service)
        stored = resolved.model_dump(mode="json", exclude={"priority", "expires_in", "webhook_url"})
        if stored["seed"] is None:
            stored["seed"] = secrets.randbelow(2**32)
        return enqueue(
            service,
            kind=kind,
            queue=queue if isinstance(queue, str) else queue(resolved),
            params=stored,
            priority=params.priority,
            expires_in=params.expires_in,
            webhook_url=params.webhook_url,
            idempotency=idempotency,
        )

    job_id = await SUBMITTING.run(create)
    # Its `data:` URLs may be 33 MB, and the caller may wait a minute.
    params.__dict__.clear()
    forget_body(submission.scope)
    return await answer_with_job(service, job_id, submission.wait_s)


def _check_webhook(url: str) -> None:
    try:
        check_url(url)
    except BadInput as error:
        message = f"webhook_url: Input should be {WEBHOOK_URL}."
        raise BadInput(error.code, message, field="webhook_url") from error


def enqueue(service: Service, *, kind: str, queue: str, params: dict[str, Any], **extra: Any) -> str:
    """Write the record, nudge the workers and return the job's id.

    A nudge that cannot be sent is no error: upkeep sends it again, and the record is safe.
    """
    job_id, is_new = service.jobs.create(
        NewJob(
            kind=kind,
            queue=queue,
            params=params,
            images=image_shas(params),
            archives=archive_shas(params),
            models=trained_models(params),
            compat=compat_of(params),
            **_collections(kind, params),
            **extra,
        )
    )
    if is_new:
        try:
            nudge(service.celery, queue, job_id)
        except (OperationalError, OSError) as error:
            log.warning("nudge for %s not sent: %s", job_id, type(error).__name__)
    return job_id


async def answer_with_job(service: Service, job_id: str, wait_s: int) -> Response:
    """The job now, or once it ended within `wait_s` seconds: 200 when it has ended, else 202."""
    if wait_s:
        await _wait(service, job_id, wait_s)
    job = await run_in_threadpool(lambda: present(service, service.jobs.get(job_id)))
    ended = bool(wait_s) and job.finished_at is not None
    headers = {"Location": job.urls.self} | ({"Preference-Applied": f"wait={wait_s}"} if wait_s else {})
    return JSONResponse(job.model_dump(mode="json"), status_code=200 if ended else 202, headers=headers)


def image_shas(params: Any) -> list[str]:
    """The sha256 of every upload in the image fields of resolved parameters; a prompt may look like an id."""
    if isinstance(params, list):
        return [sha for each in params for sha in image_shas(each)]
    if not isinstance(params, dict):
        return []
    found: list[str] = []
    for name, value in params.items():
        strings = value if isinstance(value, list) else [value]
        if name in IMAGE_FIELDS:
            found += [each.removeprefix("img_") for each in strings if re.fullmatch(IMAGE_ID, str(each))]
        found += image_shas(value)
    return found


def archive_shas(params: dict[str, Any]) -> list[str]:
    """The sha256 of the archive that resolved parameters read their data from."""
    data = params.get("data")
    return [data.removeprefix("zip_")] if isinstance(data, str) and re.fullmatch(ARCHIVE_ID, data) else []


def trained_models(params: dict[str, Any]) -> Sequence[str]:
    """The ids of the trained models that resolved parameters name: none can be deleted until the job has ended."""
    named = [params.get(field) for field in ("model", "classifier", "space", "start")]
    named += [lora["model"] for lora in params.get("loras") or []]
    return [model for model in named if isinstance(model, str) and re.fullmatch(MODEL_ID, model)]


def _collections(kind: str, params: dict[str, Any]) -> dict[str, Any]:
    """Which collection a job of these parameters founds or goes on with, or which it uses."""
    named = params.get("collection")
    if kind == COLLECTION:
        return {"collection": named or NEW}
    return {"collections": [named] if named else []}


async def _wait(service: Service, job_id: str, seconds: int) -> None:
    try:
        async with asyncio.timeout(seconds):
            async for _ in service.events.follow(job_id, "0"):
                pass
    except (TimeoutError, RedisError):  # the job is queued all the same
        return
