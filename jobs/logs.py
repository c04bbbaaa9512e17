"""Logs of every process: one line per record on standard error, with the request and the job it belongs to."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from jobs.settings import Settings

_fields: ContextVar[dict[str, Any]] = ContextVar("fields")


@contextmanager
def about(**fields: Any) -> Iterator[None]:
    """Adds fields (`request_id`, `job_id`, `traceparent`), unless empty, to the records that are logged inside."""
    token = _fields.set(_fields.get({}) | {name: value for name, value in fields.items() if value})
    try:
        yield
    finally:
        _fields.reset(token)


def field(name: str) -> str:
    """The value of a field here, such as the `request_id` of the request being handled; empty if there is none."""
    return str(_fields.get({}).get(name, ""))


def configure_logging(settings: Settings) -> None:
    """Logs records of level INFO and above, as lines of text or of JSON objects."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class TextFormatter(logging.Formatter):
    """Time, level, logger, request id and message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Returns a line, and the traceback of an error below it."""
        record.request_id = field("request_id") or "-"
        return super().format(record)


class JsonFormatter(logging.Formatter):
    """A JSON object with the fields of `about` and of `extra={"fields": …}`.

    Other extras are left out: those of libraries may contain what users sent.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Returns one line, with the traceback of an error as its field `exception`."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields.get({}),
            **record.__dict__.get("fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)
