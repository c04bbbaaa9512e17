"""Webhooks: a finished job is told to the URL its request gave, at least once, from the upkeep process."""

import hashlib
import hmac
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr

from jobs.errors import AtelierError
from jobs.outbound import post
from jobs.store import JobStore, Record

log = logging.getLogger("atelier.webhooks")
TIMEOUT_S = 10


def call_webhooks(jobs: JobStore, send: Callable[..., int] = post) -> int:
    """Call the webhooks that are due; returns how many were taken (any 2xx). The others are tried again later."""
    taken = 0
    for job_id, number in jobs.due_webhooks():
        try:
            status: int | str = _call(jobs, job_id, send)
        except AtelierError as error:  # no such host, or the job was deleted a moment ago
            status = error.code
        log.info("webhook of %s, try %d: %s", job_id, number, status)
        if isinstance(status, int) and 200 <= status < 300:
            jobs.webhook_called(job_id)
            taken += 1
    return taken


def _call(jobs: JobStore, job_id: str, send: Callable[..., int]) -> int:
    record = jobs.get(job_id)
    body = json.dumps(message(record)).encode()
    headers = {"Content-Type": "application/json"} | _signature(body, jobs.settings.webhook_secret)
    return send(record.webhook_url, body, headers, timeout_s=TIMEOUT_S)


def message(record: Record) -> dict[str, Any]:
    """What a webhook is told: the job's end, and its outputs with the API's own paths, which do not expire."""
    kept = ("id", "kind", "status", "attempt", "metrics", "error", "retry_of")
    times = {name: _iso(getattr(record, name)) for name in ("created_at", "started_at", "finished_at")}
    outputs = [{**output, "url": f"/v1/jobs/{record.id}/outputs/{output['index']}"} for output in record.outputs]
    return {name: getattr(record, name) for name in kept} | times | {"outputs": outputs}


def _iso(ms: int | None) -> str | None:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat() if ms is not None else None


def _signature(body: bytes, secret: SecretStr | None) -> dict[str, str]:
    if secret is None:
        return {}
    digest = hmac.new(secret.get_secret_value().encode(), body, hashlib.sha256).hexdigest()
    return {"X-Atelier-Signature": f"sha256={digest}"}
