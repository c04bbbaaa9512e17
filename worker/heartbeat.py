"""Heartbeats of a worker and of its child processes, each from a thread of its own.

Neither depends on Celery's connection to the broker: Celery clears its timers whenever that is cut.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
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

log = logging.getLogger("atelier.worker")
_worker = ""  # this worker's name, which its children inherit


def repeat(beat: Callable[[], None], stop: threading.Event, name: str = "heartbeat") -> threading.Thread:
    """Calls `beat` now and every `BEAT_S` seconds until `stop` is set, whatever it raises; returns the thread."""

    def loop() -> None:
        while not stop.is_set():
            try:
                beat()
            except RedisError as error:
                log.warning("%s failed: %s", name, type(error).__name__)
            except Exception:  # one that failed must not end those after it
                log.exception("%s failed", name)
            stop.wait(BEAT_S)

    thread = threading.Thread(target=loop, name=name, daemon=True)
    thread.start()
    return thread


def open_store(settings: Settings) -> JobStore:
    """A job store that gives up early: the next heartbeat is due in a moment."""
    return JobStore(connect(settings, attempts=0, timeout_s=BEAT_S), settings)


@celeryd_init.connect
def _note_worker(sender: str, **_: Any) -> None:
    global _worker
    _worker = sender


def child_name(pid: int) -> str:
    """The name under which a child process of this worker sends its heartbeat."""
    return f"{_worker}/{pid}"


@worker_process_init.connect
def _start_child_heartbeat(**_: Any) -> None:
    jobs = open_store(get_settings())
    repeat(lambda: jobs.heartbeats.beat_child(child_name(os.getpid())), threading.Event())


class WorkerHeartbeat(bootsteps.StartStopStep):
    """Sends the worker's heartbeat: its queues and models, and how its child processes fare."""

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
        """Ends the heartbeat; the worker counts as away some seconds later."""
        self._stop.set()


def _facts(worker: Any, settings: Settings) -> dict[str, Any]:
    known = cards()
    return {
        "queues": sorted(worker.app.amqp.queues.consume_from),
        "cards": [{**asdict(card), "fetch_command": card.fetch_command} for card in known.values()],
        "installed": [name for name, card in known.items() if installed(card, settings.weights_dir)],
    }


class Children:
    """The child processes of a worker, looked at once per heartbeat.

    A child is frozen when its heartbeat is missing and it has used no processor time since the last look: a library
    may keep Python's lock, and with it the child's heartbeat, for as long as it computes.
    """

    def __init__(self) -> None:
        self._seen: dict[int, tuple[float, float]] = {}  # when a child was first seen, and its processor time
        self._all_busy_at = time.monotonic()

    def facts(self, pool: Any, jobs: JobStore) -> dict[str, Any]:
        """The number of children, the process ids of the frozen ones, and for how long one was free for a job."""
        pids = list(pool.info.get("processes", []))
        living = jobs.heartbeats.living_children([child_name(pid) for pid in pids]) if pids else set()
        frozen = [pid for pid in pids if not self._moves(pid) and child_name(pid) not in living]
        self._seen = {pid: seen for pid, seen in self._seen.items() if pid in pids}
        if len(state.active_requests) >= len(pids):
            self._all_busy_at = time.monotonic()
        return {"children": len(pids), "frozen": frozen, "free_s": round(time.monotonic() - self._all_busy_at, 1)}

    def _moves(self, pid: int) -> bool:
        """Whether a child was started lately or has used processor time since the last look."""
        now, used = time.monotonic(), _processor_s(pid)
        since, used_before = self._seen.get(pid, (now, used))
        self._seen[pid] = since, used
        return now - since < SILENCE_S or used > used_before


def _processor_s(pid: int) -> float:
    """The processor time a process has used, in seconds; 0 for one that has ended."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0
    return float(times.user + times.system)
