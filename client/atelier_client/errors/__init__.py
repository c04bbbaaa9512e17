"""Exceptions by code; `status` draws their tree."""

from typing import Any

import httpx

from atelier_client.errors import failed, missing, refused, status
from atelier_client.errors.failed import *  # noqa: F403
from atelier_client.errors.missing import *  # noqa: F403
from atelier_client.errors.refused import *  # noqa: F403
from atelier_client.errors.status import *  # noqa: F403

REQUESTS = {**missing.BY_CODE, **refused.BY_CODE}
STATUS: dict[int, type[status.APIError]] = {
    400: status.BadRequestError,
    401: status.AuthenticationError,
    403: status.PermissionDeniedError,
    404: status.NotFoundError,
    409: status.ConflictError,
    413: status.TooLargeError,
    422: status.InvalidRequestError,
    429: status.RateLimitError,
}
ENDED: dict[str, type[status.JobError]] = {
    "failed": status.JobFailedError,
    "canceled": status.JobCanceledError,
    "expired": status.JobExpiredError,
}


def error_of(response: httpx.Response) -> status.APIError:
    """The exception of an error response; a proxy's response without our JSON has the code `http_<status>`."""
    try:
        error = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        error = {"code": f"http_{response.status_code}", "message": response.text[:200] or response.reason_phrase}
    base = STATUS.get(response.status_code, status.ServerError if response.status_code >= 500 else status.APIError)
    kind: Any = REQUESTS.get(error["code"], base)
    return kind(response.status_code, error)  # type: ignore[no-any-return]


def job_error(job: Any) -> status.JobError:
    """The exception of a job that ended without success."""
    error = job.error or {"code": job.status, "message": f"the job is {job.status}"}
    kind: Any = failed.BY_CODE.get(error["code"], ENDED[job.status])
    return kind(job, error["message"], error["code"])  # type: ignore[no-any-return]
