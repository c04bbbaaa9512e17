"""Measures what the Python client adds to a request of httpx: `python -m bench.client`."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from atelier_client import Atelier
from tests.stack import Stack

CALLS = 1500  # of each


def main() -> None:
    """Starts the API, and prints the processor time of both, called in turn; waits depend on other processes."""
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder))
        try:
            stack.start_valkey()
            stack.start_api("api.main:app")
            _print(f"http://127.0.0.1:{stack.api_port}")
        finally:
            stack.stop()


def _print(url: str) -> None:
    with Atelier(url) as atelier, httpx.Client(base_url=url) as plain:
        calls: dict[str, Callable[[], object]] = {
            "httpx": lambda: plain.get("/healthz"),
            "client": lambda: atelier.request("GET", "/healthz"),
        }
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(CALLS):
            for name, call in calls.items():
                times[name].append(_ms(call))
    median = {name: statistics.median(each) for name, each in times.items()}
    for name, value in median.items():
        print(f"{name:8}{value:7.3f} ms of processor time a request")
    print(f"the client adds {median['client'] - median['httpx']:.3f} ms (aim: under 1 ms)")


def _ms(call: Callable[[], object]) -> float:
    start = time.thread_time()
    call()
    return (time.thread_time() - start) * 1000


if __name__ == "__main__":
    main()
