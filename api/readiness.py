"""Checks whether a job submitted now will run, for `/readyz`: in a thread, at a bounded cost."""

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
from jobs.schemas import SAFETY_MODEL, SafetyPolicy
from jobs.settings import Settings
from jobs.store.client import connect
from jobs.store.heartbeats import Vitals
from jobs.store.jobs import JobStore
from jobs.store.keys import Keys
from jobs.store.records import QUEUES

TIMEOUT_S = 3  # for one response of Redis or the object store
STORAGE_EVERY_S = 3  # each check writes an object
EVERY_S = 0.5
T = TypeVar("T")

Check = Literal["redis", "storage", "upkeep", "leases", "workers", "children", "stalled", "safety"]
Workers = dict[str, dict[str, Any]]


class Failing(BaseModel):
    """A reason why a job submitted now may not run."""

    check: Check
    message: str


class Ready(BaseModel):
    """The state of the service; `queues` counts the workers of each queue, `failing` lists what is wrong."""

    ready: bool
    redis: bool
    storage: bool
    upkeep: bool
    queues: dict[str, int]
    workers: list[str]
    failing: list[Failing]


class Probe(Generic[T]):
    """Runs a check in its own thread, at most once per `every_s` seconds and one at a time."""

    def __init__(self, check: Callable[[], T], every_s: float) -> None:
        self._check = check
        self._every_s = every_s
        self._thread = ThreadPoolExecutor(1)
        self._lock = threading.Lock()
        self._latest: Future[T] | None = None
        self._next = 0.0

    def ask(self) -> "Future[T]":
        """Returns the latest result, or that of the running check, which may never finish."""
        with self._lock:
            if self._latest is None or (self._latest.done() and time.monotonic() >= self._next):
                self._next = time.monotonic() + self._every_s
                self._latest = self._thread.submit(self._check)
            return self._latest


def make_readiness(settings: Settings) -> Probe[Ready]:
    """Creates the readiness check, with separate connections that have short timeouts."""
    jobs = JobStore(connect(settings, attempts=0, timeout_s=TIMEOUT_S), settings)
    storage = Probe(Objects(settings, jobs, retry_s=1).check, STORAGE_EVERY_S)
    return Probe(partial(_assess, jobs, storage, settings.safety), EVERY_S)


def unanswered() -> Ready:
    """Returns the result to report while the checks do not finish."""
    return _ready({}, [Failing(check="redis", message=f"The checks did not finish within {2 * TIMEOUT_S} seconds.")])


def _assess(jobs: JobStore, storage: Probe[None], policy: SafetyPolicy) -> Ready:
    stored = storage.ask()
    workers: Workers = {}
    failing: list[Failing] = []
    try:
        vitals, workers, upkeeps = jobs.heartbeats.vitals(), jobs.heartbeats.workers(), jobs.heartbeats.upkeeps()
        unfiltered = [*_safety(policy, jobs.keys, workers)]
    except RedisError as error:
        failing.append(Failing(check="redis", message=f"Redis does not accept writes: {_reason(error)}."))
    else:
        failing += [*_upkeep(upkeeps, vitals.overdue_leases), *_frozen(workers), *unfiltered]
        for queue in QUEUES:
            failing += _queue(queue, workers, vitals)
    return _ready(workers, [*failing, *_storage(stored)])


def _reason(error: RedisError) -> str:
    code = str(error).split(" ", 1)[0]
    return code if code.isupper() else type(error).__name__  # not the text, which may contain an address


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
        yield Failing(check="upkeep", message="No upkeep process has completed a round recently.")
    if overdue_leases:
        message = f"{overdue_leases} leases ran out and their jobs were not requeued; upkeep is too slow."
        yield Failing(check="leases", message=message)


def _frozen(workers: Workers) -> Iterator[Failing]:
    for name, facts in workers.items():
        if is_frozen(facts):
            pids = ", ".join(map(str, facts["frozen"])) or "there is none"
            yield Failing(check="children", message=f"No child process of {name} is responsive: {pids}.")


def _safety(policy: SafetyPolicy, keys: Keys, workers: Workers) -> Iterator[Failing]:
    lacking = [name for name, facts in workers.items() if SAFETY_MODEL not in facts.get("installed", ())]
    if not lacking:
        return
    asking = f"ATELIER_SAFETY is {policy}" if policy != "off" else None
    for key in keys.all() if not asking else ():
        if key.is_valid and key.safety in ("flag", "refuse"):
            asking = f"`safety` of the API key {key.id} is {key.safety}"
    if asking:
        remedy = f"run `python -m models.fetch {SAFETY_MODEL}` there"
        message = f"{asking}, and the model of the safety filter is not installed on {', '.join(lacking)}: {remedy}."
        yield Failing(check="safety", message=message)


def _queue(queue: str, workers: Workers, vitals: Vitals) -> Iterator[Failing]:
    if not any(serves(facts, queue) for facts in workers.values()):
        yield Failing(check="workers", message=f"No worker serves the queue {queue!r}.")
    if any(is_stalled(queue, facts, vitals) for facts in workers.values()):
        waited = f"{vitals.waiting_s[queue]:.0f} s"
        message = f"A job has waited {waited} in the queue {queue!r} while a worker was free to take it."
        yield Failing(check="stalled", message=message)


def _storage(stored: "Future[None]") -> Iterator[Failing]:
    try:
        stored.result(timeout=TIMEOUT_S)
    except TimeoutError:
        yield Failing(check="storage", message=f"The object store did not respond within {TIMEOUT_S} seconds.")
    except Unavailable:
        yield Failing(check="storage", message="An object could not be written to the object store and read back.")
