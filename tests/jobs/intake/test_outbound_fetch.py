"""URLs given by users reach public addresses only. All traffic of these tests stays on the loopback interface."""

import http.server
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpcore
import pytest
import trustme

from jobs.errors import BadInput, TooLarge
from jobs.intake.outbound import Connect, fetch
from tests.jobs.intake.outbound import OTHER_PUBLIC, PUBLIC, REFUSED, error_of, resolving

BODY = b"pixels " * 1_000

# A real TLS server, which the tests reach under a public address


class Handler(http.server.BaseHTTPRequestHandler):
    """Responds by path; `/to/…` redirects, `/drip` sends a byte from time to time and never ends."""

    def do_GET(self) -> None:
        name = self.path.split("/")[1].split("?")[0].replace("-", "_")
        getattr(self, f"answer_{name}", self.answer_ok)()

    def answer_ok(self, status: int = 200, body: bytes = BODY) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer_echo(self) -> None:
        lines = [self.path, *(f"{name}: {value}" for name, value in self.headers.items())]
        self.answer_ok(body="\n".join(lines).encode())

    def answer_missing(self) -> None:
        self.answer_ok(404)

    def answer_redirect_to_nowhere(self) -> None:
        self.answer_ok(302)

    def answer_to(self) -> None:
        self.send_response(302)
        self.send_header("location", self.path.removeprefix("/to/"))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer_loop(self) -> None:
        self.path = f"/to//loop/{self.path.count('x') * 'x'}x"
        self.answer_to()

    def answer_unending(self) -> None:
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(bytes(10_000))

    def answer_lying(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            self.wfile.write(b"2710\r\n" + bytes(10_000) + b"\r\n")

    def answer_cut(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"half")

    def answer_drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        self._drip(b"x")

    def answer_drip_headers(self) -> None:
        self.send_response(200)
        self._drip(b"X-More: y\r\n")

    def _drip(self, piece: bytes) -> None:
        for _ in range(200):
            self.wfile.write(piece)
            self.wfile.flush()
            time.sleep(0.05)

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing."""


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores clients that hang up or refuse the certificate, as the tests do on purpose."""


AUTHORITY = trustme.CA()


def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Port of a local server with a certificate for images.example and 93.184.216.34."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("images.example", PUBLIC).configure_cert(context)
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


class Dialled:
    """Returns a connect function that reaches the local server for every address, and records the addresses."""

    def __init__(self, local_port: int) -> None:
        self.local_port = local_port
        self.asked: list[tuple[str, int]] = []

    def __call__(self, address: str, port: int, timeout: float) -> httpcore.NetworkStream:
        self.asked.append((address, port))
        return httpcore.SyncBackend().connect_tcp("127.0.0.1", self.local_port, timeout)


@pytest.fixture
def dialled(port: int) -> Dialled:
    return Dialled(port)


@pytest.fixture
def options(dialled: Dialled) -> dict[str, Any]:
    return {"resolve": resolving(PUBLIC), "connect": dialled, "ssl_context": client_context()}


def get(path: str, options: dict[str, Any], **more: Any) -> bytes:
    return fetch("https://images.example" + path, **{"max_bytes": 100_000, "timeout_s": 5.0, **options, **more})


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    "options",
    [
        {"resolve": failing(socket.gaierror(-2, "Name or service not known"))},
        {"resolve": failing(UnicodeError("label too long"))},
        {"resolve": resolving()},
        {"resolve": resolving("not an address")},
        {"resolve": resolving(PUBLIC), "connect": failing(httpcore.ConnectError("refused"))},
        {"resolve": resolving(PUBLIC), "connect": failing(httpcore.ConnectTimeout("timed out"))},
    ],
)
def test_unreachable_reads_like_refused(options: dict[str, Any]) -> None:
    assert error_of("https://images.example/", **options) == REFUSED


# Successful fetches, redirects and limits


def test_fetch(options: dict[str, Any], dialled: Dialled) -> None:
    assert get("/image.png", options) == BODY
    assert dialled.asked == [(PUBLIC, 443)]


def test_request_as_sent(options: dict[str, Any]) -> None:
    path, *headers = get("/echo/a;b=1?c=%20d#e", options).decode().split("\n")
    assert path == "/echo/a;b=1?c=%20d"
    assert sorted(headers) == [
        "Accept-Encoding: identity",
        "Accept: image/*",
        "Host: images.example",
        "User-Agent: Atelier",
    ]


def test_other_port_and_literal_address(options: dict[str, Any], dialled: Dialled) -> None:
    assert fetch("https://images.example:8443/", max_bytes=9_999, timeout_s=5, **options) == BODY
    assert fetch(f"https://{PUBLIC}/", max_bytes=9_999, timeout_s=5, **options) == BODY
    assert dialled.asked == [(PUBLIC, 8443), (PUBLIC, 443)]


def test_proxies_of_the_environment_are_not_used(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert get("/", options) == BODY


def test_second_address_is_tried(options: dict[str, Any], dialled: Dialled) -> None:
    def connect(address: str, port: int, timeout: float) -> httpcore.NetworkStream:
        if address == OTHER_PUBLIC:
            assert timeout <= 2.5  # half of the time is kept for the other address
            raise httpcore.ConnectError("no route")
        return dialled(address, port, timeout)

    assert get("/", options, resolve=resolving(OTHER_PUBLIC, PUBLIC), connect=connect) == BODY


def test_rebinding(options: dict[str, Any], dialled: Dialled) -> None:
    """A name that resolves to a public address first and a private one later is resolved once."""
    answers = iter([PUBLIC, "127.0.0.1", "127.0.0.1"])
    asked: list[str] = []

    def resolve(host: str, port: int, **options: Any) -> list[tuple[Any, ...]]:
        asked.append(host)
        return resolving(next(answers))(host, port, **options)

    assert get("/", options, resolve=resolve) == BODY
    print(f"S2: a name that rebinds: {len(asked)} lookup, connected to {dialled.asked}")
    assert asked == ["images.example"]
    assert dialled.asked == [(PUBLIC, 443)]


@pytest.mark.parametrize("host", ["other.example", "8.8.8.8"])
def test_certificate_must_name_the_host(host: str, options: dict[str, Any]) -> None:
    assert error_of(f"https://{host}/", **options) == REFUSED


def test_certificate_must_be_trusted(options: dict[str, Any]) -> None:
    assert error_of("https://images.example/", **{**options, "ssl_context": None}) == REFUSED


def test_redirects_up_to_three(options: dict[str, Any]) -> None:
    assert get("/to//to//to//end", options) == BODY
    assert error_of("https://images.example/to//to//to//to//end", **options) == REFUSED
    assert error_of("https://images.example/loop/", **options) == REFUSED


def by_name(host: str, port: int, **options: Any) -> list[tuple[Any, ...]]:
    addresses = {"images.example": PUBLIC, "inside.example": "10.0.0.7", PUBLIC: PUBLIC}
    return resolving(addresses.get(host, host.strip("[]")))(host, port)


@pytest.mark.parametrize(
    "target",
    [
        "https://inside.example/",
        "https://169.254.169.254/latest",
        "https://[::1]/",
        "//inside.example/",
        "https://u@b.example/",
        "http://images.example/",
        "file:///etc/passwd",
        "https://images.example:25/",
        "javascript:1",
    ],
)
def test_redirect_is_checked_again(target: str, options: dict[str, Any], dialled: Dialled) -> None:
    assert error_of(f"https://images.example/to/{target}", **{**options, "resolve": by_name}) == REFUSED
    print(f"S2: redirect to {target} refused, {len(dialled.asked)} connection")
    assert dialled.asked == [(PUBLIC, 443)]


def test_redirect_to_another_public_host(options: dict[str, Any], dialled: Dialled) -> None:
    assert get(f"/to/https://{PUBLIC}/end", options, resolve=by_name) == BODY
    assert len(dialled.asked) == 2


@pytest.mark.parametrize("path", ["/unending", "/lying", "/image"])
def test_too_large(path: str, options: dict[str, Any]) -> None:
    with pytest.raises(TooLarge) as error:
        get(path, options, max_bytes=6_999)
    assert (error.value.code, error.value.details) == ("url_too_large", {"max_bytes": 6_999})


def test_largest_allowed(options: dict[str, Any]) -> None:
    assert get("/image", options, max_bytes=7_000) == BODY


@pytest.mark.parametrize(("path", "status"), [("/missing", 404), ("/redirect-to-nowhere", 302)])
def test_status(path: str, status: int, options: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as error:
        get(path, options)
    assert (error.value.code, error.value.details) == ("url_not_fetched", {"status": status})


@pytest.mark.parametrize("path", ["/drip", "/drip-headers", "/to//drip"])
def test_dripping_is_cut_off(path: str, options: dict[str, Any]) -> None:
    started = time.monotonic()
    assert error_of("https://images.example" + path, **options, timeout_s=0.4) == REFUSED
    assert time.monotonic() - started < 1


def test_cut_body_is_refused(options: dict[str, Any]) -> None:
    assert error_of("https://images.example/cut", **options) == REFUSED


def test_silent_server_is_cut_off(options: dict[str, Any]) -> None:
    """A port that accepts and sends nothing: the TLS handshake is limited to the remaining time, too."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connect: Connect = Dialled(silent.getsockname()[1])
        started = time.monotonic()
        assert error_of("https://images.example/", **{**options, "connect": connect}, timeout_s=0.3) == REFUSED
        assert time.monotonic() - started < 0.8
