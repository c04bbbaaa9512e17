"""Upkeep: `python -m worker.upkeep`. Requeues jobs of dead workers, resends lost messages, and deletes expired data.

Any number of upkeep processes may run; each round is a few atomic commands of the job protocol.
"""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from kombu.exceptions import OperationalError
from redis import RedisError

from jobs.errors import NotFound, Unavailable
from jobs.logs import configure_logging
from jobs.objects import Objects
from jobs.queue import make_celery, nudge
from jobs.settings import get_settings
from jobs.store.client import connect
from jobs.store.jobs import JobStore
from jobs.store.records import QUEUES
from worker.webhooks import Webhooks

log = logging.getLogger("atelier.upkeep")
REMOVERS = 16  # threads that delete objects, which mostly wait for the store


def main() -> None:
    """Sweeps every `sweep_s` seconds, and calls webhooks and cleans up in threads, until SIGTERM or SIGINT.

    Each completed sweep sends the heartbeat of this process.
    """
    settings = get_settings()
    configure_logging(settings)
    jobs = JobStore(connect(settings, attempts=3), settings)
    objects = Objects(settings, jobs, retry_s=5)
    celery = make_celery(settings)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    webhooks = Webhooks(jobs)
    name = upkeep_name()

    def sweep() -> None:
        jobs.sweep()
        for queue in QUEUES:
            for job_id in jobs.without_nudge(queue):
                nudge(celery, queue, job_id)
        jobs.heartbeats.beat_upkeep(name)

    counted = threading.Event()

    def count() -> None:
        count_earlier(jobs, objects)
        counted.set()

    threading.Thread(target=_repeat, args=(count, 60, counted), daemon=True).start()  # until it has succeeded once
    # A slow receiver or object store must not delay the handling of lapsed leases.
    for round_, every_s in (
        (webhooks.start_due, min(1, settings.sweep_s)),
        (lambda: remove_unused(jobs, objects), settings.sweep_s),
    ):
        threading.Thread(target=_repeat, args=(round_, every_s, stop), daemon=True).start()
    _repeat(sweep, settings.sweep_s, stop)
    logging.shutdown()
    os._exit(0)  # without waiting for threads that wait for a receiver or a name server


def upkeep_name() -> str:
    """Name in the heartbeats of the upkeep process of this machine."""
    return f"upkeep@{socket.gethostname()}"


def _repeat(round_: Callable[[], object], every_s: float, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            round_()
        except (RedisError, OperationalError, Unavailable) as error:
            log.warning("round skipped: %s", type(error).__name__)
        except Exception:  # an error in one round must not end the loop
            log.exception("round failed")
        stop.wait(every_s)


def remove_unused(jobs: JobStore, objects: Objects) -> int:
    """Deletes the objects that no record names; returns how many.

    Each thread condemns one at a time, because a condemned object must be deleted within a minute, even if the store is
    slow.
    """

    def remove_one() -> bool:
        condemned = jobs.references.condemn(limit=1)
        for sha in condemned:
            objects.delete(sha)
            jobs.references.deleted(sha)
        return bool(condemned)

    def remove_all() -> int:
        return sum(iter(remove_one, False))

    if not remove_one():
        return 0
    with ThreadPoolExecutor(REMOVERS) as threads:
        return 1 + sum(future.result() for future in [threads.submit(remove_all) for _ in range(REMOVERS)])


def count_earlier(jobs: JobStore, objects: Objects) -> None:
    """Counts the bytes of objects that earlier releases stored for their tenants; again, it changes nothing."""
    for sha in jobs.references.unmeasured():
        with suppress(NotFound):
            jobs.references.adopt(sha, objects.size(sha))


if __name__ == "__main__":
    main()
