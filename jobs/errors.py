"""The errors of the API: each has a code for programs and a message for people.

AtelierError             status 500, code "internal"
├── Malformed            400  the body cannot be parsed
├── Unauthorized         401  no valid API key was sent
├── Forbidden            403  the API key lacks a scope
├── BadInput             422  the request cannot be used
├── NotFound             404  no such job, image, model or other resource
├── Conflict             409  the current state of the resource does not allow it
├── TooLarge             413  more bytes or pixels than the limit
├── QueueFull            429  with Retry-After
├── LimitReached         429  the API key has reached a limit; with Retry-After
├── Damaged              500  stored bytes no longer match their sha256
├── Busy                 429  the service is at its limit of concurrent work; with Retry-After
└── Unavailable          503  Redis, storage or a worker is unavailable; with Retry-After
"""

from typing import Any


class AtelierError(Exception):
    """An error with a `code` for programs, a `message` for people, and `details`.

    `status` is the HTTP status of the response; `retry_after` (seconds) becomes its header.
    """

    status = 500
    retry_after: int | None = None

    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details

    def as_dict(self) -> dict[str, Any]:
        """Returns the error as JSON: `{"code", "message", "details"}`."""
        return {"code": self.code, "message": self.message, "details": self.details}


class Malformed(AtelierError):
    """The body cannot be parsed."""

    status = 400


class Unauthorized(AtelierError):
    """No valid API key was sent."""

    status = 401


class Forbidden(AtelierError):
    """The API key lacks the scope that the request needs."""

    status = 403


class BadInput(AtelierError):
    """The request cannot be used; nothing was queued."""

    status = 422


class NotFound(AtelierError):
    """The job, image, model or other resource does not exist."""

    status = 404


class Conflict(AtelierError):
    """The current state of the resource does not allow the request."""

    status = 409


class TooLarge(AtelierError):
    """The request has more bytes or pixels than the limit."""

    status = 413


class QueueFull(AtelierError):
    """The queue holds `max_queue` jobs."""

    status = 429
    retry_after = 5


class Busy(AtelierError):
    """The service is at its limit of concurrent decoding, fetching or receiving."""

    status = 429
    retry_after = 5


class LimitReached(AtelierError):
    """The API key has reached one of its limits; the message names it."""

    status = 429

    def __init__(self, code: str, message: str, retry_after: int, **details: Any) -> None:
        super().__init__(code, message, **details)
        self.retry_after = retry_after


class Damaged(AtelierError):
    """Stored bytes no longer match their sha256."""


class Unavailable(AtelierError):
    """Redis, the object store or every worker is temporarily unavailable."""

    status = 503
    retry_after = 2
