"""The real API with one more route, for the test kind `probe` of `kinds.py`."""

from typing import Annotated, Literal

from fastapi import Body, Response
from pydantic import Field

from api.main import app
from api.submit import SubmissionDep, submit
from jobs.schemas import Request


class Probe(Request):
    """See kinds.py."""

    steps: Annotated[int, Field(ge=1)] = 1
    step_s: Annotated[float, Field(ge=0)] = 0.0
    die_at: Literal["receipt", "claim", "run", "artifact", "state"] | None = None
    die_times: int = 1
    queue: Literal["fast", "gpu"] = "fast"


@app.post("/v1/probes", status_code=202)
async def create_probe(params: Annotated[Probe, Body()], submission: SubmissionDep) -> Response:
    """Queue a probe."""
    return await submit(submission, kind="probe", queue=params.queue, params=params, resolve=lambda _: params)
