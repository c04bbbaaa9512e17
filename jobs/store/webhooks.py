"""Webhooks in Redis: endpoints that tenants registered, and deliveries, each of one finished job to one receiver."""

import base64
import hmac
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from jobs.errors import Conflict, NotFound
from jobs.store.protocol import DEFAULT_TENANT, PREFIX, Protocol

Event = Literal["job.succeeded", "job.failed", "job.canceled", "job.expired"]
EVENTS: tuple[Event, ...] = get_args(Event)
DeliveryStatus = Literal["pending", "delivered", "failed"]
ENDPOINT_ID = r"^whk_[0-9a-f]{12}$"
DELIVERY_ID = r"^msg_[0-9a-f]{36}$"

MAX_ENDPOINTS = 10
OVERLAP_S = 86400  # how long both secrets sign after a rotation
MAX_CALLS, CALLS_PER_HOST = 100, 4  # at once, by one process
LEASE_S = 60  # a call takes at most 10 s
_NO_ENDPOINT = "000000000000"  # of a job's own `webhook_url`


@dataclass(frozen=True)
class Endpoint:
    """A registered webhook; times are Unix milliseconds.

    secrets: the keys that sign, newest first; there are two for a day after a rotation.
    disabled_at: when it answered 410.
    """

    id: str
    url: str
    events: tuple[Event, ...]
    created_at: int
    disabled_at: int | None
    secrets: tuple[str, ...]


@dataclass(frozen=True)
class Delivery:
    """What one receiver is sent about one finished job; times are Unix milliseconds.

    endpoint: None for the job's own `webhook_url`. job_fields: the fields of its record. attempts: each with `at`,
    `status` (of the answer), `error` (without an answer) and `took_ms`, oldest first.
    """

    id: str
    tenant: str
    job: str
    endpoint: str | None
    url: str
    event: Event
    status: DeliveryStatus
    job_fields: dict[str, str]
    attempts: list[dict[str, Any]]
    created_at: int
    next_attempt_at: int | None


@dataclass(frozen=True)
class Claim:
    """A delivery to call now: `number` counts its tries, and `fence` its claims, of which only the newest counts."""

    id: str
    host: str
    fence: int
    number: int


class Endpoints:
    """Registers, changes and deletes endpoints."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def create(self, url: str, events: Sequence[Event]) -> Endpoint:
        """Registers an endpoint with a new secret; raises `Conflict` beyond `MAX_ENDPOINTS`."""
        endpoint_id = f"whk_{secrets.token_hex(6)}"
        given = {"id": endpoint_id, "url": url, "events": " ".join(events), "secret": new_secret()}
        if self._protocol.call("add_endpoint", limit=MAX_ENDPOINTS, **given) == "full":
            message = f"There are {MAX_ENDPOINTS} webhooks, which is the limit; delete one first."
            raise Conflict("too_many_webhooks", message, limit=MAX_ENDPOINTS)
        return self.get(endpoint_id)

    def all(self) -> list[Endpoint]:
        """Returns every endpoint, oldest first."""
        ids = self._protocol.client.zrange(PREFIX + self._protocol.name("endpoints"), 0, -1)
        pipe = self._protocol.client.pipeline(transaction=False)
        for endpoint_id in cast(list[str], ids):
            pipe.hgetall(f"{PREFIX}endpoint:{endpoint_id}")
        return [_parse_endpoint(fields) for fields in pipe.execute() if fields]

    def get(self, endpoint_id: str) -> Endpoint:
        """Returns an endpoint; raises `NotFound`."""
        fields = cast(dict[str, str], self._protocol.client.hgetall(f"{PREFIX}endpoint:{endpoint_id}"))
        if not fields or not self._protocol.owns(fields):
            raise _no_endpoint(endpoint_id)
        return _parse_endpoint(fields)

    def rotate(self, endpoint_id: str) -> Endpoint:
        """Gives an endpoint another secret; the old one signs too for a day. Raises `NotFound`."""
        self._change(endpoint_id, "rotate", secret=new_secret(), overlap_ms=OVERLAP_S * 1000)
        return self.get(endpoint_id)

    def enable(self, endpoint_id: str) -> Endpoint:
        """Sends to an endpoint again that answered 410; raises `NotFound`."""
        self._change(endpoint_id, "enable")
        return self.get(endpoint_id)

    def delete(self, endpoint_id: str) -> None:
        """Deletes an endpoint; its pending deliveries fail. Raises `NotFound`."""
        self._change(endpoint_id, "delete")

    def _change(self, endpoint_id: str, change: str, **given: Any) -> None:
        if self._protocol.call("change_endpoint", id=endpoint_id, change=change, **given) == "missing":
            raise _no_endpoint(endpoint_id)


class Deliveries:
    """Lists, replays and calls deliveries."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def get(self, delivery_id: str) -> Delivery:
        """Returns a delivery; raises `NotFound`."""
        found = self._read([delivery_id])
        if not found:
            raise _no_delivery(delivery_id)
        return found[0]

    def page(
        self, *, job: str | None, status: DeliveryStatus | None, limit: int, cursor: str | None
    ) -> tuple[list[Delivery], str | None]:
        """Returns a page of deliveries, newest first, and the cursor of the next page."""
        if job:
            members = cast(set[str], self._protocol.client.smembers(f"{PREFIX}deliveries-of:{job}"))
            ids = sorted((each for each in members if cursor is None or each < cursor), reverse=True)
            page = [each for each in self._read(ids) if status in (None, each.status)]
        else:
            key = PREFIX + self._protocol.name(f"deliveries:{status}" if status else "deliveries")
            start = f"({cursor}" if cursor else "+"
            rows = self._protocol.client.zrevrangebylex(key, start, "-", start=0, num=limit + 1)
            page = self._read(cast(list[str], rows))
        return page[:limit], page[limit - 1].id if len(page) > limit else None

    def replay(self, delivery_id: str) -> Delivery:
        """Sends a delivery again, with all tries; raises `NotFound`, and `Conflict` if its endpoint is gone."""
        outcome = self._protocol.call("replay", id=delivery_id)
        if outcome == "missing":
            raise _no_delivery(delivery_id)
        if outcome == "gone":
            message = (
                "The webhook of this delivery was deleted, or is disabled because it answered 410: enable it first."
            )
            raise Conflict("webhook_disabled", message, delivery=delivery_id)
        return self.get(delivery_id)

    def claim(self, calling: Mapping[str, str]) -> list[Claim]:
        """Leases the deliveries that are due, within the limits of calls at once.

        `calling` maps the ids of the deliveries that the caller is calling now to their hosts. These are not returned,
        and count towards the limits `MAX_CALLS` and `CALLS_PER_HOST`.
        """
        limits = {"max_calls": MAX_CALLS, "per_host": CALLS_PER_HOST, "lease_ms": LEASE_S * 1000}
        rows = self._protocol.call("claim_deliveries", calling=dict(calling), **limits)
        return [Claim(delivery_id, host, int(fence), int(number)) for delivery_id, host, fence, number in rows]

    def called(
        self,
        claim: Claim,
        attempts: Sequence[Mapping[str, Any]],
        outcome: Literal["delivered", "failed", "retried"],
        *,
        delay_s: float = 0,
        disable: bool = False,
    ) -> str:
        """Records the outcome of a call, all attempts and the wait before the next; returns `lost` for an old claim.

        disable: the endpoint, if it is one, gets nothing more.
        """
        given = {"id": claim.id, "fence": claim.fence, "outcome": outcome, "attempts": json.dumps(list(attempts))}
        answered = attempts[-1]["status"] is not None
        given |= {"counted": "accepted" if outcome == "delivered" else "refused" if answered else "failed"}
        given |= {"delay_ms": round(delay_s * 1000), "disable": disable}
        return cast(str, self._protocol.call("delivery_called", **given))

    def _read(self, ids: Sequence[str]) -> list[Delivery]:
        """Returns the deliveries of these ids, without those that are gone or another tenant's."""
        pipe = self._protocol.client.pipeline(transaction=False)
        for delivery_id in ids:
            pipe.hgetall(f"{PREFIX}delivery:{delivery_id}")
        found = [fields for fields in pipe.execute() if fields and self._protocol.owns(fields)]
        for fields in found:
            pipe.zscore(f"{PREFIX}due:{fields['host']}", fields["id"])
        return [_parse_delivery(*each) for each in zip(found, pipe.execute(), strict=True)]


def new_secret() -> str:
    """Returns a secret in the form of Standard Webhooks: `whsec_` and 32 random bytes in base64."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def secret_of(tenant: str, secret: str) -> str:
    """The secret that signs webhooks of a tenant's `webhook_url`: the service's for `default`, else one of its own.

    A tenant that knew the secret of another could forge its webhooks.
    """
    if tenant == DEFAULT_TENANT:
        return secret
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "whsec_" + base64.b64encode(hmac.digest(key, tenant.encode(), "sha256")).decode()


def _parse_endpoint(fields: Mapping[str, str]) -> Endpoint:
    disabled_at = fields.get("disabled_at")
    overlap = [fields["old_secret"]] if int(fields.get("old_until", 0)) > time.time() * 1000 else []
    return Endpoint(
        fields["id"],
        fields["url"],
        cast(tuple[Event, ...], tuple(fields["events"].split())),
        int(fields["created_at"]),
        int(disabled_at) if disabled_at else None,
        (fields["secret"], *overlap),
    )


def _parse_delivery(fields: Mapping[str, str], due_at: float | None) -> Delivery:
    return Delivery(
        fields["id"],
        fields["tenant"],
        fields["job"],
        None if fields["endpoint"] == _NO_ENDPOINT else fields["endpoint"],
        fields["url"],
        cast(Event, fields["event"]),
        cast(DeliveryStatus, fields["status"]),
        json.loads(fields["payload"]),
        json.loads(fields.get("attempts", "[]")),
        int(fields["created_at"]),
        int(due_at) if due_at else None,
    )


def _no_endpoint(endpoint_id: str) -> NotFound:
    message = f"There is no webhook {endpoint_id}; GET /v1/webhooks lists them."
    return NotFound("webhook_not_found", message, webhook=endpoint_id)


def _no_delivery(delivery_id: str) -> NotFound:
    message = f"There is no delivery {delivery_id}; it may have been removed with its job or by its age."
    return NotFound("delivery_not_found", message, delivery=delivery_id)
