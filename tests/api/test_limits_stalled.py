"""A client that stalls or drips is let go, and its share of the budget is given back."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

import api.bounds
import api.server
from api.bounds import Bound, Budget, bound_body
from tests.api.conftest import GET
from tests.stack import free_port, wait_until


class Served(NamedTuple):
    """A server; `send` sends bytes and reads until it closes the connection."""

    port: int
    send: Callable[..., bytes]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A small application behind the real server and bounds, with short times."""
    monkeypatch.setattr(api.server, "HEAD_TIMEOUT_S", 0.3)
    monkeypatch.setattr(api.server, "LINGER_S", 0.3)
    monkeypatch.setattr(api.bounds, "IDLE_S", 0.3)
    monkeypatch.setattr(api.bounds, "GRACE_S", 0.6)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.exceptions import HTTPException

        status = 200
        try:
            while scope["path"] != "/early" and (await receive()).get("more_body"):
                pass
        except HTTPException as error:
            status = error.status_code
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    port = free_port()
    bound = Bound(1_000_000, Budget(1_500_000))
    app = bound_body(answer, lambda path, content_type: bound)
    config = uvicorn.Config(app, port=port, http=api.server.BoundedProtocol, lifespan="off", log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, 10, "the server")

    def send(data: bytes, *, then: bytes = b"", every_s: float = 0.1) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(data)
            for i in range(len(then)):
                time.sleep(every_s)
                try:
                    client.sendall(then[i : i + 1])
                except OSError:
                    break
            answer = b""
            while piece := client.recv(65536):
                answer += piece
            return answer

    yield Served(port, send)
    server.should_exit = True
    thread.join()


POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", b""),
        (b"GET / HT", b"408"),
        (GET, b"408"),
        (POST, b"408"),
        (POST + b"abc", b"408"),
        (POST.replace(b"/ ", b"/early "), b"200"),
        (POST.replace(b"1000", b"1500000"), b"413"),
    ],
    ids=["nothing", "half a line", "half a head", "no body", "half a body", "answer before the body", "too much"],
)
def test_stalled_client_is_let_go(served: Served, data: bytes, status: bytes) -> None:
    started = time.monotonic()
    assert served.send(data)[9:12] == status
    assert time.monotonic() - started < 3


def test_dripping_body_is_let_go(served: Served) -> None:
    """Single bytes at intervals do not keep a connection open forever."""
    started = time.monotonic()
    assert served.send(POST, then=b"x" * 30, every_s=0.1)[9:12] == b"408"
    assert time.monotonic() - started < 5


def test_dripping_headers_are_let_go(served: Served) -> None:
    started = time.monotonic()
    with contextlib.suppress(ConnectionError):
        assert served.send(GET, then=b"x" * 30, every_s=0.1)[9:12] in (b"408", b"")
    assert time.monotonic() - started < 5


def test_budget_is_shared_and_given_back(served: Served) -> None:
    """Two bodies of 900 kB exceed the bound on all bodies; one after the other they pass."""

    def body(last_s: float) -> Iterator[bytes]:
        yield bytes(899_999)
        time.sleep(last_s)
        yield b"\0"

    def post(last_s: float = 0) -> int:
        return httpx.post(f"http://127.0.0.1:{served.port}/", content=body(last_s)).status_code

    with ThreadPoolExecutor(1) as clients:
        first = clients.submit(post, 0.25)
        time.sleep(0.1)
        assert post() == 429
        assert first.result() == 200
    assert post() == 200
