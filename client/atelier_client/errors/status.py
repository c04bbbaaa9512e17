"""The exceptions of the client.

    AtelierError
    ├── ServiceUnreachableError      no response, after all retries
    ├── APIError                     a response with an error; has `status`, `code`, `message`, `field`, `request_id`
    │   ├── BadRequestError          400
    │   ├── AuthenticationError      401
    │   ├── PermissionDeniedError    403
    │   ├── NotFoundError            404
    │   ├── ConflictError            409
    │   ├── TooLargeError            413
    │   ├── InvalidRequestError      422
    │   ├── RateLimitError           429
    │   └── ServerError              5xx
    ├── JobError                     a job that did not succeed; has `job`
    │   ├── JobFailedError
    │   ├── JobCanceledError
    │   └── JobExpiredError
    └── WaitTimeoutError             `wait` ended before the job

Each code has a class below one of these, such as `ImageNotFoundError` below `NotFoundError`.
"""

from typing import Any


class AtelierError(Exception):
    """Any error of the client."""

    code = ""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ServiceUnreachableError(AtelierError):
    """The service did not respond, after all retries."""

    code = "service_unreachable"


class APIError(AtelierError):
    """A response with an error: `status`, `code`, `message`, `details`, and `request_id`, which the logs contain."""

    def __init__(self, status: int, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.status = status
        self.code: str = error["code"]
        self.details: dict[str, Any] = error.get("details", {})
        self.field: str | None = self.details.get("field")
        self.request_id: str | None = error.get("request_id")

    def __str__(self) -> str:
        return f"{self.message} ({self.code}, {self.status})"


class BadRequestError(APIError):
    """400: the body cannot be parsed."""


class AuthenticationError(APIError):
    """401: no valid API key was sent."""


class PermissionDeniedError(APIError):
    """403: the API key lacks a scope."""


class NotFoundError(APIError):
    """404: the resource does not exist, or belongs to another tenant."""


class ConflictError(APIError):
    """409: the state of the resource does not allow the request."""


class TooLargeError(APIError):
    """413: too many bytes or pixels."""


class InvalidRequestError(APIError):
    """422: a field is invalid; `field` names it."""


class RateLimitError(APIError):
    """429, after all retries: a limit of the key, or a full queue."""


class ServerError(APIError):
    """5xx, after all retries: the service or what it depends on is unavailable."""


class JobError(AtelierError):
    """A job that ended without success; `job` is the job, `code` the code of its error."""

    def __init__(self, job: Any, message: str, code: str) -> None:
        super().__init__(message)
        self.job = job
        self.code = code

    def __str__(self) -> str:
        return f"{self.job.id}: {self.message} ({self.code})"


class JobFailedError(JobError):
    """The job failed; `code` and `message` say why."""


class JobCanceledError(JobError):
    """The job was canceled."""


class JobExpiredError(JobError):
    """The job was queued for longer than its `expires_in`."""


class WaitTimeoutError(AtelierError):
    """The job did not end within the `timeout` of `wait`; it goes on."""

    code = "wait_timeout"
