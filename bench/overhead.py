"""Measures what Atelier adds to a job: `python -m bench.overhead`.

Measures in one run, on the same Valkey: the round trip of a raw Celery message, the HTTP submit, a job without work
from submit to succeeded, submits per second from 16 clients, and the memory of the API process.
"""

import http.client
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from redis import Redis

from jobs.queue import make_celery
from tests.stack import Stack, wait_until

ROUNDS, CLIENTS, SUBMITS = 300, 16, 150


def main() -> None:
    """Starts the stack, measures and prints one table."""
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), ATELIER_MAX_QUEUE="100000", ATELIER_SWEEP_S="5", ATELIER_LEASE_S="30")
        try:
            _start(stack)
            _print(stack)
        finally:
            stack.stop()


def _start(stack: Stack) -> None:
    stack.start_valkey()
    stack.start("api", "python", "-c", _API.format(port=stack.api_port))
    wait_until(stack._api_answers, 30, "the API")
    stack.start_upkeep()
    stack.start_worker("w1", app="bench.noop:app")
    stack.start_worker("raw", queues="raw", app="bench.noop:raw")


_API = "import uvicorn; uvicorn.run('bench.noop:api_app', port={port}, log_config=None, access_log=False)"


def _print(stack: Stack) -> None:
    raw = _timed(_raw_round(stack), ROUNDS)
    submit = _timed(_submit(stack), ROUNDS)
    wait_until(lambda: not stack.jobs.depths()["fast"], 120, "an empty queue")
    whole = _timed(_submit(stack, {"Prefer": "wait=10"}), ROUNDS)
    rate, errors = _throughput(stack)
    memory = _resident_mb(stack.processes["api"].pid)
    median = statistics.median
    print(f"{'':34}{'p50':>9}{'p95':>9}")
    for name, times in (("raw Celery, round trip    ", raw), ("HTTP submit", submit), ("submit to succeeded", whole)):
        print(f"{name:34}{median(times):7.2f}ms{statistics.quantiles(times, n=20)[-1]:7.2f}ms")
    print(f"submit to succeeded / raw Celery  {median(whole) / median(raw):8.1f}x  (aim: at most 6x)")
    print(f"submit p50                        {median(submit):7.2f}ms  (aim: under 6 ms)")
    print(f"submits/s from {CLIENTS} clients         {rate:8.0f}   (aim: over 250; {errors} errors)")
    print(f"API process, resident             {memory:6.0f}MB  (aim: under 150 MB)")


def _timed(call: Callable[[], object], rounds: int) -> list[float]:
    """Milliseconds of each call, after twenty warm-up calls."""
    times = []
    for _ in range(rounds + 20):
        started = time.perf_counter()
        call()
        times.append((time.perf_counter() - started) * 1000)
    return times[20:]


def _raw_round(stack: Stack) -> Callable[[], object]:
    celery = make_celery(stack.settings)
    replies: Redis = Redis.from_url(stack.settings.redis_url)

    def round_trip() -> object:
        celery.send_task("bench.echo", args=[1], queue="raw", ignore_result=True)
        return replies.blpop(["bench:replies"], timeout=10)

    return round_trip


def _submit(stack: Stack, headers: dict[str, str] | None = None) -> Callable[[], int]:
    """Returns a client with one persistent connection; each call submits a job and returns the status."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.api_port)
    body = json.dumps({"seed": 1})
    sent = {"Content-Type": "application/json", **(headers or {})}
    expected = 200 if headers else 202

    def submit() -> int:
        connection.request("POST", "/v1/noops", body, sent)
        answer = connection.getresponse()
        answer.read()
        return int(answer.status != expected)

    return submit


def _throughput(stack: Stack) -> tuple[float, int]:
    """Submits per second over all clients, and the number of refused ones."""

    def client(_: int) -> int:
        submit = _submit(stack)
        return sum(submit() for _ in range(SUBMITS))

    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        errors = sum(pool.map(client, range(CLIENTS)))
    return CLIENTS * SUBMITS / (time.perf_counter() - started), errors


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
