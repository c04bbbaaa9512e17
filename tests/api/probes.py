"""Jobs of the test kind."""

from typing import Any

from tests.stack import Stack, wait_until


def running(stack: Stack, **params: Any) -> str:
    """The id of a slow probe that is running."""
    job_id = str(stack.submit(steps=400, step_s=0.05, **params)["id"])
    wait_until(lambda: stack.job(job_id)["status"] == "running", 20, "the probe's start")
    return job_id
