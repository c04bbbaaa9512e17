"""Heartbeats of a worker and of its child processes, each sent by its own thread.

They do not use Celery's timers, which Celery clears whenever it loses the connection to the broker.
"""

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psutil
from celery import bootsteps
from celery.signals import celeryd_init, worker_process_init
from celery.worker import state
from redis import RedisError

from jobs.settings import Settings, get_settings
from jobs.store.client import connect
from jobs.store.heartbeats import BEAT_S, SILENCE_S
from jobs.store.jobs import JobStore
from models.catalogue import cards, installed
from worker.files import remove_deleted_models
from worker.runners import loaded

log = logging.getLogger("atelier.worker")
_worker = ""  # name of this worker; its children inherit it


def repeat(beat: Callable[[], None], stop: threading.Event, name: str = "heartbeat") -> threading.Thread:
    """Starts a thread that calls `beat` every `BEAT_S` seconds until `stop` is set, even if it raises."""

    def loop() -> None:
        while not stop.is_set():
            try:
                beat()
            except RedisError as error:
                log.warning("%s failed: %s", name, type(error).__name__)
            except Exception:  # an error must not end the loop
                log.exception("%s failed", name)
            stop.wait(BEAT_S)

    thread = threading.Thread(target=loop, name=name, daemon=True)
    thread.start()
    return thread


def open_store(settings: Settings) -> JobStore:
    """Connects to the job store without retries: the next heartbeat follows soon."""
    return JobStore(connect(settings, attempts=0, timeout_s=BEAT_S), settings)


@celeryd_init.connect
def _note_worker(sender: str, **_: Any) -> None:
    global _worker
    _worker = sender


def child_name(pid: int) -> str:
    """Name in the heartbeats of a child process of this worker."""
    return f"{_worker}/{pid}"


@worker_process_init.connect
def _start_child_heartbeat(**_: Any) -> None:
    jobs = open_store(get_settings())
    repeat(lambda: jobs.heartbeats.beat_child(child_name(os.getpid()), loaded.figures()), threading.Event())


class WorkerHeartbeat(bootsteps.StartStopStep):
    """Sends the worker's heartbeat: its queues, its models and the state of its child processes."""

    requires = {"celery.worker.components:Pool"}

    def __init__(self, worker: Any, **options: Any) -> None:
        self._stop = threading.Event()

    def start(self, worker: Any) -> None:
        """Starts the thread once the first children are forked."""
        settings = get_settings()
        jobs, children = open_store(settings), Children()

        def beat() -> None:
            jobs.heartbeats.beat(worker.hostname, _facts(worker, settings) | children.facts(worker.pool, jobs))

        repeat(beat, self._stop)
        repeat(lambda: remove_deleted_models(jobs), self._stop, "clean-up of models")

    def stop(self, worker: Any) -> None:
        """Ends the heartbeat; the worker counts as away after `SILENCE_S` seconds."""
        self._stop.set()


def _facts(worker: Any, settings: Settings) -> dict[str, Any]:
    all_cards = cards()
    return {
        "queues": sorted(worker.app.amqp.queues.consume_from),
        "cards": [card.published() for card in all_cards.values()],
        "installed": [name for name, card in all_cards.items() if installed(card, settings.weights_dir)],
    }


class Children:
    """Checks the child processes of a worker at each heartbeat.

    A child is frozen when its heartbeat is missing and it has used no processor time since the last check. A missing
    heartbeat alone is not enough: a library may hold Python's lock, which blocks the heartbeat, while it computes.
    """

    def __init__(self) -> None:
        self._seen: dict[int, tuple[float, float]] = {}  # when a child was first seen, and its processor time
        self._all_busy_at = time.monotonic()
        self._figures: dict[str, dict[str, int]] = {}  # the latest of each child
        self._ended: Counter[str] = Counter()  # loads and evictions of children that ended

    def facts(self, pool: Any, jobs: JobStore) -> dict[str, Any]:
        """Returns the number of children, the process ids of frozen ones, for how long a child has been free, and the
        loads, evictions and bytes of the models of all children.
        """
        pids = list(pool.info.get("processes", []))
        living = jobs.heartbeats.living_children([child_name(pid) for pid in pids]) if pids else {}
        frozen = [pid for pid in pids if not self._moves(pid) and child_name(pid) not in living]
        self._seen = {pid: seen for pid, seen in self._seen.items() if pid in pids}
        if len(state.active_requests) >= len(pids):
            self._all_busy_at = time.monotonic()
        free_s = round(time.monotonic() - self._all_busy_at, 1)
        return {"children": len(pids), "frozen": frozen, "free_s": free_s, **self._models(pids, living)}

    def _models(self, pids: list[int], living: dict[str, dict[str, int]]) -> dict[str, int]:
        """The figures of all children; the loads and evictions of those that ended still count."""
        self._figures |= living
        for child in self._figures.keys() - {child_name(pid) for pid in pids}:
            self._ended.update(self._figures.pop(child) | {"model_bytes": 0})
        total = self._ended.copy()
        for figures in self._figures.values():
            total.update(figures)
        return {name: total[name] for name in loaded.figures()}

    def _moves(self, pid: int) -> bool:
        """Whether a child was started recently or has used processor time since the last check."""
        now, used = time.monotonic(), _processor_s(pid)
        since, used_before = self._seen.get(pid, (now, used))
        self._seen[pid] = since, used
        return now - since < SILENCE_S or used > used_before


def _processor_s(pid: int) -> float:
    """Processor time of a process in seconds; 0 if it has ended."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0
    return float(times.user + times.system)
