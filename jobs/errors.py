"""The errors Atelier answers with, each a code for programs and a sentence for people.

AtelierError             status 500, code "internal"
├── Malformed            400  the body is not JSON
├── BadInput             422  the request names something that cannot be used
├── NotFound             404
├── Conflict             409  the state of the thing does not allow it
├── TooLarge             413
├── QueueFull            429  with Retry-After
├── Damaged              500  stored bytes are not those that were stored
├── Busy                 429  the service does as much of one thing as it can; with Retry-After
└── Unavailable          503  Redis, storage or a worker is away; with Retry-After
"""

from typing import Any


class AtelierError(Exception):
    """An error with a `code` a program can act on, a `message` a person can, and `details`.

    `status` is the HTTP status the API answers with; `retry_after` (seconds) becomes its header.
    """

    status = 500
    retry_after: int | None = None

    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details

    def as_dict(self) -> dict[str, Any]:
        """The one error shape: `{"code", "message", "details"}`."""
        return {"code": self.code, "message": self.message, "details": self.details}


class Malformed(AtelierError):
    """The body cannot be parsed."""

    status = 400


class BadInput(AtelierError):
    """The request names something that cannot be used; nothing was queued."""

    status = 422


class NotFound(AtelierError):
    """There is no such job, image, output or model."""

    status = 404


class Conflict(AtelierError):
    """The state of the thing does not allow what was asked."""

    status = 409


class TooLarge(AtelierError):
    """More bytes or pixels than the settings allow."""

    status = 413


class QueueFull(AtelierError):
    """The queue holds as many jobs as the settings allow."""

    status = 429
    retry_after = 5


class Busy(AtelierError):
    """The service decodes, fetches or receives as much as it can at once."""

    status = 429
    retry_after = 5


class Damaged(AtelierError):
    """Stored bytes no longer have the sha256 that they were stored by."""


class Unavailable(AtelierError):
    """Redis, the object store or every worker is away for the moment."""

    status = 503
    retry_after = 2
