"""SIGTERM ends the API within a bounded time, whatever its clients do."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from jobs.store.records import NewJob
from tests.stack import ROOT, Stack, wait_until

STOP_S = 4  # instead of the 10 of api/server.py
SERVE = f"import api.server; api.server.STOP_S = {STOP_S}; api.server.serve()"
PHOTO = (ROOT / "api" / "examples" / "coffee.webp").read_bytes()
BODY = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + PHOTO + b"\r\n--b--\r\n"
HEAD = (
    "POST /v1/images HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    f"Content-Length: {len(BODY)}\r\n\r\n"
)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """Valkey, and the API as it is run in production, which waits less for requests that still run."""
    made = Stack(tmp_path)
    made.start_valkey()
    made.start("api", sys.executable, "-c", SERVE)
    wait_until(lambda: made._api_answers(), 30, "the API")
    yield made
    made.stop()


def stop(stack: Stack, number: int) -> tuple[subprocess.Popen[bytes], float]:
    process = stack.processes["api"]
    process.send_signal(number)
    return process, time.monotonic()


def upload(stack: Stack, sent: int) -> socket.socket:
    """Opens a connection and sends the first `sent` bytes of an upload's body."""
    connection = socket.create_connection(("127.0.0.1", stack.api_port), timeout=30)
    connection.sendall(HEAD.encode() + BODY[:sent])
    return connection


def follow(stack: Stack, job_id: str, ended: list[float]) -> None:
    """Follows a job's events until they end and appends the time to `ended`."""
    try:
        with httpx.stream("GET", f"{stack.url}/v1/jobs/{job_id}/events", timeout=60) as answer:
            for _ in answer.iter_raw():
                pass
    except httpx.TransportError:
        pass
    ended.append(time.monotonic())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_stalled_uploads_and_open_streams(stack: Stack, number: int) -> None:
    job_id, _ = stack.jobs.create(NewJob(kind="probe", queue="fast", params={}))
    ended: list[float] = []
    listeners = [threading.Thread(target=follow, args=(stack, job_id, ended), daemon=True) for _ in range(5)]
    for listener in listeners:
        listener.start()
    stalled = [upload(stack, 1000 * n) for n in range(20)]  # some have sent headers only
    time.sleep(1)
    process, signaled = stop(stack, number)
    process.wait(30)
    stopped_s = time.monotonic() - signaled
    for listener in listeners:
        listener.join(10)
    streams_s = max(ended) - signaled
    print(f"20 stalled uploads, 5 streams: the API ended after {stopped_s:.1f} s, the streams after {streams_s:.1f} s")
    assert stopped_s < STOP_S + 3
    assert (len(ended), streams_s < 3) == (5, True)
    for connection in stalled:
        connection.close()


def test_request_that_ends_in_time_gets_its_answer(stack: Stack) -> None:
    slow = upload(stack, 5000)
    time.sleep(0.5)
    process, signaled = stop(stack, signal.SIGTERM)
    time.sleep(2)
    slow.sendall(BODY[5000:])
    answer = slow.recv(65536)
    process.wait(30)
    stopped_s = time.monotonic() - signaled
    print(f"an upload that took 2 s more got {answer[:12]!r}; the API ended after {stopped_s:.1f} s")
    assert answer.startswith(b"HTTP/1.1 201")
    assert stopped_s < 6
