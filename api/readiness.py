"""Whether a job sent now will be run: what `/readyz` answers, found out by a thread at a bounded cost."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel
from redis import RedisError

from jobs.errors import Unavailable
from jobs.liveness import is_frozen, is_stalled, serves
from jobs.objects import Objects
from jobs.settings import Settings
from jobs.store.client import connect
from jobs.store.heartbeats import Vitals
from jobs.store.jobs import JobStore
from jobs.store.records import QUEUES

PATIENCE_S = 3  # for one answer of Redis and of the object store
STORAGE_EVERY_S = 3  # each look writes an object
EVERY_S = 0.5
T = TypeVar("T")

Check = Literal["redis", "storage", "upkeep", "leases", "workers", "children", "stalled"]
Workers = dict[str, dict[str, Any]]


class Failing(BaseModel):
    """One reason why a job sent now may not be run."""

    check: Check
    message: str


class Ready(BaseModel):
    """What a job needs; `queues` counts the workers that serve each queue, `failing` names what is wrong."""

    ready: bool
    redis: bool
    storage: bool
    upkeep: bool
    queues: dict[str, int]
    workers: list[str]
    failing: list[Failing]


class Probe(Generic[T]):
    """Runs a check in a thread of its own: at most once in `every_s` seconds, and never twice at a time."""

    def __init__(self, check: Callable[[], T], every_s: float) -> None:
        self._check = check
        self._every_s = every_s
        self._thread = ThreadPoolExecutor(1)
        self._lock = threading.Lock()
        self._latest: Future[T] | None = None
        self._next = 0.0

    def ask(self) -> "Future[T]":
        """The latest result, or the one in the making; a check that hangs leaves it unfinished."""
        with self._lock:
            if self._latest is None or (self._latest.done() and time.monotonic() >= self._next):
                self._next = time.monotonic() + self._every_s
                self._latest = self._thread.submit(self._check)
            return self._latest


def make_readiness(settings: Settings) -> Probe[Ready]:
    """The readiness of the service, over connections of its own that give up early."""
    jobs = JobStore(connect(settings, attempts=0, timeout_s=PATIENCE_S), settings)
    storage = Probe(Objects(settings, jobs, retry_s=1).check, STORAGE_EVERY_S)
    return Probe(partial(_assess, jobs, storage), EVERY_S)


def unanswered() -> Ready:
    """The answer while the checks themselves do not come to an end."""
    return _ready({}, [Failing(check="redis", message=f"The checks did not end within {2 * PATIENCE_S} seconds.")])


def _assess(jobs: JobStore, storage: Probe[None]) -> Ready:
    stored = storage.ask()
    workers: Workers = {}
    failing: list[Failing] = []
    try:
        vitals, workers, upkeeps = jobs.heartbeats.vitals(), jobs.heartbeats.workers(), jobs.heartbeats.upkeeps()
    except RedisError as error:
        failing.append(Failing(check="redis", message=f"Redis does not accept writes: {_reason(error)}."))
    else:
        failing += [*_upkeep(upkeeps, vitals.overdue_leases), *_frozen(workers)]
        for queue in QUEUES:
            failing += _queue(queue, workers, vitals)
    return _ready(workers, [*failing, *_storage(stored)])


def _reason(error: RedisError) -> str:
    code = str(error).split(" ", 1)[0]
    return code if code.isupper() else type(error).__name__  # without the text, which may hold an address


def _ready(workers: Workers, failing: list[Failing]) -> Ready:
    checks = {one.check for one in failing}
    return Ready(
        ready=not failing,
        redis="redis" not in checks,
        storage="storage" not in checks,
        upkeep=not checks & {"redis", "upkeep"},
        queues={queue: sum(serves(facts, queue) for facts in workers.values()) for queue in QUEUES},
        workers=sorted(workers),
        failing=failing,
    )


def _upkeep(upkeeps: list[str], overdue_leases: int) -> Iterator[Failing]:
    if not upkeeps:
        yield Failing(check="upkeep", message="No upkeep process has completed a round lately.")
    if overdue_leases:
        message = f"{overdue_leases} leases ran out and their jobs were not requeued; upkeep does not keep up."
        yield Failing(check="leases", message=message)


def _frozen(workers: Workers) -> Iterator[Failing]:
    for name, facts in workers.items():
        if is_frozen(facts):
            pids = ", ".join(map(str, facts["frozen"])) or "there is none"
            yield Failing(check="children", message=f"No child process of {name} moves: {pids}.")


def _queue(queue: str, workers: Workers, vitals: Vitals) -> Iterator[Failing]:
    if not any(serves(facts, queue) for facts in workers.values()):
        yield Failing(check="workers", message=f"No worker serves the queue {queue!r}.")
    if any(is_stalled(queue, facts, vitals) for facts in workers.values()):
        waited = f"{vitals.waiting_s[queue]:.0f} s"
        message = f"A job has waited {waited} in the queue {queue!r} while a worker was free to take it."
        yield Failing(check="stalled", message=message)


def _storage(stored: "Future[None]") -> Iterator[Failing]:
    try:
        stored.result(timeout=PATIENCE_S)
    except TimeoutError:
        yield Failing(check="storage", message=f"The object store did not answer within {PATIENCE_S} seconds.")
    except Unavailable:
        yield Failing(check="storage", message="The object store does not take and give back an object.")
