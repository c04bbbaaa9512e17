"""Health checks."""

import asyncio

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from api.readiness import TIMEOUT_S, Ready, unanswered
from api.service import ServiceDep

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    """The process responds."""

    status: str


@router.get("/healthz", summary="Check that the process is alive")
async def healthz() -> Alive:
    """Returns 200 while the API process responds. It does not check Redis, storage or workers, and uses no thread."""
    return Alive(status="alive")


@router.get(
    "/readyz",
    summary="Check that new jobs will run",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "Not ready; `failing` lists the reasons."}},
)
async def readyz(service: ServiceDep) -> Response:
    """Returns 200 if a job submitted now will run; otherwise 503 with the same body, and `failing` lists the reasons.

    Redis and the object store must accept writes, an upkeep process must run, and each queue needs a worker that takes
    its jobs and whose child processes are not frozen. The checks run at most twice a second, whatever the number of
    requests; a check that hangs counts as failed after a few seconds.
    """
    checks = asyncio.wrap_future(service.readiness.ask())
    try:
        ready = await asyncio.wait_for(asyncio.shield(checks), 2 * TIMEOUT_S)
    except TimeoutError:
        ready = unanswered()
    headers = {} if ready.ready else {"Retry-After": "2"}
    return JSONResponse(ready.model_dump(), status_code=200 if ready.ready else 503, headers=headers)
