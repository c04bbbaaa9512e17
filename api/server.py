"""The HTTP server: uvicorn, with bounds on the bytes and the time of a request's headers.

uvicorn's httptools protocol collects headers of any length. Its h11 protocol bounds their bytes, but parses in Python,
and neither bounds the time between the first byte of a request and the end of its headers.
"""

import asyncio
import contextlib
import ctypes
import resource
import sys
import tempfile
from http import HTTPStatus
from pathlib import Path
from typing import Any

import uvicorn
from starlette.responses import JSONResponse
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.errors import answer
from jobs.settings import get_settings

MAX_HEAD_BYTES = 65_536  # of the request line and all headers
HEAD_TIMEOUT_S = 10.0  # from the first byte of a request, or from the connection, to the end of its headers
LINGER_S = 10.0  # how long the rest of a body is read and dropped once the answer is complete
STOP_S = 10  # requests that have not ended this long after SIGTERM are cut off, such as stalled uploads
_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
CLOSE = {"Connection": "close"}
MAX_FILES = 65_536
SWITCH_S = 0.0005  # how soon a thread lets the event loop go on; Python's 5 ms add up where many run


class BoundedProtocol(HttpToolsProtocol):
    """One connection: at most MAX_HEAD_BYTES of headers, each request's within HEAD_TIMEOUT_S."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.head_bytes: int | None = None  # of the headers now arriving, without the part they began in
        self.began = False
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the first request's headers their time."""
        super().connection_made(transport)
        self._start_timer(HEAD_TIMEOUT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer with the connection."""
        super().connection_lost(exc)
        self._stop_timer()

    def data_received(self, data: bytes) -> None:
        """Parse; refuse headers that are not complete within the bound."""
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
        """Count the bytes of this request's headers."""
        super().on_message_begin()
        self.began, self.head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """Start the request, or refuse it where the whole head came in one piece that is too large."""
        self.head_bytes = None
        self._stop_timer()
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        app = self.app
        if size > MAX_HEAD_BYTES:
            self.app = _head_too_large()
        super().on_headers_complete()
        self.app = app

    def on_response_complete(self) -> None:
        """Bound the time in which a body that nobody reads any more may go on."""
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body and not self.transport.is_closing():
            self._start_timer(LINGER_S)

    def on_message_complete(self) -> None:
        """Wait for the next request."""
        super().on_message_complete()
        self._stop_timer()
        if self.cycle.response_complete:  # uvicorn's timer of an idle connection ended with the first of these bytes
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
        """Answer outside the application and close; where an earlier answer is under way, only close."""
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
    """Serve an application, by its import path, at the address the settings name."""
    settings = get_settings()
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


def _return_freed_memory() -> None:
    """Have glibc give blocks of 1 MB and more back to the system as soon as they are freed.

    It would learn to keep blocks of up to 32 MB for each thread, and those of a decoded image are of 16: the process
    had 350 MB between two images, and 957 MB while it decoded the next.
    """
    with contextlib.suppress(OSError, AttributeError):  # where the C library is another one
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 20)


def _use_spool_dir(folder: Path) -> None:
    """Keep temporary files there: the system's folder for them is often in memory."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.tempdir = str(folder.resolve())
        tempfile.TemporaryFile().close()
    except OSError as error:
        sys.exit(f"ATELIER_SPOOL_DIR cannot be used: {error.strerror}.")


def _allow_connections() -> None:
    """Raise the limit of open files, one of which each connection is; many systems begin with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
