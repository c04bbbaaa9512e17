"""Limits of request bodies while they arrive: bytes and time of each, and bytes of all together."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import answer
from jobs.settings import Settings

MAX_JSON_BYTES = 1_000_000  # of a JSON body without its `data:` URLs
IDLE_S = 20.0  # the maximum pause between two parts of a body
GRACE_S, MIN_BYTES_PER_S = 30.0, 16_384  # a body must arrive within GRACE_S plus its size at this rate
CLOSE = {"Connection": "close"}
BODY = "atelier.body"  # key of the `_Body` in the scope of a request
DATA_URL = b'"data:'
# A form has one file and no other field. Files above SPOOL_BYTES are written to the spool folder.
SPOOL_BYTES = 65_536
FORM_LIMITS: Any = {"max_files": 2, "max_fields": 8, "max_part_size": 1024}
MultiPartParser.spool_max_size = SPOOL_BYTES


class Budget:
    """Bytes that all bodies of one kind share.

    A body with more than `small` bytes reserves its maximum size, so that of several large bodies some arrive
    completely and the others are refused early, instead of all failing halfway.
    """

    def __init__(self, n_bytes: int, small: int | None = None) -> None:
        self.left = n_bytes
        self.small = small

    def take(self, n_bytes: int) -> None:
        """Reserves bytes; raises HTTPException 429 if too few are left."""
        if n_bytes > self.left:
            message = "The service is at its limit of received bytes; try again shortly."
            raise HTTPException(429, message, {"Retry-After": "5"})
        self.left -= n_bytes

    def give_back(self, n_bytes: int) -> None:
        """Releases reserved bytes."""
        self.left += n_bytes


@dataclass(frozen=True)
class Bound:
    """Limits of one body: `max_bytes` in total, and `max_json_bytes` outside `data:` URLs."""

    max_bytes: int
    budget: Budget
    max_json_bytes: int | None = None


Bounds = Callable[[str, bytes], Bound]  # by a request's path and content type


def body_bounds(settings: Settings) -> Bounds:
    """Returns the limits of bodies by path and content type.

    The `data:` URLs of one body may have as many bytes as one upload. All JSON bodies together may use three times that
    in memory, and all uploads together four times the largest archive in the spool folder.
    """
    spool = Budget(4 * max(settings.max_archive_bytes, settings.max_upload_bytes))
    max_json = settings.max_upload_bytes * 4 // 3 + MAX_JSON_BYTES
    memory = Budget(3 * max_json, MAX_JSON_BYTES)
    json, other = Bound(max_json, memory, MAX_JSON_BYTES), Bound(MAX_JSON_BYTES, memory)
    uploads = {
        "/v1/images": Bound(settings.max_upload_bytes, spool),
        "/v1/archives": Bound(settings.max_archive_bytes, spool),
        "/openai/v1/images/edits": Bound(settings.max_upload_bytes, spool),
        "/openai/v1/images/variations": Bound(settings.max_upload_bytes, spool),
    }
    return lambda path, content_type: uploads.get(path) or (json if b"json" in content_type.lower() else other)


class JsonBytes:
    """Counts the bytes of a JSON text outside the strings that begin with `data:`, part by part.

    Such a string is assumed to end at the next quote, since base64 has no escaped quotes. In valid JSON the uncounted
    bytes therefore never extend beyond one string.
    """

    def __init__(self) -> None:
        self.count = 0
        self._inside = False  # inside a `data:` URL
        self._tail = b""  # the end of the last part, which may be the start of DATA_URL

    def add(self, part: bytes) -> None:
        """Counts one more part."""
        text = self._tail + part
        self.count -= len(self._tail)
        position = 0
        while position < len(text):
            end = text.find(b'"' if self._inside else DATA_URL, position)
            if not self._inside:
                self.count += (len(text) if end < 0 else end + len(DATA_URL)) - position
            if end < 0:
                break
            position = end + (1 if self._inside else len(DATA_URL))
            self._inside = not self._inside
        self._tail = b"" if self._inside else text[max(position, len(text) - len(DATA_URL) + 1) :]


class _Body:
    """A body that is being received: counts its bytes and enforces its limits."""

    def __init__(self, bound: Bound, declared: int | None) -> None:
        self.bound = bound
        self.max_size = bound.max_bytes if declared is None else declared
        self.received = self.taken = 0
        self.json = JsonBytes() if bound.max_json_bytes is not None else None
        self.complete = False
        self.started = asyncio.get_running_loop().time()

    async def receive(self, receive: Receive) -> Message:
        """Receives the next part; raises HTTPException 408, 413 or 429."""
        if self.complete:
            return await receive()
        loop = asyncio.get_running_loop()
        deadline = self.started + GRACE_S + self.received / MIN_BYTES_PER_S
        try:
            async with asyncio.timeout_at(min(loop.time() + IDLE_S, deadline)):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, "The body did not arrive in time.", CLOSE) from None
        self.complete = not message.get("more_body", False)
        self._count(message.get("body", b""))
        return message

    def _count(self, part: bytes) -> None:
        self.received += len(part)
        if self.received > self.bound.max_bytes:
            raise HTTPException(413, too_large(self.bound))
        budget = self.bound.budget
        is_large = budget.small is not None and self.received > budget.small
        needed = max(self.received, self.max_size if is_large else 0) - self.taken
        budget.take(needed)
        self.taken += needed
        if self.json is not None and self.bound.max_json_bytes is not None:
            self.json.add(part)
            if self.json.count > self.bound.max_json_bytes:
                message = f"The body has more than {self.bound.max_json_bytes} bytes outside its `data:` URLs."
                raise HTTPException(413, message)

    def close(self) -> None:
        """Releases the reserved bytes; a second call does nothing."""
        self.bound.budget.give_back(self.taken)
        self.taken = 0


def forget_body(scope: Scope) -> None:
    """Releases the reserved bytes of a request's body, once the body is freed."""
    scope[BODY].close()


def too_large(bound: Bound) -> str:
    """Returns the message of a 413 response."""
    return f"The body is larger than {bound.max_bytes} bytes."


def bound_body(app: ASGIApp, bounds: Bounds) -> ASGIApp:
    """Enforces the limits of bodies: Content-Length at once, and the received bytes while they arrive."""

    async def bounded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        headers = dict(scope["headers"])
        bound = bounds(scope["path"], headers.get(b"content-type", b""))
        length = headers.get(b"content-length", b"")
        declared = int(length) if length.isdigit() else None
        if (declared or 0) > bound.max_bytes:
            refusal = answer(413, "body_too_large", too_large(bound), max_bytes=bound.max_bytes)
            return await refusal(scope, receive, send)
        body, answering = _Body(bound, declared), False
        scope[BODY] = body

        async def receive_part() -> Message:
            try:
                return await body.receive(receive)
            except HTTPException:
                if answering:  # the response has already started
                    return {"type": "http.disconnect"}
                raise

        async def send_noting(message: Message) -> None:
            nonlocal answering
            answering = True
            await send(message)

        try:
            await app(scope, receive_part, send_noting)
        finally:
            body.close()

    return bounded
