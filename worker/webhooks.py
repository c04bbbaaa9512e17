"""Webhooks: posts each finished job to the URL that its request gave, at least once, from the upkeep process."""

import hashlib
import hmac
import json
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr
from redis import RedisError

from jobs.errors import AtelierError
from jobs.intake.outbound import post
from jobs.logs import about
from jobs.store.jobs import JobStore
from jobs.store.records import Record

log = logging.getLogger("atelier.webhooks")
TIMEOUT_S = 10


class Webhooks:
    """Calls due webhooks, many at once but few per host, so that a slow receiver delays no other.

    A call that ends starts those that waited for it. The process may exit during calls: their webhooks are due again.
    """

    def __init__(self, jobs: JobStore, send: Callable[..., int] = post) -> None:
        self._jobs = jobs
        self._send = send
        self._calling: dict[str, str] = {}  # jobs whose webhook is being called, and their hosts
        self._ended = threading.Condition()

    def start_due(self, ended: str | None = None) -> None:
        """Starts a call for each due webhook within the limits; `ended` is a job whose call has ended."""
        with self._ended:
            if ended:
                del self._calling[ended]
                self._ended.notify_all()
            due = self._jobs.due_webhooks(self._calling)
            self._calling |= {job_id: host for job_id, host, _ in due}
        for job_id, _, number in due:
            threading.Thread(target=self._call, args=(job_id, number), name=f"webhook-{job_id}", daemon=True).start()

    def wait(self, timeout_s: float) -> bool:
        """Waits until no call runs; returns False after `timeout_s` seconds."""
        with self._ended:
            return self._ended.wait_for(lambda: not self._calling, timeout_s)

    def _call(self, job_id: str, number: int) -> None:
        try:
            with about(job_id=job_id):
                self._deliver(job_id, number)
        except RedisError as error:
            log.warning("webhook of %s, try %d: %s", job_id, number, type(error).__name__)
        except Exception:  # the webhook will be tried again
            log.exception("webhook of %s, try %d failed", job_id, number)
        with suppress(RedisError):  # the next round starts what is due
            self.start_due(ended=job_id)

    def _deliver(self, job_id: str, number: int) -> None:
        try:
            status: int | str = self._post(job_id)
        except AtelierError as error:  # for example an unknown host, or a job deleted meanwhile
            status = error.code
        log.info("webhook of %s, try %d: %s", job_id, number, status)
        accepted = isinstance(status, int) and 200 <= status < 300
        self._jobs.stats.count(
            "webhooks", "accepted" if accepted else "refused" if isinstance(status, int) else "failed"
        )
        if accepted:
            self._jobs.webhook_called(job_id)

    def _post(self, job_id: str) -> int:
        record = self._jobs.get(job_id)
        body = json.dumps(message(record)).encode()
        headers = {"Content-Type": "application/json"} | _signature(body, self._jobs.settings.webhook_secret)
        return self._send(record.webhook_url, body, headers, timeout_s=TIMEOUT_S)


def message(record: Record) -> dict[str, Any]:
    """Body of a webhook: the finished job, and its outputs with paths of the API, which do not expire."""
    fields = ("id", "kind", "status", "attempt", "metrics", "error", "retry_of")
    times = {name: _iso(getattr(record, name)) for name in ("created_at", "started_at", "finished_at")}
    outputs = [{**output, "url": f"/v1/jobs/{record.id}/outputs/{output['index']}"} for output in record.outputs]
    return {name: getattr(record, name) for name in fields} | times | {"outputs": outputs}


def _iso(ms: int | None) -> str | None:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat() if ms is not None else None


def _signature(body: bytes, secret: SecretStr | None) -> dict[str, str]:
    if secret is None:
        return {}
    digest = hmac.new(secret.get_secret_value().encode(), body, hashlib.sha256).hexdigest()
    return {"X-Atelier-Signature": f"sha256={digest}"}
