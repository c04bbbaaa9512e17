"""A job as Redis holds it, and the events of its stream."""

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from jobs.schemas import TERMINAL, SafetyPolicy, Status
from jobs.store.protocol import DEFAULT_TENANT

QUEUES = ("fast", "search", "gpu", "collect", "train")
# The format of the records that this release writes. It reads those of every earlier one, and its workers leave newer
# ones alone. Raised once by a release whose requests the one before cannot read (tests/jobs/requests/test_kinds.py).
FORMAT = 2


@dataclass(frozen=True)
class NewJob:
    """A job to create.

    `images` and `archives` are the sha256 of its inputs; `models` and `collections` the ids of those it uses, which can
    be deleted, and `loads` those of all models that its worker loads; `collection` is the id of the collection whose
    next version it makes, or `registry.NEW` for a new one. Jobs with equal `compat` may run in one batch. `idempotency`
    is the client's key and the sha256 of its request; `request_id` finds it in the log, `traceparent` in a trace.
    `limits` are those of its API key; `safety` is the policy of the safety filter.
    """

    kind: str
    queue: str
    params: dict[str, Any]
    images: Sequence[str] = ()
    archives: Sequence[str] = ()
    models: Sequence[str] = ()
    collections: Sequence[str] = ()
    loads: Sequence[str] = ()
    collection: str | None = None
    compat: str = ""
    priority: int = 0
    expires_in: int | None = None
    idempotency: tuple[str, str] | None = None
    retry_of: str = ""
    webhook_url: str | None = None
    request_id: str = ""
    traceparent: str = ""
    limits: Mapping[str, int] = field(default_factory=dict)
    safety: SafetyPolicy = "off"


@dataclass(frozen=True)
class Ending:
    """How a job ends: as `succeeded`, `failed` or `canceled`.

    `model` is the card of the model that the job trained, and `collection` the version that it made: `figures`, the
    sha256 of its `file`, its `plots` and `side_files`. Their files must be stored before. Both are registered only if
    the job ends as succeeded.
    """

    status: str
    metrics: dict[str, Any]
    outputs: Sequence[dict[str, Any]] = ()
    error: dict[str, Any] | None = None
    model: dict[str, Any] | None = None
    collection: dict[str, Any] | None = None


@dataclass(frozen=True)
class Record:
    """A job as Redis holds it; times are Unix milliseconds."""

    id: str
    tenant: str
    kind: str
    queue: str
    status: Status
    priority: int
    attempt: int
    fence: int
    params: dict[str, Any]
    created_at: int
    started_at: int | None
    finished_at: int | None
    expires_at: int | None
    progress: dict[str, Any] | None
    outputs: list[dict[str, Any]]
    metrics: dict[str, Any]
    error: dict[str, Any] | None
    retry_of: str | None
    webhook_url: str | None
    checkpoint: dict[str, Any] | None
    losses: list[dict[str, Any]]
    request_id: str
    traceparent: str
    safety: SafetyPolicy

    @property
    def finished(self) -> bool:
        """Whether the job is in a final state."""
        return self.status in TERMINAL


@dataclass(frozen=True)
class Event:
    """One entry of a job's stream; `type` is status, progress, preview or output."""

    id: str
    type: str
    data: dict[str, Any]


def new_job_id() -> str:
    """Returns an id that sorts by the time it was made: `job_` and 24 hexadecimal digits."""
    return f"job_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(6)}"


def parse_record(fields: dict[str, str]) -> Record:
    """Parses the Redis hash of a job."""

    def number(name: str) -> int | None:
        return int(fields[name]) if fields.get(name) else None

    def parsed(name: str) -> Any:
        return json.loads(fields[name]) if fields.get(name) else None

    return Record(
        id=fields["id"],
        tenant=fields.get("tenant", DEFAULT_TENANT),
        kind=fields["kind"],
        queue=fields["queue"],
        status=cast(Status, fields["status"]),
        priority=int(fields["priority"]),
        attempt=int(fields["attempt"]),
        fence=int(fields["fence"]),
        params=json.loads(fields["params"]),
        created_at=int(fields["created_at"]),
        started_at=number("started_at"),
        finished_at=number("finished_at"),
        expires_at=number("expires_at"),
        progress=parsed("progress"),
        outputs=parsed("outputs") or [],
        metrics=job_metrics(fields),
        error=parsed("error"),
        retry_of=fields.get("retry_of") or None,
        webhook_url=fields.get("webhook_url") or None,
        checkpoint=parsed("checkpoint"),
        losses=parsed("losses") or [],
        request_id=fields.get("request_id", ""),
        traceparent=fields.get("traceparent", ""),
        safety=cast(SafetyPolicy, fields.get("safety", "off")),
    )


def job_metrics(fields: Mapping[str, str]) -> dict[str, Any]:
    """Parses the metrics of a job; the collection version that it made is the protocol's and not the worker's."""
    made = {"collection": fields["collection"], "version": int(fields["version"])} if "version" in fields else {}
    return cast(dict[str, Any], json.loads(fields.get("metrics") or "{}")) | made


def parse_event(event_id: str, fields: dict[str, str]) -> Event:
    """Parses an entry of an event stream."""
    return Event(event_id, fields["type"], json.loads(fields["data"]))
