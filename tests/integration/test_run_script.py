"""`scripts/run` as a person uses it: start, work, Ctrl-C in the middle of a job, start again."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.style_transfers import CAT
from tests.stack import ROOT, Stack, wait_until


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """Ports and folders for an installation that `scripts/run` starts."""
    made = Stack(tmp_path)
    yield made
    made.stop()


def start(stack: Stack) -> subprocess.Popen[bytes]:
    process = stack.start("run", str(ROOT / "scripts" / "run"))
    wait_until(lambda: ready(stack) or process.poll() is not None, 90, "the service")
    assert process.poll() is None, stack.log("run")[-2000:]
    return process


def ready(stack: Stack) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return stack.client.get("/readyz").status_code == 200
    return False


def test_an_interrupted_job_goes_on_after_the_next_start_and_loses_no_attempt(stack: Stack) -> None:
    process = start(stack)
    request = {"method": "gatys", "content": CAT, "style": CAT, "size": 128, "num_steps": 60}
    job = stack.client.post("/v1/style-transfers", json=request).json()["id"]
    wait_until(lambda: (stack.job(job)["progress"] or {}).get("step", 0) > 2, 60, "some steps")

    os.killpg(process.pid, signal.SIGINT)
    process.wait(30)
    for port in (stack.api_port, stack.redis_port):
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}")

    start(stack)
    ended = stack.finished(job, 90)
    assert (ended["status"], ended["attempt"]) == ("succeeded", 1)
    os.kill(stack.processes["run"].pid, signal.SIGTERM)
    stack.processes.pop("run").wait(30)
