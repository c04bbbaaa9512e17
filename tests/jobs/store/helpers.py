"""Steps that the tests of the store share.

Nothing waits for a lease of 30 s: `pass_by` moves one time of one job into the past.
"""

import time
from typing import Any

import pytest

from jobs.errors import AtelierError
from jobs.store.jobs import JobStore
from jobs.store.protocol import PREFIX
from jobs.store.records import Ending, NewJob, Record

PNG = "a" * 64
OTHER_PNG = "b" * 64
ZIP = "d" * 64
OUTPUT = {"index": 0, "sha256": "c" * 64}
CARD: dict[str, Any] = {"id": "vae-0123456789ab", "files": {"model.safetensors": PNG}}


def make(store: JobStore, **given: Any) -> str:
    """Creates a job; returns its id."""
    job_id, is_new = store.create(NewJob(**{"kind": "probe", "queue": "fast", "params": {}, **given}))
    assert is_new
    return job_id


def take(store: JobStore, queue: str = "fast") -> Record:
    """Claims one job."""
    [record] = store.claim(queue, worker="w")
    return record


def end(store: JobStore, job: Record, status: str = "succeeded", **given: Any) -> str:
    """Finishes a claimed job."""
    return store.finish(job.id, job.fence, Ending(status, {"run_ms": 1}, **given))


def pass_by(store: JobStore, what: str, job_id: str) -> None:
    """Moves the time of a job in `leases`, `delayed`, `expiry` or `done` into the past."""
    assert store.client.zadd(f"{PREFIX}{what}", {job_id: 1}, xx=True, ch=True) == 1


def statuses(store: JobStore, job_id: str) -> list[str]:
    """Returns the statuses in the events of a job."""
    return [event["data"].split('"')[3] for event in events(store, job_id) if event["type"] == "status"]


def events(store: JobStore, job_id: str) -> list[dict[str, str]]:
    """Returns the events of a job, oldest first."""
    return [fields for _, fields in store.client.xrange(f"{PREFIX}events:{job_id}")]  # type: ignore[union-attr]


def now_ms(store: JobStore) -> float:
    """Time of Valkey's clock in milliseconds."""
    seconds, micros = store.client.time()  # type: ignore[misc]
    return float(seconds * 1000 + micros / 1000)


def refused(error: type[AtelierError], code: str, call: Any, *arguments: Any, **named: Any) -> AtelierError:
    """Checks that a call raises an error with this code; returns the error."""
    with pytest.raises(error) as caught:
        call(*arguments, **named)
    assert caught.value.code == code
    return caught.value


def make_later(store: JobStore, **given: Any) -> str:
    """Creates a job that is at least 2 ms younger than the last one; returns its id."""
    time.sleep(0.002)
    return make(store, **given)
