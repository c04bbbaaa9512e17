"""The HTTP server: uvicorn, with limits on the bytes and the time of a request's headers.

uvicorn's httptools protocol accepts headers of any length. Its h11 protocol limits their bytes, but parses in Python,
and neither limits the time between the first byte of a request and the end of its headers.
"""

import asyncio
import contextlib
import resource
import sys
import tempfile
from http import HTTPStatus
from pathlib import Path
from typing import Any

import uvicorn
from redis import RedisError
from starlette.responses import JSONResponse
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.errors import answer
from jobs.memory import MMAP_THRESHOLD, limit_arenas, set_malloc
from jobs.settings import Settings, get_settings
from jobs.store.client import connect
from jobs.store.jobs import JobStore

MAX_HEAD_BYTES = 65_536  # of the request line and all headers
HEAD_TIMEOUT_S = 10.0  # from the first byte of a request, or from the connection, to the end of its headers
LINGER_S = 10.0  # how long the rest of a body is read and dropped after the response
STOP_S = 10  # requests that still run this long after SIGTERM, such as stalled uploads, are aborted
CLOSE = {"Connection": "close"}
MAX_FILES = 65_536
SWITCH_S = 0.0005  # interval after which a thread yields; Python's default of 5 ms adds up over many threads


class BoundedProtocol(HttpToolsProtocol):
    """A connection that limits the headers of each request to MAX_HEAD_BYTES and HEAD_TIMEOUT_S."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.head_bytes: int | None = None  # of the headers being received, without the part in which they began
        self.began = False
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the timeout of the first headers."""
        super().connection_made(transport)
        self._start_timer(HEAD_TIMEOUT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the timer."""
        super().connection_lost(exc)
        self._stop_timer()

    def data_received(self, data: bytes) -> None:
        """Parses data; refuses headers that exceed the limit before they are complete."""
        self.began = False
        super().data_received(data)
        if self.transport.is_closing() or self.head_bytes is None:
            return
        self.head_bytes += 0 if self.began else len(data)
        if self.head_bytes > MAX_HEAD_BYTES:
            self._refuse(_head_too_large())
        elif self.timer is None:
            self._start_timer(HEAD_TIMEOUT_S)

    def on_message_begin(self) -> None:
        """Starts counting the bytes of the headers."""
        super().on_message_begin()
        self.began, self.head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """Starts the request, or refuses it if its complete headers are too large."""
        self.head_bytes = None
        self._stop_timer()
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        app = self.app
        if size > MAX_HEAD_BYTES:
            self.app = _head_too_large()
        super().on_headers_complete()
        self.app = app

    def on_response_complete(self) -> None:
        """Limits the time for the rest of a body that is no longer read."""
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body and not self.transport.is_closing():
            self._start_timer(LINGER_S)

    def on_message_complete(self) -> None:
        """Waits for the next request."""
        super().on_message_complete()
        self._stop_timer()
        if self.cycle.response_complete:  # uvicorn's idle timer ended with the first of these bytes
            self._start_timer(HEAD_TIMEOUT_S)

    def _start_timer(self, seconds: float) -> None:
        self._stop_timer()
        self.timer = self.loop.call_later(seconds, self._too_late)

    def _stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _too_late(self) -> None:
        self.timer = None
        if self.transport.is_closing():
            return
        if self.head_bytes is not None:
            self._refuse(answer(408, "request_timeout", "The headers did not arrive in time.", CLOSE))
        else:
            self.transport.close()

    def _refuse(self, response: JSONResponse) -> None:
        """Responds without the application and closes; only closes if an earlier response has not ended."""
        self._stop_timer()
        if self.cycle is None or self.cycle.response_complete:
            status = f"HTTP/1.1 {response.status_code} {HTTPStatus(response.status_code).phrase}\r\n".encode()
            headers = (b"%s: %s\r\n" % header for header in response.raw_headers)
            self.transport.write(b"".join([status, *headers, b"\r\n", bytes(response.body)]))
        self.transport.close()


def _head_too_large() -> JSONResponse:
    message = f"The request line and headers have more than {MAX_HEAD_BYTES} bytes."
    return answer(431, "headers_too_large", message, CLOSE, max_bytes=MAX_HEAD_BYTES)


def serve(app: str = "api.main:app") -> None:
    """Runs an application, given by its import path, at the address of the settings."""
    settings = get_settings()
    _refuse_if_open(settings)
    _use_spool_dir(settings.spool_dir)
    _return_freed_memory()
    _allow_connections()
    sys.setswitchinterval(SWITCH_S)
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        http=BoundedProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=STOP_S,
    )


def _refuse_if_open(settings: Settings) -> None:
    """Exits where everybody could reach the service and no key was made; without Redis, requests will need a key."""
    if settings.is_open:
        return
    with contextlib.suppress(RedisError):
        if not JobStore(connect(settings, attempts=3), settings).keys.exist():
            sys.exit(
                f"No API key was made, and {settings.host} is not a loopback address. Make one with "
                "`atelier-admin keys create NAME`, or set ATELIER_ALLOW_ANONYMOUS=true to serve everybody."
            )


def _return_freed_memory() -> None:
    """Makes glibc return blocks of 1 MB and more to the system as soon as they are freed.

    By default it learns to keep blocks of up to 32 MB per thread, and a decoded image has blocks of 16 MB: the process
    used 350 MB between two images, and 957 MB while it decoded the next one.
    """
    limit_arenas()
    set_malloc(MMAP_THRESHOLD, 1 << 20)


def _use_spool_dir(folder: Path) -> None:
    """Sets the folder of temporary files; the folder of the system is often in memory."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.tempdir = str(folder.resolve())
        tempfile.TemporaryFile().close()
    except OSError as error:
        sys.exit(f"ATELIER_SPOOL_DIR cannot be used: {error.strerror}.")


def _allow_connections() -> None:
    """Raises the limit of open files: each connection is one, and the default is often 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
