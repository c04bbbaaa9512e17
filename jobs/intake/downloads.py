"""Downloads files of any size from URLs that users give, through the guard of `jobs.intake.outbound`.

An interrupted download resumes where it stopped, if the server says that the file is still the same (RFC 9110, 14.2).
"""

import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

import httpcore

from jobs.errors import BadInput
from jobs.intake.outbound import (
    MAX_REDIRECTS,
    REDIRECTS,
    Connect,
    PublicNetwork,
    Resolve,
    dial,
    parse,
    public_pool,
    target,
)

CHUNK = 4 << 20  # bytes between two reports
OnBytes = Callable[[int, int], None]  # (bytes so far, bytes in all)
Headers = Mapping[str, str]
PARTIAL, TAG = ".partial", ".etag"


class Network(NamedTuple):
    """How downloads reach hosts. timeout_s: seconds without a byte before one ends."""

    timeout_s: float = 30
    resolve: Resolve = socket.getaddrinfo
    connect: Connect = dial
    ssl_context: ssl.SSLContext | None = None


class Offered(NamedTuple):
    """What a server says of a file; sha256: where the Hugging Face hub names it."""

    size: int | None
    sha256: str | None


def look(url: str, headers: Headers, network: Network) -> Offered:
    """Asks for the size of a file; raises BadInput as `download`."""
    guard = PublicNetwork(network.timeout_s, network.resolve, network.connect)
    with public_pool(guard, network.ssl_context) as pool:
        for _ in range(MAX_REDIRECTS + 1):
            with _ask(pool, "HEAD", url, headers) as response:
                found = _headers(response)
                linked = found.get("x-linked-etag", "").strip('"')  # of a large file of the hub, at another host
                if response.status in REDIRECTS and not linked and "location" in found:
                    url, headers = _next(url, found["location"], headers)
                    continue
                if not linked:
                    _check_status(response.status)
                size = found.get("x-linked-size") or found.get("content-length")
                return Offered(int(size) if size else None, linked if len(linked) == 64 else None)
        raise ValueError("too many redirects")


def download(url: str, path: Path, on_bytes: OnBytes, headers: Headers, network: Network) -> None:
    """Downloads an https URL to a file, following at most 3 redirects; `on_bytes` may raise to stop.

    What has arrived stays beside `path`, and the next call continues from it. headers: sent to the URL's own host only.
    Raises BadInput `url_not_allowed` for a URL that is refused, or stops responding, and `url_not_fetched` for a status
    other than 2xx and for a file of unknown size.
    """
    guard = PublicNetwork(network.timeout_s, network.resolve, network.connect)
    partial, tag = path.with_name(path.name + PARTIAL), path.with_name(path.name + TAG)
    asked = dict(headers)
    if partial.is_file() and tag.is_file():
        asked |= {"Range": f"bytes={partial.stat().st_size}-", "If-Range": tag.read_text(encoding="ascii")}
    with public_pool(guard, network.ssl_context) as pool:
        for _ in range(MAX_REDIRECTS + 1):
            with _ask(pool, "GET", url, asked) as response:
                found = _headers(response)
                if response.status in REDIRECTS and "location" in found:
                    url, asked = _next(url, found["location"], asked)
                    continue
                if response.status == 416:  # everything has arrived, or the file was replaced by a shorter one
                    tag.unlink()
                    raise ConnectionError("the range is refused")
                _check_status(response.status)
                _pour(response, found, partial, tag, on_bytes, guard)
            partial.replace(path)
            tag.unlink(missing_ok=True)
            return
        raise ValueError("too many redirects")


def _pour(
    response: httpcore.Response, found: Headers, partial: Path, tag: Path, on_bytes: OnBytes, guard: PublicNetwork
) -> None:
    """Appends the body to what has arrived, or writes it anew; raises ConnectionError if it ends early."""
    resumed = response.status == 206
    done = partial.stat().st_size if resumed else 0
    if resumed and not found.get("content-range", "").startswith(f"bytes {done}-"):
        raise ConnectionError("the server sent another range")
    if not found.get("content-length", "").isdigit():
        raise BadInput("url_not_fetched", "The URL does not say how large the file is.", status=response.status)
    total = done + int(found["content-length"])
    etag = found.get("etag", "")
    if etag and not etag.startswith("W/"):
        tag.write_text(etag, encoding="ascii")
    else:
        tag.unlink(missing_ok=True)
    with partial.open("ab" if resumed else "wb") as file:
        on_bytes(done, total)
        reported = done
        for chunk in response.iter_stream():
            guard.extend()
            file.write(chunk)
            done += len(chunk)
            if done - reported >= CHUNK or done >= total:
                file.flush()
                on_bytes(done, total)
                reported = done
    if done != total:
        raise ConnectionError("the body ended early")


def _ask(
    pool: httpcore.ConnectionPool, method: str, url: str, headers: Headers
) -> AbstractContextManager[httpcore.Response]:
    parts = parse(url)
    sent = {"Host": parts.netloc, "User-Agent": "Atelier", "Accept-Encoding": "identity", **headers}
    return pool.stream(method, target(parts), headers=[*sent.items()])


def _headers(response: httpcore.Response) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}


def _next(url: str, location: str, headers: Headers) -> tuple[str, dict[str, str]]:
    """The URL of a redirect, and the headers that its host may see."""
    following = urljoin(url, location)
    is_same = urlsplit(following).netloc == urlsplit(url).netloc
    return following, {name: value for name, value in headers.items() if is_same or name != "Authorization"}


def _check_status(status: int) -> None:
    if not 200 <= status < 300:
        raise BadInput("url_not_fetched", f"The URL returned status {status}.", status=status)
