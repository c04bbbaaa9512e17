"""The Celery application: `celery -A worker.app worker -Q fast,search,gpu,collect,train`.

A message only reports that a job waits; the claim in Redis decides which job runs.
"""

import os
import signal
import time
from functools import cache

from celery import Task
from celery.signals import setup_logging, worker_process_init

from jobs.logs import configure_logging
from jobs.objects import Objects
from jobs.queue import TASK, make_celery
from jobs.settings import get_settings
from jobs.store.client import connect
from jobs.store.jobs import JobStore
from jobs.tracing import add_span, start_tracing
from models.catalogue import CardError, cards
from worker import runners
from worker.children import start_child
from worker.heartbeat import WorkerHeartbeat
from worker.lease import stopping
from worker.run import run_jobs
from worker.runners import loaded
from worker.signing import check_signing

REDIS_ATTEMPTS = 120  # about a second each, so that a worker survives a restart of Redis

# Read when torch is loaded: OpenMP's threads spin for some microseconds when they wait for each other, then sleep.
# Threads that always spin lose most of their time when another process, such as the worker of another queue, needs a
# core; threads that sleep at once lose time on waking up (bench/contention.py).
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
# Read at torch's first large tensor: large pages are cleared faster (bench/style.py).
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

try:
    cards()
except CardError as error:
    raise SystemExit(str(error)) from error
settings = get_settings()
check_signing(settings)
os.environ["ATELIER_DTYPE"] = settings.dtype  # models/ reads the environment only, not the `.env` file
app = make_celery(settings)
setup_logging.connect(lambda **_: configure_logging(settings), weak=False)
worker_process_init.connect(start_child)


@cache
def open_stores() -> tuple[JobStore, Objects, Objects]:
    """Connects this child process to jobs, objects and previews; its first task calls it, after the fork."""
    # Supervisors send SIGTERM to the children too: a running job is requeued at its next step.
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    start_tracing(settings, "atelier-worker")
    jobs = JobStore(connect(settings, attempts=REDIS_ATTEMPTS), settings)
    return jobs, Objects(settings, jobs, retry_s=settings.storage_retry_s), Objects(settings, jobs, retry_s=1)


@app.task(name=TASK, bind=True)
def run(self: Task, job_id: str) -> None:
    """Claims the most urgent job of the nudge's queue and compatible ones, if there are any, and runs them.

    `job_id` is only logged: if each nudge claimed its own job, a lost nudge would leave a job behind later ones.
    """
    jobs, objects, previews = open_stores()
    if stopping.is_set():
        return
    started = time.time()
    queue = self.request.delivery_info["routing_key"]
    name = f"{self.request.hostname}/{os.getpid()}"
    records = jobs.claim(queue, worker=name, limit=settings.max_batch, loaded=loaded.cached_ids())
    for record in records:
        add_span("claim", record.traceparent, started, time.time())
    if records:
        run_jobs(jobs, objects, previews, records, runners.run)


app.steps["worker"].add(WorkerHeartbeat)
