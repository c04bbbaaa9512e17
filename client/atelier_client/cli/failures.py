"""What a command prints when it fails, and its exit codes."""

from typing import Any

from atelier_client.cli import terminal
from atelier_client.errors import (
    APIError,
    AtelierError,
    AuthenticationError,
    JobError,
    PermissionDeniedError,
    ServerError,
    ServiceUnreachableError,
    WaitTimeoutError,
)

JOB_FAILED, REFUSED, UNREACHABLE, NOT_ALLOWED = 1, 2, 3, 4
CODES: dict[type[AtelierError], int] = {
    JobError: JOB_FAILED,
    WaitTimeoutError: JOB_FAILED,
    ServiceUnreachableError: UNREACHABLE,
    ServerError: UNREACHABLE,
    AuthenticationError: NOT_ALLOWED,
    PermissionDeniedError: NOT_ALLOWED,
}


def exit_code(error: Exception) -> int:
    """The exit code of an error: 1 a job failed, 2 a request was refused, 3 no service, 4 not allowed."""
    return next((code for kind, code in CODES.items() if isinstance(error, kind)), REFUSED)


def report(error: Exception, *, as_json: bool, source: str | None = None) -> None:
    """Prints an error as one sentence, and with `--json` also as an object."""
    before = f"{source}: " if source else ""
    terminal.note(f"{before}{sentence(error)}")
    if as_json:
        terminal.print_json({"error": body(error), **({"source": source} if source else {})})


def sentence(error: Exception) -> str:
    """What went wrong; names the field if it is about one."""
    text = error.message if isinstance(error, APIError) else str(error)
    text = " ".join(text.split())
    field = error.field if isinstance(error, APIError) else None
    return text if field is None or field in text else f"`{field}`: {text}"


def body(error: Exception) -> dict[str, Any]:
    """An error as the API writes it."""
    code = error.code if isinstance(error, AtelierError) else "invalid_file"
    message = error.message if isinstance(error, AtelierError) else str(error)
    return {"code": code, "message": message, "details": error.details if isinstance(error, APIError) else {}}
