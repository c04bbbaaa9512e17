"""The bounds on a request's body while it arrives: its bytes, its time, and what all bodies together may hold."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import answer
from jobs.settings import Settings

MAX_JSON_BYTES = 1_000_000  # of a JSON body besides its `data:` URLs
IDLE_S = 20.0  # the longest pause between two parts of a body
GRACE_S, MIN_BYTES_PER_S = 30.0, 16_384  # a body must arrive within GRACE_S and at this rate
CLOSE = {"Connection": "close"}
BODY = "atelier.body"  # where the scope of a request has its `_Body`
DATA_URL = b'"data:'
# Of a form: its file goes to the spool folder from the first SPOOL_BYTES on; there is no field besides it.
SPOOL_BYTES = 65_536
FORM_LIMITS: Any = {"max_files": 2, "max_fields": 8, "max_part_size": 1024}
MultiPartParser.spool_max_size = SPOOL_BYTES


class Budget:
    """Bytes that all bodies of one kind share.

    Beyond its first `small` bytes a body takes all that it may become, so that of several large ones some arrive
    whole and the others are refused early, rather than each in the middle.
    """

    def __init__(self, n_bytes: int, small: int | None = None) -> None:
        self.left = n_bytes
        self.small = small

    def take(self, n_bytes: int) -> None:
        """Raises HTTPException 429 where fewer are left."""
        if n_bytes > self.left:
            message = "The service is receiving as many bytes as it can hold; try again shortly."
            raise HTTPException(429, message, {"Retry-After": "5"})
        self.left -= n_bytes

    def give_back(self, n_bytes: int) -> None:
        """Make them available again."""
        self.left += n_bytes


@dataclass(frozen=True)
class Bound:
    """What one body may take: `max_bytes` in all, and of those `max_json_bytes` outside `data:` URLs."""

    max_bytes: int
    budget: Budget
    max_json_bytes: int | None = None


Bounds = Callable[[str, bytes], Bound]  # by a request's path and content type


def body_bounds(settings: Settings) -> Bounds:
    """The bounds of an API with these settings.

    The `data:` URLs of one body may hold as much as one upload. All JSON bodies together may take three times that in
    memory, and all uploads four archives' bytes in the spool folder.
    """
    spool = Budget(4 * max(settings.max_archive_bytes, settings.max_upload_bytes))
    max_json = settings.max_upload_bytes * 4 // 3 + MAX_JSON_BYTES
    memory = Budget(3 * max_json, MAX_JSON_BYTES)
    json, other = Bound(max_json, memory, MAX_JSON_BYTES), Bound(MAX_JSON_BYTES, memory)
    uploads = {
        "/v1/images": Bound(settings.max_upload_bytes, spool),
        "/v1/archives": Bound(settings.max_archive_bytes, spool),
    }
    return lambda path, content_type: uploads.get(path) or (json if b"json" in content_type.lower() else other)


class JsonBytes:
    """Counts the bytes of a JSON text outside the strings that begin with `data:`, part by part.

    A string is taken to end at the next quote, as base64 has no escaped ones. In valid JSON what is left out therefore
    never reaches beyond one string.
    """

    def __init__(self) -> None:
        self.count = 0
        self._inside = False  # a `data:` URL
        self._tail = b""  # the end of the last part, which may be the beginning of DATA_URL

    def add(self, part: bytes) -> None:
        """Count one more part."""
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
    """One body on its way: counts what arrives and refuses what exceeds its bound."""

    def __init__(self, bound: Bound, declared: int | None) -> None:
        self.bound = bound
        self.most = bound.max_bytes if declared is None else declared
        self.received = self.taken = 0
        self.json = JsonBytes() if bound.max_json_bytes is not None else None
        self.complete = False
        self.started = asyncio.get_running_loop().time()

    async def receive(self, receive: Receive) -> Message:
        """The next part; raises HTTPException 408, 413 or 429."""
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
        needed = max(self.received, self.most if is_large else 0) - self.taken
        budget.take(needed)
        self.taken += needed
        if self.json is not None and self.bound.max_json_bytes is not None:
            self.json.add(part)
            if self.json.count > self.bound.max_json_bytes:
                message = f"The body has more than {self.bound.max_json_bytes} bytes outside its `data:` URLs."
                raise HTTPException(413, message)

    def close(self) -> None:
        """Give back what it took; a second time does nothing."""
        self.bound.budget.give_back(self.taken)
        self.taken = 0


def forget_body(scope: Scope) -> None:
    """Give back what the body of a request took, once nothing of it is kept."""
    scope[BODY].close()


def too_large(bound: Bound) -> str:
    """What the answer 413 says."""
    return f"The body is larger than {bound.max_bytes} bytes."


def bound_body(app: ASGIApp, bounds: Bounds) -> ASGIApp:
    """Refuse a body over its path's bound: by Content-Length at once, and by counting what really arrives."""

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
                if answering:  # too late for another answer
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
