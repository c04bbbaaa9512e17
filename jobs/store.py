"""The job store: Redis holds the truth about every job, and `protocol.lua` is the only thing that changes it."""

import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import redis
import redis.asyncio
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from jobs.errors import BadInput, Conflict, NotFound, QueueFull, Unavailable
from jobs.registry import (
    Collection,
    TrainedModel,
    being_built,
    in_use,
    model_arguments,
    not_registered,
    parse_collection,
    parse_model,
    version_arguments,
)
from jobs.schemas import TERMINAL, Status
from jobs.settings import Settings

MAX_CONNECTIONS = 8  # of one client: its threads share them, a command at a time
QUEUES = ("fast", "gpu", "collect", "train")
PREFIX = "atelier:"
PROTOCOL = Path(__file__).with_name("protocol.lua").read_text()
WEBHOOK_TRIES, WEBHOOK_DELAY_MS = 10, 15_000  # the last try comes some two hours after the first
MAX_WEBHOOK_CALLS, WEBHOOK_CALLS_PER_HOST = 100, 4  # at once, by one process
BEAT_S = 3  # between two heartbeats of a process
SILENCE_S = 10  # a process without a heartbeat for this long counts as away


@dataclass(frozen=True)
class Record:
    """A job as Redis holds it; times are Unix milliseconds."""

    id: str
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

    @property
    def finished(self) -> bool:
        """Whether the job has reached a state it will not leave."""
        return self.status in TERMINAL


@dataclass(frozen=True)
class Vitals:
    """What readiness is judged by: seconds by queue, and the number of leases that ran out and were not taken back."""

    waiting_s: dict[str, float]
    unclaimed_s: dict[str, float]
    overdue_leases: int


@dataclass(frozen=True)
class Event:
    """One entry of a job's stream; `type` is status, progress, preview or output."""

    id: str
    type: str
    data: dict[str, Any]


class Client(redis.Redis):
    """A Redis client that tries each command up to `attempts` times more, with back-off of at most a second.

    redis-py's own retries need a connection to begin with, so they end at once while the server is away.
    """

    def __init__(self, settings: Settings, attempts: int, timeout_s: float) -> None:
        tcp: dict[str, Any] = {"socket_connect_timeout": timeout_s / 2, "socket_keepalive": True}
        pool = redis.BlockingConnectionPool.from_url(
            settings.redis_url,
            decode_responses=True,
            max_connections=MAX_CONNECTIONS,
            timeout=timeout_s,  # to get one of them
            socket_timeout=timeout_s,
            **({} if settings.redis_url.startswith("unix://") else tcp),
        )
        super().__init__(connection_pool=pool)
        self._patience = Retry(ExponentialWithJitterBackoff(base=0.05, cap=1), attempts)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command and return its answer."""
        once: Callable[..., Any] = super().execute_command
        return self._patience.call_with_retry(lambda: once(*args, **options), lambda _: None)


def connect(settings: Settings, *, attempts: int, timeout_s: float = 10) -> redis.Redis:
    """A Redis client that tries each command up to `attempts` times more, with back-off of at most a second.

    `timeout_s` bounds each wait for an answer.
    """
    return Client(settings, attempts, timeout_s)


def connect_async(settings: Settings) -> redis.asyncio.Redis:
    """An asynchronous client, for following event streams."""
    pool: redis.asyncio.BlockingConnectionPool = redis.asyncio.BlockingConnectionPool.from_url(
        settings.redis_url, decode_responses=True, max_connections=4, socket_timeout=30
    )
    return redis.asyncio.Redis(connection_pool=pool)


def new_holder() -> str:
    """The name of an upload while it is being stored."""
    return f"upload:{secrets.token_hex(8)}"


def new_job_id() -> str:
    """An id that sorts by the time it was made: `job_` and 24 hexadecimal digits."""
    return f"job_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(6)}"


class JobStore:
    """Reads records and runs the commands of the protocol; one instance serves any number of threads."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self.client = client
        self.settings = settings
        self._script = client.register_script(PROTOCOL)

    def _call(self, command: str, **arguments: Any) -> Any:
        return self._script(args=[command, json.dumps(arguments)])

    # The API's side.

    def create(
        self,
        *,
        kind: str,
        queue: str,
        params: dict[str, Any],
        images: Sequence[str] = (),
        archives: Sequence[str] = (),
        models: Sequence[str] = (),
        collections: Sequence[str] = (),
        collection: str | None = None,
        compat: str = "",
        priority: int = 0,
        expires_in: int | None = None,
        idempotency: tuple[str, str] | None = None,
        retry_of: str = "",
        webhook_url: str | None = None,
    ) -> tuple[str, bool]:
        """Write a queued job; returns its id and whether it is new.

        `images` and `archives` are the sha256 of the inputs, `models` and `collections` the ids of those the job uses,
        `collection` the one whose next version it makes (`registry.NEW` founds one), `compat` what jobs must share to
        run in one batch, `idempotency` the client's key and the sha256 of its request. Raises `QueueFull`,
        `Unavailable` (`redis_full`), `NotFound` (an input, model or collection is gone), `Conflict`
        (`collection_building`) and `BadInput` (`idempotency_key_reuse`).
        """
        key, request_hash = idempotency or (None, None)
        outcome, value = self._call(
            "create",
            id=new_job_id(),
            kind=kind,
            queue=queue,
            params=json.dumps(params),
            inputs=list(dict.fromkeys([*images, *archives])),
            compat=compat,
            priority=priority,
            expires_ms=(expires_in or 0) * 1000,
            ttl_ms=self.settings.job_ttl_s * 1000,
            upload_ttl_ms=self.settings.image_ttl_s * 1000,
            max_queue=self.settings.max_queue,
            retry_of=retry_of,
            webhook_url=webhook_url or "",
            uses=" ".join(dict.fromkeys([*models, *collections])),
            **({"collection": collection} if collection else {}),
            **({"idem_key": key, "idem_hash": request_hash} if key else {}),
        )
        if outcome == "full":
            raise QueueFull("queue_full", f"The queue {queue!r} is full; try again shortly.", queue=queue)
        if outcome == "out_of_room":
            raise _out_of_room()
        if outcome == "missing":
            raise _no_archive(value) if value in archives else _no_image(value)
        if outcome == "unknown":
            raise not_registered(value)
        if outcome == "building":
            raise being_built(str(collection), value)
        if outcome == "reused":
            raise _key_reuse()
        return value, outcome == "created"

    def known_request(self, key: str, request_hash: str) -> str | None:
        """The id of the job an idempotency key already made; raises `BadInput` when it was another request."""
        known = cast(str | None, self.client.get(f"{PREFIX}idem:{key}"))
        if known is None:
            return None
        known_hash, job_id = known.split(" ")
        if not self.client.exists(f"{PREFIX}job:{job_id}"):
            return None
        if known_hash != request_hash:
            raise _key_reuse()
        return job_id

    def get(self, job_id: str) -> Record:
        """The record of a job; raises `NotFound`."""
        fields = cast(dict[str, str], self.client.hgetall(f"{PREFIX}job:{job_id}"))
        if not fields:
            raise _no_job(job_id)
        return _record(fields)

    def snapshot(self, job_id: str) -> tuple[Record, Event, str]:
        """A record, the newest event it reflects and the id of the oldest event kept; raises `NotFound`."""
        pipe = self.client.pipeline()
        pipe.hgetall(f"{PREFIX}job:{job_id}")
        pipe.xrevrange(f"{PREFIX}events:{job_id}", count=1)
        pipe.xrange(f"{PREFIX}events:{job_id}", count=1)
        fields, last, first = pipe.execute()
        if not fields:
            raise _no_job(job_id)
        return _record(fields), parse_event(*last[0]), first[0][0]

    def queue_position(self, record: Record) -> int | None:
        """How many jobs of its queue rank before a queued job; None once it is not queued."""
        return self.queue_positions([record])[0]

    def queue_positions(self, records: Sequence[Record]) -> list[int | None]:
        """The `queue_position` of each of these jobs, asked for together."""
        pipe = self.client.pipeline(transaction=False)
        queued = [record for record in records if record.status == "queued"]
        for record in queued:
            pipe.zrank(f"{PREFIX}queue:{record.queue}", record.id)
        ranks = dict(zip([record.id for record in queued], pipe.execute(), strict=True))
        return [ranks.get(record.id) for record in records]

    def page(
        self, *, kind: str | None, status: str | None, limit: int, cursor: str | None
    ) -> tuple[list[Record], str | None]:
        """A page of records, newest first, and the cursor of the next page."""
        page: list[Record] = []
        while True:
            wanted = limit + 1 - len(page)
            ids = self._newest_first(_index(kind, status), cursor, wanted)
            page += [record for record in self._records(ids) if status in (None, record.status)]
            if len(page) > limit:
                return page[:limit], page[limit - 1].id
            if len(ids) < wanted:
                return page, None
            cursor = ids[-1]  # some changed their state between the index and the record

    def _newest_first(self, index: str, cursor: str | None, number: int) -> list[str]:
        start = f"({cursor}" if cursor else "+"
        return cast(list[str], self.client.zrevrangebylex(f"{PREFIX}{index}", start, "-", start=0, num=number))

    def _records(self, ids: Sequence[str]) -> list[Record]:
        """The records of these ids; those that are gone are left out."""
        pipe = self.client.pipeline(transaction=False)
        for job_id in ids:
            pipe.hgetall(f"{PREFIX}job:{job_id}")
        return [_record(fields) for fields in pipe.execute() if fields]

    def cancel(self, job_id: str) -> None:
        """Cancel a queued job, ask a running one to stop, leave a finished one as it is; raises `NotFound`."""
        if self._call("cancel", id=job_id) is None:
            raise _no_job(job_id)

    def finish_early(self, job_id: str) -> None:
        """Tells a running training to end after its step and keep the model as it then is.

        A finished one is left as it is. Raises `NotFound`, and `Conflict` for another kind and for a queued job.
        """
        record = self.get(job_id)
        if record.kind != "training":
            raise Conflict("job_not_finishable", "Only a training can be finished early; cancel the job.", job=job_id)
        if self._call("finish_early", id=job_id) == "queued":
            message = "The training has not started, so there is no model to keep; cancel it instead."
            raise Conflict("job_not_running", message, job=job_id)

    def delete(self, job_id: str) -> None:
        """Forget a finished job; its pictures go once nothing else names them. Raises `NotFound` and `Conflict`."""
        outcome = self._call("delete", id=job_id)
        if outcome == "missing":
            raise _no_job(job_id)
        if outcome == "unfinished":
            raise Conflict("job_not_finished", "The job has not finished; cancel it first.", job=job_id)

    # The worker's side. `fence` is the number of the caller's lease; an old one is refused.

    def claim(self, queue: str, *, worker: str, limit: int = 1) -> list[Record]:
        """Leases the most urgent job of a queue and up to `limit` - 1 with equal `compat`; empty if none is queued.

        A job that was claimed before runs alone, and no job is taken before one of higher priority.
        """
        outcome, rows = "again", []
        while outcome == "again":
            outcome, rows = self._call("claim", queue=queue, worker=worker, limit=limit, lease_ms=self._lease_ms)
        return [_record(dict(zip(row[::2], row[1::2], strict=True))) for row in rows]

    def renew(self, job_id: str, fence: int) -> str:
        """Extend a lease; returns `running`, `finishing`, `canceling` or `lost`."""
        return cast(str, self._call("renew", id=job_id, fence=fence, lease_ms=self._lease_ms))

    def report(
        self, job_id: str, fence: int, kind: str, data: dict[str, Any], progress: dict[str, Any] | None = None
    ) -> str:
        """Add an event, and set the progress with it; answers like `renew`."""
        extra = {"progress": json.dumps(progress)} if progress else {}
        arguments = {"id": job_id, "fence": fence, "type": kind, "data": json.dumps(data), **extra}
        return cast(str, self._call("report", nonce=secrets.token_hex(8), **arguments))

    def finish(
        self,
        job_id: str,
        fence: int,
        status: str,
        *,
        outputs: Sequence[dict[str, Any]] = (),
        metrics: dict[str, Any],
        error: dict[str, Any] | None = None,
        model: dict[str, Any] | None = None,
        collection: dict[str, Any] | None = None,
    ) -> str:
        """End a job; returns the state it ended in (`canceled` when a cancel came first) or `lost`.

        `model` is the card of the model it trained, whose files are stored: it is there once the job has succeeded.
        So is the version it made of its `collection`: the sha256 of the stored `file`, `figures`, and `plots` whose
        objects are stored.
        """
        return cast(
            str,
            self._call(
                "finish",
                id=job_id,
                fence=fence,
                status=status,
                outputs=json.dumps(list(outputs)),
                each_output=[json.dumps(output) for output in outputs],
                metrics=json.dumps(metrics),
                run_ms=metrics.get("run_ms", 0),
                **({"error": json.dumps(error)} if error else {}),
                **({"model": model_arguments(model)} if model else {}),
                **({"collection": version_arguments(collection)} if collection else {}),
            ),
        )

    def keep_checkpoint(self, job_id: str, fence: int, checkpoint: dict[str, Any]) -> str:
        """Note a stored checkpoint (`step`, `sha256`, `size_bytes`) in place of the last one; answers like `renew`."""
        return cast(str, self._call("checkpoint", id=job_id, fence=fence, checkpoint=json.dumps(checkpoint)))

    def release(self, job_id: str, fence: int) -> str:
        """Hand a job back unharmed, so that another worker takes it at once."""
        return cast(str, self._call("release", id=job_id, fence=fence))

    @property
    def _lease_ms(self) -> int:
        return int(self.settings.lease_s * 1000)

    # Upkeep.

    def sweep(self) -> None:
        """Returns lapsed leases and due retries to their queues, expires and forgets what is past its time.

        A thousand calls of bounded work at most, between which Redis serves others.
        """
        delay_ms = self.settings.retry_delay_s * 1000
        for _ in range(1000):
            if self._call("sweep", max_attempts=self.settings.max_attempts, retry_delay_ms=delay_ms) == "swept":
                return

    def depths(self) -> dict[str, int]:
        """Queued jobs by queue."""
        return {queue: cast(int, self.client.zcard(f"{PREFIX}queue:{queue}")) for queue in QUEUES}

    def stats(self) -> dict[str, float]:
        """Counters since the beginning: `jobs:<kind>:<status>` and `run_ms:<kind>`."""
        return {name: float(count) for name, count in self.client.hgetall(f"{PREFIX}stats").items()}  # type: ignore[union-attr]

    def without_nudge(self, queue: str) -> list[str]:
        """The ids of queued jobs, 1,000 at most, for which no Celery message waits; one in a worker's hands is none."""
        messages = cast(int, self.client.llen(queue))
        return cast(list[str], self.client.zrange(f"{PREFIX}queue:{queue}", messages, messages + 999))

    def due_webhooks(self, calling: Mapping[str, str]) -> list[tuple[str, str, int]]:
        """The finished jobs whose webhook is to be called now: the id, the host and the number of this try.

        `calling` maps the ids of the jobs whose webhook the caller is calling to their hosts; these are not returned,
        and with them at most `MAX_WEBHOOK_CALLS` run at once, `WEBHOOK_CALLS_PER_HOST` of them to one host.
        """
        rows = self._call(
            "webhooks",
            calling=dict(calling),
            max_calls=MAX_WEBHOOK_CALLS,
            per_host=WEBHOOK_CALLS_PER_HOST,
            max_tries=WEBHOOK_TRIES,
            delay_ms=WEBHOOK_DELAY_MS,
        )
        return [(job_id, host, int(number)) for job_id, host, number in rows]

    def webhook_called(self, job_id: str) -> None:
        """The webhook of a job has been taken; it is not called again."""
        self._call("called", id=job_id)

    def hold(self, sha: str, holder: str = "hold") -> bool:
        """Keep clean-up away from an object about to be stored; False while clean-up is removing it.

        `holder` is the job whose checkpoint it will be, or an upload.
        """
        return bool(self._call("hold", sha=sha, holder=holder, ttl_ms=self.settings.hold_s * 1000) == "held")

    def condemn(self, limit: int = 100) -> list[str]:
        """Objects nothing names any more, marked so that nobody stores them until `deleted` is called."""
        return cast(list[str], self._call("condemn", limit=limit))

    def deleted(self, sha: str) -> None:
        """An object that was condemned is gone."""
        self._call("deleted", sha=sha)

    # Uploads, trained models and workers.

    def put_image(self, sha: str, facts: dict[str, Any], holder: str | None = None) -> None:
        """Writes down an uploaded image's facts; it is kept for `image_ttl_s` after its last use.

        `holder`, in whose name its bytes were stored, holds them no longer.
        """
        self._put_upload("image", sha, facts, holder)

    def get_image(self, sha: str) -> tuple[dict[str, Any], int]:
        """An uploaded image's facts and the time (Unix ms) it is kept until; raises `NotFound`."""
        facts, until = self._get_upload("image", sha)
        if facts is None:
            raise _no_image(sha)
        return json.loads(facts), until

    def put_archive(self, sha: str, facts: dict[str, Any], holder: str | None = None) -> None:
        """Writes down an uploaded archive's facts; it is kept for `image_ttl_s` after its last use.

        `holder`, in whose name its bytes were stored, holds them no longer.
        """
        self._put_upload("archive", sha, facts, holder)

    def get_archive(self, sha: str) -> tuple[dict[str, Any], int]:
        """An uploaded archive's facts and the time (Unix ms) it is kept until; raises `NotFound`."""
        facts, until = self._get_upload("archive", sha)
        if facts is None:
            raise _no_archive(sha)
        return json.loads(facts), until

    def delete_image(self, sha: str) -> None:
        """Forgets an uploaded image; its bytes stay for as long as a job names them. Raises `NotFound`."""
        if self._call("delete_upload", sort="image", sha=sha) == "missing":
            raise _no_image(sha)

    def delete_archive(self, sha: str) -> None:
        """Forgets an uploaded archive as `delete_image` does an image; raises `NotFound`."""
        if self._call("delete_upload", sort="archive", sha=sha) == "missing":
            raise _no_archive(sha)

    def _put_upload(self, sort: str, sha: str, facts: dict[str, Any], holder: str | None) -> None:
        arguments = {"facts": json.dumps(facts), "ttl_ms": self.settings.image_ttl_s * 1000}
        held = {"holder": holder} if holder else {}
        if self._call("put_upload", sort=sort, sha=sha, **arguments, **held) == "out_of_room":
            raise _out_of_room()

    def _get_upload(self, sort: str, sha: str) -> tuple[str | None, int]:
        pipe = self.client.pipeline()
        pipe.get(f"{PREFIX}{sort}:{sha}")
        pipe.pexpiretime(f"{PREFIX}{sort}:{sha}")
        facts, until = pipe.execute()
        return facts, until

    def models(self) -> list[TrainedModel]:
        """Every trained model, in the order of their ids."""
        return [parse_model(fields) for _, fields in self._registered("model")]

    def model(self, model_id: str) -> TrainedModel:
        """One trained model; raises `NotFound`."""
        return parse_model(self._register("model", model_id))

    def delete_model(self, model_id: str) -> None:
        """Forget a trained model; its files go with it. Raises `NotFound`, and `Conflict` while it is in use."""
        self._unregister("model", model_id)

    def deleted_models(self, model_ids: Sequence[str]) -> list[str]:
        """Those of these trained models that were deleted here, the last 10,000 of all."""
        times = self.client.zmscore(f"{PREFIX}deleted-models", list(model_ids)) if model_ids else []
        return [model_id for model_id, at in zip(model_ids, cast(list[float | None], times), strict=True) if at]

    def collections(self) -> list[Collection]:
        """Every collection, newest first."""
        return [parse_collection(*entry) for entry in reversed(self._registered("collection"))]

    def collection(self, collection_id: str) -> Collection:
        """One collection; raises `NotFound`."""
        return parse_collection(collection_id, self._register("collection", collection_id))

    def delete_collection(self, collection_id: str) -> None:
        """Forget a collection; its files go with it. Raises `NotFound`, and `Conflict` while it is built or in use."""
        self._unregister("collection", collection_id)

    def _registered(self, sort: str) -> list[tuple[str, dict[str, str]]]:
        names = cast(list[str], self.client.zrange(f"{PREFIX}{sort}s", 0, -1))
        pipe = self.client.pipeline()
        for name in names:
            pipe.hgetall(f"{PREFIX}{sort}:{name}")
        return [(name, fields) for name, fields in zip(names, pipe.execute(), strict=True) if fields]

    def _register(self, sort: str, name: str) -> dict[str, str]:
        fields = cast(dict[str, str], self.client.hgetall(f"{PREFIX}{sort}:{name}"))
        if not fields:
            raise not_registered(name)
        return fields

    def _unregister(self, sort: str, name: str) -> None:
        outcome, users = self._call("unregister", sort=sort, id=name)
        if outcome == "missing":
            raise not_registered(name)
        if outcome == "building":
            raise being_built(name, users[0])
        if outcome == "in_use":
            raise in_use(name, users)

    # Heartbeats. Redis's clock alone decides who lives: those of the hosts may differ.

    def beat(self, worker: str, facts: dict[str, Any]) -> None:
        """Reports that a worker lives, what it serves and which models it has."""
        self._call("beat", sort="worker", name=worker, facts=json.dumps(facts))

    def workers(self, silence_s: float = SILENCE_S) -> dict[str, dict[str, Any]]:
        """The facts of each worker heard of in the last `silence_s` seconds, a day at most."""
        living = self._call("living", sort="worker", silence_ms=int(silence_s * 1000))
        return {name: json.loads(facts) for name, facts in living}

    def beat_child(self, child: str) -> None:
        """Reports that a child process of a worker lives."""
        self.client.set(f"{PREFIX}child:{child}", 1, px=SILENCE_S * 1000)

    def living_children(self, children: Sequence[str]) -> set[str]:
        """Those of these child processes that were heard of in the last `SILENCE_S` seconds."""
        marks = cast(list[str | None], self.client.mget([f"{PREFIX}child:{child}" for child in children]))
        return {child for child, mark in zip(children, marks, strict=True) if mark}

    def beat_upkeep(self, name: str) -> None:
        """Reports that an upkeep process has completed a round."""
        self._call("beat", sort="upkeep", name=name, facts="{}")

    def upkeeps(self) -> list[str]:
        """The upkeep processes that completed a round lately: in two intervals, `SILENCE_S` seconds at least."""
        return [name for name, _ in self._call("living", sort="upkeep", silence_ms=self._overdue_ms)]

    def vitals(self) -> Vitals:
        """Writes to Redis and returns what readiness is judged by."""
        ages, overdue = self._call("vitals", queues=QUEUES, overdue_ms=self._overdue_ms)
        waiting_s = {queue: waiting / 1000 for queue, (waiting, _) in zip(QUEUES, ages, strict=True)}
        unclaimed_s = {queue: unclaimed / 1000 for queue, (_, unclaimed) in zip(QUEUES, ages, strict=True)}
        return Vitals(waiting_s, unclaimed_s, overdue)

    @property
    def _overdue_ms(self) -> int:
        return int(max(SILENCE_S, 2 * self.settings.sweep_s) * 1000)


def _out_of_room() -> Unavailable:
    return Unavailable("redis_full", "Redis holds nearly as much as its `maxmemory`; delete jobs or raise it.")


def _no_job(job_id: str) -> NotFound:
    return NotFound("job_not_found", "There is no such job; it may have been deleted or have expired.", job=job_id)


def _no_image(sha: str) -> NotFound:
    return NotFound("image_not_found", f"No image img_{sha} is stored here; upload it first.", image=f"img_{sha}")


def _no_archive(sha: str) -> NotFound:
    return NotFound("archive_not_found", f"No archive zip_{sha} is stored here; upload it first.", archive=f"zip_{sha}")


def _key_reuse() -> BadInput:
    message = "This Idempotency-Key was used for another request."
    return BadInput("idempotency_key_reuse", message, header="Idempotency-Key")


def _record(fields: dict[str, str]) -> Record:
    def number(name: str) -> int | None:
        return int(fields[name]) if fields.get(name) else None

    def parsed(name: str) -> Any:
        return json.loads(fields[name]) if fields.get(name) else None

    return Record(
        id=fields["id"],
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
        metrics=(parsed("metrics") or {}) | _built(fields),
        error=parsed("error"),
        retry_of=fields.get("retry_of") or None,
        webhook_url=fields.get("webhook_url") or None,
        checkpoint=parsed("checkpoint"),
    )


def _index(kind: str | None, status: str | None) -> str:
    """The sorted set of the jobs that a filter lets through."""
    if kind and status:
        return f"jobs:kind-status:{kind}:{status}"
    return f"jobs:status:{status}" if status else f"jobs:kind:{kind}" if kind else "jobs"


def _built(fields: dict[str, str]) -> dict[str, Any]:
    """The version of a collection that a job made, of the protocol's own knowledge."""
    return {"collection": fields["collection"], "version": int(fields["version"])} if "version" in fields else {}


def parse_event(event_id: str, fields: dict[str, str]) -> Event:
    """An event of an entry of its stream."""
    return Event(event_id, fields["type"], json.loads(fields["data"]))
