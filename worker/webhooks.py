"""Webhooks: sends each delivery to its receiver, at least once, from the upkeep process, as Standard Webhooks says."""

import json
import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from redis import RedisError
from standardwebhooks import Webhook

from jobs.errors import AtelierError, NotFound
from jobs.intake.outbound import Answer, post
from jobs.logs import about
from jobs.store.jobs import JobStore
from jobs.store.records import job_metrics
from jobs.store.webhooks import Claim, Delivery, secret_of

log = logging.getLogger("atelier.webhooks")
TIMEOUT_S = 10
# The wait before each further try doubles from 15 s to four hours: the last one comes a day after the first.
TRIES, FIRST_DELAY_S, MAX_DELAY_S = 16, 15, 4 * 3600
JITTER = 0.2  # a random part of the wait is added, so that the receiver of many is not called by all at once
MAX_RETRY_AFTER_S = 86400


class Webhooks:
    """Calls due deliveries, many at once but few per host, so that a slow receiver delays no other.

    A call that ends starts those that waited for it. The process may exit during calls: they are due again when their
    lease has run out.
    """

    def __init__(self, jobs: JobStore, send: Callable[..., Answer] = post) -> None:
        self._jobs = jobs
        self._send = send
        self._calling: dict[str, str] = {}  # deliveries that are being called, and their hosts
        self._ended = threading.Condition()

    def start_due(self, ended: str | None = None) -> None:
        """Starts a call for each due delivery within the limits; `ended` is a delivery whose call has ended."""
        with self._ended:
            if ended:
                del self._calling[ended]
                self._ended.notify_all()
            due = self._jobs.deliveries.claim(self._calling)
            self._calling |= {claim.id: claim.host for claim in due}
        for claim in due:
            threading.Thread(target=self._call, args=(claim,), name=claim.id, daemon=True).start()

    def wait(self, timeout_s: float) -> bool:
        """Waits until no call runs; returns False after `timeout_s` seconds."""
        with self._ended:
            return self._ended.wait_for(lambda: not self._calling, timeout_s)

    def _call(self, claim: Claim) -> None:
        try:
            self._deliver(claim, self._jobs.deliveries.get(claim.id))
        except NotFound:  # the delivery was deleted with its job
            log.info("delivery %s is gone", claim.id)
        except RedisError as error:
            log.warning("delivery %s, try %d: %s", claim.id, claim.number, type(error).__name__)
        except Exception:  # it will be tried again
            log.exception("delivery %s, try %d failed", claim.id, claim.number)
        with suppress(RedisError):  # the next round starts what is due
            self.start_due(ended=claim.id)

    def _deliver(self, claim: Claim, delivery: Delivery) -> None:
        at, started = round(time.time() * 1000), time.monotonic()
        status, error, retry_after = self._post(delivery)
        took_ms = round((time.monotonic() - started) * 1000)
        attempts = [*delivery.attempts, {"at": at, "status": status, "error": error, "took_ms": took_ms}]
        with about(job_id=delivery.job):
            log.info("delivery %s, try %d: %s", claim.id, claim.number, status or error)
        if status is not None and 200 <= status < 300:
            self._jobs.deliveries.called(claim, attempts, "delivered")
        elif status == 410 or error == "webhook_disabled" or claim.number >= TRIES:
            self._jobs.deliveries.called(claim, attempts, "failed", disable=status == 410)
        else:
            delay_s = max(backoff_s(claim.number), seconds_to_wait(retry_after))
            self._jobs.deliveries.called(claim, attempts, "retried", delay_s=delay_s)

    def _post(self, delivery: Delivery) -> tuple[int | None, str | None, str | None]:
        """Calls the receiver; returns the status of its answer or an error code, and its Retry-After."""
        body = json.dumps(message(delivery))
        try:
            headers = {"Content-Type": "application/json"} | signed(delivery.id, body, self._secrets(delivery))
            answer = self._send(delivery.url, body.encode(), headers, timeout_s=TIMEOUT_S)
        except AtelierError as error:  # for example an unknown host
            return None, error.code, None
        return answer.status, None, answer.retry_after

    def _secrets(self, delivery: Delivery) -> tuple[str, ...]:
        if delivery.endpoint is None:
            return tuple(secret_of(delivery.tenant, secret) for secret in self._jobs.settings.webhook_secrets)
        try:
            endpoint = self._jobs.endpoints.get(delivery.endpoint)
        except NotFound:
            endpoint = None
        if endpoint is None or endpoint.disabled_at:
            raise AtelierError("webhook_disabled", "The endpoint was deleted or has answered 410.")
        return endpoint.secrets


def message(delivery: Delivery) -> dict[str, Any]:
    """Body of a webhook: the finished job, and its outputs with paths of the API, which do not expire."""
    job = delivery.job_fields
    times = {
        name: _iso(int(job[name])) if name in job else None for name in ("created_at", "started_at", "finished_at")
    }
    outputs = [
        {**output, "url": f"/v1/jobs/{delivery.job}/outputs/{output['index']}"}
        for output in json.loads(job.get("outputs") or "[]")
    ]
    data = {
        **{name: job[name] for name in ("id", "kind", "status")},
        "attempt": int(job["attempt"]),
        **times,
        "outputs": outputs,
        "metrics": job_metrics(job),
        "error": json.loads(job["error"]) if job.get("error") else None,
        "retry_of": job.get("retry_of") or None,
    }
    return {"type": delivery.event, "timestamp": _iso(delivery.created_at), "data": data}


def signed(delivery_id: str, body: str, secrets: tuple[str, ...]) -> dict[str, str]:
    """The headers of Standard Webhooks; without a secret there is no signature, with several there is one of each."""
    now = datetime.now(UTC)
    signatures = " ".join(Webhook(secret).sign(delivery_id, now, body) for secret in secrets)
    headers = {"webhook-id": delivery_id, "webhook-timestamp": str(int(now.timestamp()))}
    return headers | ({"webhook-signature": signatures} if signatures else {})


def backoff_s(number: int) -> float:
    """Seconds between a failed try and the next: doubled each time, and up to a fifth more at random."""
    return min(FIRST_DELAY_S * 2.0 ** (number - 1), MAX_DELAY_S) * (1 + JITTER * random.random())


def seconds_to_wait(retry_after: str | None) -> float:
    """Parses a Retry-After header, seconds or a date; at most a day, and 0 if it is absent or invalid."""
    if retry_after is None:
        return 0
    if retry_after.isdecimal():
        return min(int(retry_after[:9]), MAX_RETRY_AFTER_S)
    try:
        until = parsedate_to_datetime(retry_after).timestamp()
    except (ValueError, OverflowError):
        return 0
    return min(max(0, until - time.time()), MAX_RETRY_AFTER_S)


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()
