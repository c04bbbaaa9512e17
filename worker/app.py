"""The Celery application: `celery -A worker.app worker -Q fast,gpu,collect,train`.

A message only says that a job waits; which job is run is decided in Redis, by the claim.
"""

import os
import signal
from functools import cache

from celery import Task
from celery.signals import setup_logging

from jobs.objects import Objects
from jobs.queue import TASK, make_celery
from jobs.settings import get_settings
from jobs.store.client import connect
from jobs.store.jobs import JobStore
from models.catalogue import CardError, cards
from worker.heartbeat import WorkerHeartbeat
from worker.lease import stopping
from worker.logs import configure_logging
from worker.run import run_job, run_jobs
from worker.runners import BATCH_RUNNERS, RUNNERS

PATIENCE = 120  # attempts of a second each: a worker outlasts a restart of Redis

# Read when torch is loaded: OpenMP's threads wait for each other awake for some microseconds, then asleep. Always
# awake, they lose most of their time wherever anything else needs a core, such as the worker of the other queue; asleep
# at once, a good part of it on waking (bench/contention.py).
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
# Read at torch's first large tensor: it lies in large pages, which cost less to clear (bench/style.py).
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

try:
    cards()
except CardError as error:
    raise SystemExit(str(error)) from error
settings = get_settings()
os.environ["ATELIER_DTYPE"] = settings.dtype  # models/ reads the environment, and knows no `.env` file
app = make_celery(settings)
setup_logging.connect(lambda **_: configure_logging(), weak=False)


@cache
def _hands() -> tuple[JobStore, Objects, Objects]:
    """The store, the objects and the previews of this child process; made by its first task, after the fork."""
    # Supervisors send SIGTERM to the children too: a running job goes back at its next step.
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    jobs = JobStore(connect(settings, attempts=PATIENCE), settings)
    return jobs, Objects(settings, jobs, retry_s=settings.storage_retry_s), Objects(settings, jobs, retry_s=1)


@app.task(name=TASK, bind=True)
def run(self: Task, job_id: str) -> None:
    """Claim the most urgent job of the queue this nudge came by and those alike, and run them; none is no error.

    `job_id` is for the log: were the nudge's own job claimed, a lost nudge could strand a job behind later ones.
    """
    jobs, objects, previews = _hands()
    if stopping.is_set():
        return
    queue = self.request.delivery_info["routing_key"]
    records = jobs.claim(queue, worker=f"{self.request.hostname}/{os.getpid()}", limit=settings.max_batch)
    if len(records) == 1:
        run_job(jobs, objects, previews, records[0], RUNNERS[records[0].kind])
    elif records:
        run_jobs(jobs, objects, previews, records, BATCH_RUNNERS[records[0].kind])


app.steps["worker"].add(WorkerHeartbeat)
