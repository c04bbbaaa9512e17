"""Turns a validated request into a queued job: idempotency, defaults and images, the record, the nudge, the wait."""

import asyncio
import logging
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import Depends, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from kombu.exceptions import OperationalError
from redis import RedisError
from starlette.types import Scope as AsgiScope

from api.access import require
from api.bounds import forget_body
from api.errors import VISIBLE_ASCII, WEBHOOK_URL, Responses, error_responses
from api.images import resolve_images
from api.json_route import ParsedRequest
from api.pools import SUBMITTING
from api.present import present
from api.service import Service, ServiceDep
from jobs.errors import BadInput
from jobs.intake.outbound import check_url
from jobs.logs import field
from jobs.queue import nudge
from jobs.requests.base import ImageSize
from jobs.requests.base import Request as JobRequest
from jobs.requests.facts import Facts
from jobs.requests.inpainting import Inpainting
from jobs.requests.training_base import TRAINED_ID
from jobs.requests.upscale import UpscaledRequest, Upscaling
from jobs.schemas import Job
from jobs.store.keys import Scope
from jobs.store.records import NewJob

log = logging.getLogger("atelier.api")
MAX_WAIT_S = 60
NEEDED: dict[str, Scope] = {"training": "train", "model": "admin"}  # by kind; `submit` for the others

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
SUBMIT_RESPONSES = error_responses(400, 404, 408, 409, 413, 415, 422, 429, 503, also=JOB_RESPONSES)


@dataclass(frozen=True)
class Submission:
    """One submit request: its service, its idempotency key and how long its caller waits."""

    service: Service
    scope: AsgiScope
    digest: str
    key: str | None
    wait_s: int


IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=VISIBLE_ASCII,
        description="The same key and body return the first job again, for 24 hours.",
    ),
]


async def get_submission(
    request: Request,
    service: ServiceDep,
    idempotency_key: IdempotencyKey = None,
    prefer: Annotated[
        str | None,
        Header(alias="Prefer", description=f"`wait=20` holds the answer until the job ends, at most {MAX_WAIT_S} s."),
    ] = None,
) -> Submission:
    """Returns what a submit request says beside its body."""
    digest = request.digest if isinstance(request, ParsedRequest) else ""
    wait = re.search(r"(?:^|[,;\s])wait=(\d{1,4})(?:$|[,;\s])", prefer or "")
    wait_s = min(int(wait[1]), MAX_WAIT_S) if wait else 0
    return Submission(service, request.scope, digest, idempotency_key, wait_s)


SubmissionDep = Annotated[Submission, Depends(get_submission)]


async def submit(submission: Submission, params: JobRequest) -> Response:
    """Queues a job and answers with it."""
    return await answer_with_job(submission, partial(queue, submission, params))


def queue(submission: Submission, params: JobRequest) -> str:
    """Queues a job and returns its id, or that of the first job of the same idempotency key and digest."""
    service = submission.service
    idempotency = (submission.key, submission.digest) if submission.key else None
    known = service.jobs.known_request(*idempotency) if idempotency else None
    job_id = known or enqueue(service, _resolved(service, params), idempotency=idempotency)
    params.__dict__.clear()  # its `data:` URLs may be 33 MB, and the caller may wait a minute
    return job_id


def _resolved(service: Service, params: JobRequest) -> JobRequest:
    """The request with all defaults and a seed filled in, and each image stored and named by its id."""
    if params.webhook_url:
        check_webhook(params.webhook_url)
    facts = Facts(service.jobs)
    resolved = params.resolved(facts)
    if isinstance(resolved, UpscaledRequest):
        resolved = resolved.with_upscaler(facts)

    def check(sizes: dict[str, ImageSize]) -> None:
        resolved.check_sizes(sizes)
        if isinstance(resolved, Upscaling | Inpainting):  # whose number of pixels depends on that of their images
            field_name = next(iter(sizes)).partition(".")[0]
            service.key.limits.check_pixels(field_name, resolved.made_pixels(sizes))

    images = resolve_images(service, resolved.image_refs(), check, resolved.masks())
    seed = secrets.randbelow(2**32) if resolved.seed is None else resolved.seed
    return resolved.with_images(images).model_copy(update={"seed": seed})


def check_webhook(url: str, field_name: str = "webhook_url") -> None:
    """Raises BadInput for a URL that cannot be public, naming the field."""
    try:
        check_url(url)
    except BadInput as error:
        message = f"`{field_name}` must be {WEBHOOK_URL}."
        raise BadInput(error.code, message, field=field_name) from error


def enqueue(
    service: Service, params: JobRequest, *, idempotency: tuple[str, str] | None = None, retry_of: str = ""
) -> str:
    """Writes the record of a resolved request, nudges the workers and returns the job's id.

    A nudge that cannot be sent is no error: upkeep sends it again, and the record is safe.
    """
    if needed := NEEDED.get(params.kind):  # for a retry too
        require(service.key, needed)
    service.key.limits.check(params)
    uses = params.uses()
    job = NewJob(
        kind=params.kind,
        queue=params.queue,
        params=params.stored(),
        images=[image.removeprefix("img_") for image in params.image_refs().values()],
        archives=uses.archives,
        models=[model for model in uses.models if re.fullmatch(TRAINED_ID, model)],  # others cannot be deleted
        collections=uses.collections,
        loads=uses.models,
        collection=uses.builds,
        compat=params.compatibility(),
        priority=params.priority,
        expires_in=params.expires_in,
        webhook_url=params.webhook_url,
        idempotency=idempotency,
        retry_of=retry_of,
        request_id=field("request_id"),
        traceparent=field("traceparent"),
        limits=service.key.limits.given(),
        safety=service.key.safety or service.settings.safety,
    )
    job_id, is_new = service.jobs.create(job)
    if is_new:
        try:
            nudge(service.celery, job.queue, job_id)
        except (OperationalError, OSError) as error:
            log.warning("nudge for %s not sent: %s", job_id, type(error).__name__)
    return job_id


async def answer_with_job(submission: Submission, create: Callable[[], str]) -> Response:
    """Answers with the created job at once, or when it has ended in the time given: 200 when it has ended, else 202."""
    service, wait_s = submission.service, submission.wait_s

    def created() -> str:
        submission.scope["job_id"] = job_id = create()  # for the log
        return job_id

    if wait_s:
        job_id = await SUBMITTING.run(created)
        forget_body(submission.scope)
        await wait(service, job_id, wait_s)
        job = await run_in_threadpool(present, service, job_id)
    else:
        job = await SUBMITTING.run(lambda: present(service, created()))  # one thread for both
    ended = bool(wait_s) and job.finished_at is not None
    headers = {"Location": job.urls.self} | ({"Preference-Applied": f"wait={wait_s}"} if wait_s else {})
    return JSONResponse(job.model_dump(mode="json"), status_code=200 if ended else 202, headers=headers)


async def wait(service: Service, job_id: str, seconds: int) -> None:
    """Waits until a job has ended, at most so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            async for _ in service.events.follow(job_id, "0"):
                pass
    except (TimeoutError, RedisError):  # the job is queued nevertheless
        return
