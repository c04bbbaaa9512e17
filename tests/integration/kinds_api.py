"""The real API with one more route, for the test kind `probe` of `kinds.py`."""

from typing import Annotated

from fastapi import Body, Response

from api.main import app
from api.submit import SubmissionDep, submit
from tests.integration.probe import Probe


@app.post("/v1/probes", status_code=202)
async def create_probe(params: Annotated[Probe, Body()], submission: SubmissionDep) -> Response:
    """Queues a probe."""
    return await submit(submission, params)
