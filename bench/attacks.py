"""Measures how harmful requests affect the others: `python -m bench.attacks`.

Sends one kind of harmful requests after another to a real installation, then opens 1,000 event streams, while a
separate process polls `/healthz` and reads the memory of the API.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import resource
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from io import BytesIO
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, cast

from PIL import Image

from jobs.store.records import QUEUES, NewJob
from tests.stack import Stack

STREAMS = 1_000
Answers = Counter[str]


def main() -> None:
    """Starts the stack, sends the requests and prints one table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="+", choices=[*ATTACKS, "streams"], help="some of them")
    chosen = parser.parse_args().only or [*ATTACKS, "streams"]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), ATELIER_MAX_QUEUE="1000000")
        try:
            stack.start_valkey()
            stack.start_api("api.main:app")
            print(f"{'attack':34}{'worst /healthz':>15}{'resident':>10}  answers")
            for name in (name for name in ATTACKS if name in chosen):
                _measured(stack, name, ATTACKS[name])
            if "streams" in chosen:
                _measured(stack, f"{STREAMS} streams of events", _streams)
        finally:
            stack.stop()
    print("aims: /healthz under 1 s, resident under 512 MB, under 20 Redis connections")


def _measured(stack: Stack, name: str, attack: Callable[[Stack], Answers]) -> None:
    with _watched(stack) as seen:
        answers = attack(stack)
    words = ", ".join(f"{count} x {answer}" for answer, count in answers.most_common())
    print(f"{name:34}{seen['worst'] * 1000:12.0f} ms{seen['resident'] / 2**20:7.0f} MB  {words}", flush=True)


@contextmanager
def _watched(stack: Stack) -> Iterator[dict[str, float]]:
    """Measures the slowest `/healthz` (s) and the peak resident bytes of the API during the block."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    ready, done = context.Event(), context.Event()
    arguments = (stack.api_port, stack.processes["api"].pid, ready, done, theirs)
    watcher = context.Process(target=_watch, args=arguments)
    watcher.start()
    ready.wait()
    seen: dict[str, float] = {}
    try:
        yield seen
        time.sleep(0.2)
    finally:
        done.set()
        seen.update(ours.recv())
        watcher.join()


def _watch(port: int, pid: int, ready: Event, done: Event, result: Any) -> None:
    worst, resident = 0.0, 0
    ready.set()
    while not done.is_set():
        started = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()
        worst = max(worst, time.perf_counter() - started)
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        resident = max(resident, pages * os.sysconf("SC_PAGE_SIZE"))
        done.wait(0.02)
    result.send({"worst": worst, "resident": resident})


# --- attacks --------------------------------------------------------------------------------------------------------


def _nothing(stack: Stack) -> Answers:
    time.sleep(2)
    return Counter()


def _json(body: Callable[[], bytes], n: int) -> Callable[[Stack], Answers]:
    """Sends the same JSON body from n clients at once."""

    def attack(stack: Stack) -> Answers:
        data = body()
        headers = {"Content-Type": "application/json"}
        return _together(n, lambda: _post(stack, "/v1/style-transfers", data, headers))

    return attack


def _post(stack: Stack, path: str, body: bytes, headers: dict[str, str]) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", stack.api_port, timeout=300)
    try:
        connection.request("POST", path, body, headers)
        return str(connection.getresponse().status)
    except OSError as error:
        return type(error).__name__
    finally:
        connection.close()


def _together(n: int, call: Callable[[], str]) -> Answers:
    with ThreadPoolExecutor(n) as clients:
        return Counter(clients.map(lambda _: call(), range(n)))


def _keys(n: int) -> bytes:
    return json.dumps({f"key{i}": i for i in range(n)}).encode()


def _data_url(n: int) -> bytes:
    return b'{"style": "builtin:1", "content": "data:image/png;base64,' + b"A" * n + b'"}'


def _images(stack: Stack) -> Answers:
    """Uploads 25 megapixels in 84 KB from each of sixty clients."""
    file = BytesIO()
    Image.new("RGB", (5_000, 5_000), (200, 30, 30)).save(file, "PNG")
    head = b'--y\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    body = head + file.getvalue() + b"\r\n--y--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=y"}
    return _together(60, lambda: _post(stack, "/v1/images", body, headers))


def _headers(stack: Stack) -> Answers:
    """Sends a header of 300 MB from each of four clients."""

    def send() -> str:
        sent = 0
        with socket.create_connection(("127.0.0.1", stack.api_port), timeout=60) as client:
            try:
                client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ")
                for sent in range(300):  # noqa: B007  # said below
                    client.sendall(b"a" * 1_000_000)
                return client.recv(64)[9:12].decode()
            except OSError:
                return f"closed after {sent} MB"

    return _together(4, send)


def _stalled(path: str, content_type: str, start: bytes) -> Callable[[Stack], Answers]:
    """Sends only the start of a body from each of 500 clients."""

    def attack(stack: Stack) -> Answers:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: 20000000\r\n\r\n"
        with ExitStack() as clients:
            for _ in range(500):
                client = clients.enter_context(socket.create_connection(("127.0.0.1", stack.api_port), timeout=60))
                client.setblocking(False)
                _send_what_fits(client, head.encode() + start)
            time.sleep(5)
        return Counter({"stalled": 500})

    return attack


def _send_what_fits(client: socket.socket, data: bytes) -> None:
    deadline = time.monotonic() + 0.5
    while data and time.monotonic() < deadline:
        try:
            data = data[client.send(data) :]
        except BlockingIOError:
            time.sleep(0.005)
        except OSError:
            return


FORM = b'--y\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n' + bytes(1_000_000)
ATTACKS: dict[str, Callable[[Stack], Answers]] = {
    "nothing": _nothing,
    "23 MB of unknown keys, 8 clients": _json(lambda: _keys(1_500_000), 8),
    "0.9 MB of unknown keys, 32 clients": _json(lambda: _keys(50_000), 32),
    "24 MB of [], 8 clients": _json(lambda: b"[" + b"[]," * 8_000_000 + b"[]]", 8),
    "1 MB of [], 32 clients": _json(lambda: b"[" + b"[]," * 330_000 + b"[]]", 32),
    "33 MB data: URL, 8 clients": _json(lambda: _data_url(33_000_000), 8),
    "300 MB header, 4 clients": _headers,
    "500 stalled uploads of 1 MB": _stalled("/v1/images", "multipart/form-data; boundary=y", FORM),
    "500 stalled JSON bodies of 1 MB": _stalled("/v1/generations", "application/json", _data_url(1_000_000)),
    "500 idle connections": _stalled("/v1/images", "multipart/form-data; boundary=y", b""),
    "60 uploads of 25 megapixels": _images,
}


# --- streams --------------------------------------------------------------------------------------------------------


def _streams(stack: Stack) -> Answers:
    """Follows STREAMS jobs from one client; prints the number of connections that Redis then has."""
    jobs = stack.jobs
    ids = [jobs.create(NewJob(kind="style-transfer", queue=QUEUES[0], params={"seed": 1}))[0] for _ in range(STREAMS)]
    jobs.client.close()
    before, opened = _clients(stack), list[socket.socket]()
    with ExitStack() as clients:
        for job_id in ids:
            client = clients.enter_context(socket.create_connection(("127.0.0.1", stack.api_port), timeout=60))
            client.sendall(f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            opened.append(client)
        time.sleep(10)
        connections = _clients(stack)
        answered = sum(client.recv(65536).startswith(b"HTTP/1.1 200") for client in opened)
    return Counter({f"Redis connections ({before} before), {answered} streams answered": connections})


def _clients(stack: Stack) -> int:
    """Number of Redis connections besides the one of this call."""
    redis = stack.redis
    connections = len(cast(list[Any], redis.client_list())) - 1
    redis.close()
    return connections


if __name__ == "__main__":
    main()
