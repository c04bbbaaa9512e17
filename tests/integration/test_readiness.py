"""J15: `/readyz` is right within 15 s of whatever breaks, and right again within 15 s of its repair.

Every test breaks and repairs real processes and prints both figures.
"""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from jobs.store import QUEUES
from tests.stack import Stack, wait_until

LIMIT_S = 15


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A whole installation with one worker and the lease and the intervals of production."""
    made = Stack(tmp_path_factory.mktemp("ready"), ATELIER_LEASE_S="30", ATELIER_SWEEP_S="5")
    yield made.start_all()
    made.stop()


def readiness(stack: Stack) -> tuple[int, dict[str, Any]]:
    """The status and the body of `/readyz`."""
    answer = stack.client.get("/readyz")
    return answer.status_code, answer.json()


def seconds_until(stack: Stack, status: int, what: str) -> float:
    """How long `/readyz` took to answer with this status; AssertionError after `LIMIT_S`."""
    started = time.monotonic()
    wait_until(lambda: readiness(stack)[0] == status, LIMIT_S, f"{status} after {what}: {readiness(stack)}")
    return time.monotonic() - started


def test_connections_cut_three_times(stack: Stack) -> None:
    seconds_until(stack, 200, "the start")
    for _ in range(3):
        stack.redis.client_kill_filter(_type="normal", skipme=True)
        time.sleep(2)
    cut = time.monotonic()
    wait_until(lambda: time.monotonic() > cut + LIMIT_S, 20, "heartbeats from before the cuts to grow old")
    status, body = readiness(stack)
    models = stack.client.get("/v1/models").json()["models"]
    job = stack.finished(stack.submit()["id"], 20)
    print(f"J15: 15 s after three cuts /readyz {status}, workers {body['workers']}, a job {job['status']}")
    assert (status, body["workers"], job["status"]) == (200, ["w1@test"], "succeeded")
    assert any(model["installed_on"] for model in models)
    assert body["queues"] == dict.fromkeys(QUEUES, 1)
