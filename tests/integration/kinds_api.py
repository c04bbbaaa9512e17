"""The real API with one more route, for the test kind `probe` of `kinds.py`."""

from typing import Annotated, ClassVar, Literal

from fastapi import Body, Response
from pydantic import AliasChoices, Field

from api.main import app
from api.submit import SubmissionDep, submit
from jobs.requests.base import Request
from jobs.requests.kinds import KINDS


class Probe(Request):
    """See kinds.py."""

    kind: ClassVar[str] = "probe"

    steps: Annotated[int, Field(ge=1)] = 1
    step_s: Annotated[float, Field(ge=0)] = 0.0
    die_at: Literal["receipt", "claim", "run", "artifact", "state"] | None = None
    die_times: int = 1
    runs_on: Annotated[Literal["fast", "gpu"], Field(validation_alias=AliasChoices("queue", "runs_on"))] = "fast"

    @property
    def queue(self) -> str:
        """The queue asked for."""
        return self.runs_on


KINDS["probe"] = Probe


@app.post("/v1/probes", status_code=202)
async def create_probe(params: Annotated[Probe, Body()], submission: SubmissionDep) -> Response:
    """Queues a probe."""
    return await submit(submission, params)
