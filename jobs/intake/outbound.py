"""Fetches images and weights from, and posts webhooks to, URLs of users; only public https addresses are reached.

Each hop resolves its host once, refuses it unless every address is public, and connects to the address that was
checked; TLS still verifies the host name. A private, closed, unknown or slow host gives the same error, so that a
response discloses nothing about the internal network. Proxies of the environment are not used.
"""

import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

import httpcore

from jobs.errors import BadInput, TooLarge

MAX_REDIRECTS = 3
HEADERS = [("User-Agent", "Atelier"), ("Accept", "image/*"), ("Accept-Encoding", "identity")]

Resolve = Callable[..., list[tuple[Any, ...]]]
Connect = Callable[[str, int, float], httpcore.NetworkStream]

dial: Connect = httpcore.SyncBackend().connect_tcp
REDIRECTS = {301, 302, 303, 307, 308}
_URL = re.compile(r"[!-\[\]-~]{1,2048}")  # printable ASCII without the backslash, which parsers treat differently
_GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")
# `ipaddress` calls these global, but they lead to other addresses or were reserved after its table was written.
_NOT_PUBLIC = [ipaddress.ip_network(net) for net in ("192.0.0.0/24", "192.88.99.0/24", "2002::/16", "3fff::/20")]


class Answer(NamedTuple):
    """What `post` returns."""

    status: int
    retry_after: str | None


def fetch(
    url: str,
    *,
    max_bytes: int,
    timeout_s: float,
    resolve: Resolve = socket.getaddrinfo,
    connect: Connect = dial,
    ssl_context: ssl.SSLContext | None = None,
) -> bytes:
    """Fetches an https URL, following at most 3 redirects, and returns the body.

    timeout_s: seconds for all hops together, including name resolution and a slow body.
    resolve, connect: like `socket.getaddrinfo`, and (address, port, timeout) -> stream.

    Raises BadInput `url_not_allowed` for a URL that is refused or does not respond, BadInput `url_not_fetched` for a
    status other than 2xx, and TooLarge `url_too_large` above `max_bytes`.
    """
    with public_pool(PublicNetwork(timeout_s, resolve, connect), ssl_context) as pool:
        for _ in range(MAX_REDIRECTS + 1):
            body, location = _get(pool, parse(url), max_bytes)
            if location is None:
                return body
            url = urljoin(url, location)
        raise ValueError("too many redirects")


def post(
    url: str,
    body: bytes,
    headers: dict[str, str],
    *,
    timeout_s: float,
    resolve: Resolve = socket.getaddrinfo,
    connect: Connect = dial,
    ssl_context: ssl.SSLContext | None = None,
) -> Answer:
    """Posts `body` to an https URL and returns the status and Retry-After; redirects are not followed.

    The other arguments are those of `fetch`. Raises BadInput `url_not_allowed`.
    """
    with public_pool(PublicNetwork(timeout_s, resolve, connect), ssl_context) as pool:
        parts = parse(url)
        sent = [("Host", parts.netloc), ("User-Agent", "Atelier"), *headers.items()]
        with pool.stream("POST", target(parts), headers=sent, content=body) as response:
            found = [value.decode("latin-1") for name, value in response.headers if name.lower() == b"retry-after"]
            return Answer(response.status, found[0] if found else None)


def check_url(url: str) -> None:
    """Raises BadInput `url_not_allowed` for a URL that is refused without resolving its host."""
    try:
        host = parse(url).hostname or ""
        refused = host.replace(":", "").replace(".", "").isdigit() and not is_public(host)
    except ValueError as error:
        raise _not_allowed() from error
    if refused:
        raise _not_allowed()


@contextmanager
def public_pool(network: "PublicNetwork", ssl_context: ssl.SSLContext | None) -> Iterator[httpcore.ConnectionPool]:
    """Opens a pool that connects to public addresses only; every failure inside raises `url_not_allowed`."""
    try:
        with httpcore.ConnectionPool(ssl_context or _default_ssl_context(), network_backend=network) as pool:
            yield pool
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError, ValueError) as error:
        raise _not_allowed() from error


def is_public(address: str) -> bool:
    """Whether an IP address is public.

    IPv6 addresses that contain an IPv4 address (mapped, 6to4, Teredo, NAT64) are not: their destination depends on the
    network. Raises ValueError if `address` is not an IP address.
    """
    ip = ipaddress.ip_address(address)
    if ip.version == 6 and ip not in _GLOBAL_IPV6:
        return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _NOT_PUBLIC)


class PublicNetwork(httpcore.NetworkBackend):
    """Connects to public addresses only, for `timeout_s` seconds from now or from the last call of `extend`."""

    def __init__(self, timeout_s: float, resolve: Resolve = socket.getaddrinfo, connect: Connect = dial) -> None:
        self.timeout_s = timeout_s
        self.resolve = resolve
        self.connect = connect
        self.extend()

    def extend(self) -> None:
        """Starts the time anew."""
        self._deadline = time.monotonic() + self.timeout_s

    def seconds_left(self) -> float:
        """Returns the seconds that are left; raises ReadTimeout if none are."""
        seconds = self._deadline - time.monotonic()
        if seconds <= 0:
            raise httpcore.ReadTimeout("the deadline of the whole fetch has passed")
        return seconds

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connects to the first public address of a host that answers."""
        addresses = self._public_addresses(host, port)
        for untried in range(len(addresses), 0, -1):
            try:  # an address that drops packets must leave time for the others
                stream = self.connect(addresses[-untried], port, self.seconds_left() / untried)
                return _DeadlineStream(stream, self)
            except (httpcore.NetworkError, httpcore.TimeoutException) as error:
                last = error
        raise last

    def _public_addresses(self, host: str, port: int) -> list[str]:
        executor = ThreadPoolExecutor(1)  # getaddrinfo has no timeout: the wait ends, the thread ends later
        answer = executor.submit(self.resolve, host, port, type=socket.SOCK_STREAM)
        executor.shutdown(wait=False)
        infos = answer.result(self.seconds_left())
        addresses = list(dict.fromkeys(info[4][0] for info in infos))
        if not addresses or not all(map(is_public, addresses)):
            raise httpcore.ConnectError("not a public host")
        return addresses


class _DeadlineStream(httpcore.NetworkStream):
    """A stream that limits each operation to the time left to a network."""

    def __init__(self, stream: httpcore.NetworkStream, network: PublicNetwork) -> None:
        self.stream = stream
        self.network = network

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, self.network.seconds_left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, self.network.seconds_left())

    def close(self) -> None:
        self.stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        stream = self.stream.start_tls(ssl_context, server_hostname, self.network.seconds_left())
        return _DeadlineStream(stream, self.network)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)


def parse(url: str) -> SplitResult:
    """Parses an https URL without user or password; raises ValueError for any other.

    The port must be 443 or at least 1024: the other low ports belong to services such as mail, which untrusted
    requests must not reach.
    """
    parts = urlsplit(url)
    port = 443 if parts.port is None else parts.port
    strict = _URL.fullmatch(url) and parts.scheme == "https" and parts.hostname and "@" not in parts.netloc
    if not strict or (port != 443 and port < 1024):
        raise ValueError("not a plain https URL")
    return parts


def target(parts: SplitResult) -> httpcore.URL:
    """Returns what a request of a URL asks its host for."""
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return httpcore.URL(scheme="https", host=parts.hostname or "", port=parts.port, target=path)


def _get(pool: httpcore.ConnectionPool, parts: SplitResult, max_bytes: int) -> tuple[bytes, str | None]:
    """Makes one hop; returns the body and, for a redirect, its location."""
    with pool.stream("GET", target(parts), headers=[("Host", parts.netloc), *HEADERS]) as response:
        headers = {name.lower(): value for name, value in response.headers}
        if response.status in REDIRECTS and b"location" in headers:
            return b"", headers[b"location"].decode("ascii")
        if not 200 <= response.status < 300:
            message = f"The URL returned status {response.status}."
            raise BadInput("url_not_fetched", message, status=response.status)
        return _read(response, max_bytes), None


def _read(response: httpcore.Response, max_bytes: int) -> bytes:
    """Reads the body and counts its bytes, since Content-Length may be wrong."""
    body = bytearray()
    for chunk in response.iter_stream():
        body += chunk
        if len(body) > max_bytes:
            message = f"The URL returned more than {max_bytes} bytes."
            raise TooLarge("url_too_large", message, max_bytes=max_bytes)
    return bytes(body)


def _not_allowed() -> BadInput:
    message = "The URL could not be fetched: it must be a public https URL that responds in time."
    return BadInput("url_not_allowed", message)


@lru_cache
def _default_ssl_context() -> ssl.SSLContext:
    return httpcore.default_ssl_context()
