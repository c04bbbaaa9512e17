"""Jobs in Redis: the records, and the commands that change them."""

import json
import secrets
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import redis

from jobs.errors import BadInput, Conflict, NotFound, QueueFull
from jobs.limits import at_limit
from jobs.settings import Settings
from jobs.store.heartbeats import Heartbeats
from jobs.store.keys import Keys
from jobs.store.protocol import PREFIX, Protocol
from jobs.store.records import FORMAT, QUEUES, Ending, Event, NewJob, Record, new_job_id, parse_event, parse_record
from jobs.store.references import References
from jobs.store.registry import (
    Collections,
    Models,
    Styles,
    being_built,
    model_arguments,
    not_registered,
    version_arguments,
)
from jobs.store.stats import Stats
from jobs.store.uploads import Uploads, not_uploaded, redis_full
from jobs.store.webhooks import Deliveries, Endpoints


class JobStore:
    """Reads job records and runs the commands of the protocol; one instance serves any number of threads.

    Its parts hold what is not a job: `images`, `archives`, `models`, `collections`, `styles`, `references`,
    `heartbeats`, `keys`, `stats`, `endpoints` and `deliveries`. The store `of` a tenant shows and changes only what
    belongs to it; others' records are `NotFound`. Without a tenant, as in workers, it sees every record by its id, and
    makes and lists those of `default`.
    """

    def __init__(self, client: redis.Redis, settings: Settings, protocol: Protocol | None = None) -> None:
        self.client = client
        self.settings = settings
        self.protocol = protocol or Protocol(client)
        self.images = Uploads(self.protocol, settings, "image")
        self.archives = Uploads(self.protocol, settings, "archive")
        self.models = Models(self.protocol)
        self.collections = Collections(self.protocol)
        self.styles = Styles(self.protocol)
        self.references = References(self.protocol, settings)
        self.heartbeats = Heartbeats(self.protocol, settings)
        self.keys = Keys(self.protocol)
        self.stats = Stats(self.protocol)
        self.endpoints = Endpoints(self.protocol)
        self.deliveries = Deliveries(self.protocol)

    def of(self, tenant: str) -> "JobStore":
        """The store as a tenant sees it."""
        return JobStore(self.client, self.settings, self.protocol.of(tenant))

    # For the API.

    def create(self, job: NewJob) -> tuple[str, bool]:
        """Writes a queued job; returns its id and whether it is new.

        Raises `QueueFull`, `LimitReached`, `Unavailable` (`redis_full`), `NotFound` (an input, model or collection is
        gone), `Conflict` (`collection_building`) and `BadInput` (`idempotency_key_reuse`).
        """
        outcome, value = self.protocol.call("create", **create_arguments(job, self.settings))
        if outcome == "full":
            raise QueueFull("queue_full", f"The queue {job.queue!r} is full; try again shortly.", queue=job.queue)
        if outcome == "out_of_room":
            raise redis_full()
        if outcome == "limit":
            raise at_limit(value, job.limits[value])
        if outcome == "missing":
            raise not_uploaded("archive" if value in job.archives else "image", value)
        if outcome == "unknown":
            raise not_registered(value)
        if outcome == "building":
            raise being_built(str(job.collection), value)
        if outcome == "reused":
            raise _key_reuse()
        return value, outcome == "created"

    def known_request(self, key: str, request_hash: str) -> str | None:
        """Returns the job that an idempotency key created before; raises `BadInput` if its request was another."""
        stored = cast(str | None, self.client.get(PREFIX + self.protocol.name(f"idem:{key}")))
        if stored is None:
            return None
        stored_hash, job_id = stored.split(" ")
        if not self.client.exists(f"{PREFIX}job:{job_id}"):
            return None
        if stored_hash != request_hash:
            raise _key_reuse()
        return job_id

    def get(self, job_id: str) -> Record:
        """Returns the record of a job; raises `NotFound`."""
        return self._own(job_id, cast(dict[str, str], self.client.hgetall(f"{PREFIX}job:{job_id}")))

    def _own(self, job_id: str, fields: dict[str, str]) -> Record:
        """The record, if it exists and belongs to the tenant."""
        if not fields or not self.protocol.owns(fields):
            raise _no_job(job_id)
        return parse_record(fields)

    def snapshot(self, job_id: str) -> tuple[Record, Event, str]:
        """Returns a record, the newest event it reflects and the id of the oldest stored event; raises `NotFound`."""
        pipe = self.client.pipeline()
        pipe.hgetall(f"{PREFIX}job:{job_id}")
        pipe.xrevrange(f"{PREFIX}events:{job_id}", count=1)
        pipe.xrange(f"{PREFIX}events:{job_id}", count=1)
        fields, last, first = pipe.execute()
        return self._own(job_id, fields), parse_event(*last[0]), first[0][0]

    def placed(self, job_id: str) -> tuple[Record, tuple[int | None, int | None]]:
        """Returns the record of a job and its place, as `queue_places` does, in one round trip; raises `NotFound`."""
        row, place = self.protocol.call("read", id=job_id)
        return self._own(job_id, dict(zip(row[::2], row[1::2], strict=True))), (place[0], place[1])

    def queue_places(self, records: Sequence[Record]) -> list[tuple[int | None, int | None]]:
        """How many jobs come before each of these, and ms until its turn, in one round trip; None if not queued."""
        queued = [record.id for record in records if record.status == "queued"]
        places = dict(zip(queued, self.protocol.call("positions", ids=queued) if queued else [], strict=True))
        return [tuple(places.get(record.id, (None, None))) for record in records]

    def page(
        self, *, kind: str | None, status: str | None, limit: int, cursor: str | None
    ) -> tuple[list[Record], str | None]:
        """Returns a page of records, newest first, and the cursor of the next page."""
        page: list[Record] = []
        while True:
            wanted = limit + 1 - len(page)
            ids = self._newest_first(_index(kind, status), cursor, wanted)
            page += [record for record in self._records(ids) if status in (None, record.status)]
            if len(page) > limit:
                return page[:limit], page[limit - 1].id
            if len(ids) < wanted:
                return page, None
            cursor = ids[-1]  # some jobs changed their status between the two reads

    def _newest_first(self, index: str, cursor: str | None, number: int) -> list[str]:
        start = f"({cursor}" if cursor else "+"
        return cast(
            list[str], self.client.zrevrangebylex(PREFIX + self.protocol.name(index), start, "-", start=0, num=number)
        )

    def _records(self, ids: Sequence[str]) -> list[Record]:
        """Returns the records of these ids, without those that are gone."""
        pipe = self.client.pipeline(transaction=False)
        for job_id in ids:
            pipe.hgetall(f"{PREFIX}job:{job_id}")
        # A worker of an earlier release enters every job in the indexes of `default`.
        return [parse_record(fields) for fields in pipe.execute() if fields and self.protocol.owns(fields)]

    def cancel(self, job_id: str) -> None:
        """Cancels a queued job, asks a running one to stop, leaves a finished one alone; raises `NotFound`."""
        if self.protocol.call("cancel", id=job_id) is None:
            raise _no_job(job_id)

    def finish_early(self, job_id: str) -> None:
        """Asks a running training to end after its current step and to keep the model.

        A finished training is left alone. Raises `NotFound`, and `Conflict` for another kind and for a queued job.
        """
        record = self.get(job_id)
        if record.kind != "training":
            raise Conflict("job_not_finishable", "Only a training can be finished early; cancel the job.", job=job_id)
        if self.protocol.call("finish_early", id=job_id) == "queued":
            message = "The training has not started, so there is no model to keep; cancel it instead."
            raise Conflict("job_not_running", message, job=job_id)

    def delete(self, job_id: str) -> None:
        """Deletes a finished job, and its images unless others name them. Raises `NotFound` and `Conflict`."""
        outcome = self.protocol.call("delete", id=job_id)
        if outcome == "missing":
            raise _no_job(job_id)
        if outcome == "unfinished":
            raise Conflict("job_not_finished", "The job has not finished; cancel it first.", job=job_id)

    # For workers. `fence` is the number of the caller's lease; an old one is refused.

    def claim(self, queue: str, *, worker: str, limit: int = 1, loaded: Sequence[str] = ()) -> list[Record]:
        """Leases the most urgent job of a queue and up to `limit` - 1 others with equal `compat`, if there are any.

        A job that was claimed before runs alone, and no job is taken before one of higher priority. Among the first of
        equal priority, one is preferred that needs only models in `loaded`. Records of a newer format than `FORMAT` are
        left to newer workers.
        """
        own = {"worker": worker, "loaded": list(loaded), "format": FORMAT}
        outcome, rows = "again", []
        while outcome == "again":
            outcome, rows = self.protocol.call("claim", queue=queue, limit=limit, lease_ms=self._lease_ms, **own)
        return [parse_record(dict(zip(row[::2], row[1::2], strict=True))) for row in rows]

    def renew(self, job_id: str, fence: int) -> str:
        """Extends a lease; returns `running`, `finishing`, `canceling` or `lost`."""
        return cast(str, self.protocol.call("renew", id=job_id, fence=fence, lease_ms=self._lease_ms))

    def report(
        self, job_id: str, fence: int, kind: str, data: dict[str, Any], progress: dict[str, Any] | None = None
    ) -> str:
        """Adds an event and sets the progress; returns what `renew` does."""
        extra = {"progress": json.dumps(progress)} if progress else {}
        arguments = {"id": job_id, "fence": fence, "type": kind, "data": json.dumps(data), **extra}
        return cast(str, self.protocol.call("report", nonce=secrets.token_hex(8), **arguments))

    def finish(self, job_id: str, fence: int, ending: Ending) -> str:
        """Ends a job; returns its final status (`canceled` when a cancel came first) or `lost`."""
        return cast(str, self.protocol.call("finish", id=job_id, fence=fence, **finish_arguments(ending)))

    def keep_checkpoint(self, job_id: str, fence: int, checkpoint: dict[str, Any]) -> str:
        """Replaces the checkpoint (`step`, `sha256`, `size_bytes`) of a job; returns what `renew` does."""
        return cast(str, self.protocol.call("checkpoint", id=job_id, fence=fence, checkpoint=json.dumps(checkpoint)))

    def keep_losses(self, job_id: str, fence: int, losses: list[dict[str, Any]]) -> str:
        """Replaces the losses of a training (`step`, `losses` of each point); returns what `renew` does."""
        return cast(str, self.protocol.call("losses", id=job_id, fence=fence, losses=json.dumps(losses)))

    def release(self, job_id: str, fence: int) -> str:
        """Requeues a job without delay; the attempt does not count."""
        return cast(str, self.protocol.call("release", id=job_id, fence=fence))

    @property
    def _lease_ms(self) -> int:
        return int(self.settings.lease_s * 1000)

    # For upkeep and metrics.

    def sweep(self) -> None:
        """Requeues jobs whose lease ran out or whose retry is due; expires and deletes jobs whose time is over.

        Makes at most a thousand calls of bounded work, between which Redis serves others.
        """
        delay_ms = self.settings.retry_delay_s * 1000
        for _ in range(1000):
            if self.protocol.call("sweep", max_attempts=self.settings.max_attempts, retry_delay_ms=delay_ms) == "swept":
                return

    def depths(self) -> dict[str, int]:
        """Number of queued jobs by queue."""
        return dict(zip(QUEUES, self.protocol.call("depths", queues=QUEUES), strict=True))

    def busy_children(self) -> dict[str, int]:
        """Number of worker processes that run a job, by the queue of the job."""
        pipe = self.client.pipeline(transaction=False)
        for job_id in cast(list[str], self.client.zrange(f"{PREFIX}leases", 0, -1)):
            pipe.hmget(f"{PREFIX}job:{job_id}", ["queue", "worker"])
        return Counter(queue for queue, _ in {tuple(found) for found in pipe.execute()})

    def without_nudge(self, queue: str) -> list[str]:
        """Returns up to 1,000 ids of queued jobs for which no Celery message waits."""
        return cast(list[str], self.protocol.call("without_nudge", queue=queue))

    def set_weight(self, tenant: str, weight: float) -> None:
        """Sets how many of its jobs are claimed for each one of a tenant of weight 1, while both have some queued."""
        self.client.hset(f"{PREFIX}weights", tenant, str(weight))


def create_arguments(job: NewJob, settings: Settings) -> dict[str, Any]:
    """The arguments of the protocol's `create`."""
    key, request_hash = job.idempotency or (None, None)
    return {
        "id": new_job_id(),
        "format": FORMAT,
        "kind": job.kind,
        "queue": job.queue,
        "params": json.dumps(job.params),
        "inputs": list(dict.fromkeys([*job.images, *job.archives])),
        "compat": job.compat,
        "priority": job.priority,
        "expires_ms": (job.expires_in or 0) * 1000,
        "ttl_ms": settings.job_ttl_s * 1000,
        "upload_ttl_ms": settings.image_ttl_s * 1000,
        "max_queue": settings.max_queue,
        "limits": dict(job.limits),
        "safety": job.safety,
        "retry_of": job.retry_of,
        "webhook_url": job.webhook_url or "",
        "request_id": job.request_id,
        "traceparent": job.traceparent,
        "uses": " ".join(dict.fromkeys([*job.models, *job.collections])),
        "models": " ".join(dict.fromkeys(job.loads)),
        **({"collection": job.collection} if job.collection else {}),
        **({"idem_key": key, "idem_hash": request_hash} if key else {}),
    }


def finish_arguments(ending: Ending) -> dict[str, Any]:
    """The arguments of the protocol's `finish`, except the job and the fence."""
    return {
        "status": ending.status,
        "outputs": json.dumps(list(ending.outputs)),
        "each_output": [json.dumps(output) for output in ending.outputs],
        "metrics": json.dumps(ending.metrics),
        "run_ms": ending.metrics.get("run_ms", 0),
        **({"error": json.dumps(ending.error)} if ending.error else {}),
        **({"model": model_arguments(ending.model)} if ending.model else {}),
        **({"collection": version_arguments(ending.collection)} if ending.collection else {}),
    }


def _no_job(job_id: str) -> NotFound:
    return NotFound("job_not_found", "There is no such job; it may have been deleted or have expired.", job=job_id)


def _key_reuse() -> BadInput:
    message = "This Idempotency-Key was used for another request."
    return BadInput("idempotency_key_reuse", message, header="Idempotency-Key")


def _index(kind: str | None, status: str | None) -> str:
    """The key of the sorted set that holds the jobs a filter selects."""
    if kind and status:
        return f"jobs:kind-status:{kind}:{status}"
    return f"jobs:status:{status}" if status else f"jobs:kind:{kind}" if kind else "jobs"
