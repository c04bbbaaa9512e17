"""Queued jobs that expire, and the end of finished records."""

import time

import pytest

from jobs.errors import NotFound
from jobs.store.jobs import JobStore
from jobs.store.protocol import PREFIX
from tests.jobs.store.helpers import OUTPUT, PNG, end, make, make_later, pass_by, refused, take


def test_job_still_queued_after_its_time_expires_and_a_running_one_does_not(store: JobStore) -> None:
    running = make(store, expires_in=1)
    take(store)
    waiting, seen_by_claim = make(store, expires_in=1), make(store, expires_in=1)
    unbounded = make(store)
    time.sleep(1.05)
    assert take(store).id == unbounded
    store.sweep()
    found = [store.get(job_id).status for job_id in (running, waiting, seen_by_claim, unbounded)]
    assert found == ["running", "expired", "expired", "running"]


@pytest.mark.parametrize("limit", [1, 16])
def test_many_jobs_that_expire_together_are_none_of_them_claimed(store: JobStore, limit: int) -> None:
    ids = [make(store, expires_in=1, compat="a") for _ in range(250)]
    for job_id in ids:
        pass_by(store, "expiry", job_id)
    assert store.claim("fast", worker="w", limit=limit) == []
    assert {store.get(job_id).status for job_id in ids} == {"expired"}


def test_jobs_behind_many_that_expired_are_claimed_together(store: JobStore) -> None:
    for job_id in [make(store, expires_in=1) for _ in range(250)]:
        pass_by(store, "expiry", job_id)
    ids = [make_later(store, compat="a") for _ in range(3)]
    assert [job.id for job in store.claim("fast", worker="w", limit=16)] == ids


def test_one_sweep_ends_all_that_is_due_in_calls_of_bounded_work(store: JobStore) -> None:
    ids = [make(store, expires_in=1) for _ in range(450)]
    for job_id in ids:
        pass_by(store, "expiry", job_id)
    sweeps = {"max_attempts": 3, "retry_delay_ms": 0}
    assert store.protocol.call("sweep", **sweeps) == "again"
    assert store.client.zcard(f"{PREFIX}jobs:status:expired") == 100
    store.sweep()
    assert store.client.zcard(f"{PREFIX}jobs:status:expired") == 450
    for job_id in ids:
        pass_by(store, "done", job_id)
    assert store.protocol.call("sweep", **sweeps) == "again"
    assert store.client.zcard(f"{PREFIX}jobs") == 350
    store.sweep()
    assert list(store.client.scan_iter("*")) == [f"{PREFIX}stats"]


@pytest.mark.parametrize("way_back", ["lapse", "release"])
def test_job_that_came_back_to_its_queue_still_expires(store: JobStore, way_back: str) -> None:
    job_id = make(store, expires_in=1)
    job = take(store)
    time.sleep(1.05)
    if way_back == "release":
        store.release(job_id, job.fence)
    else:
        pass_by(store, "leases", job_id)
        store.sweep()
    store.sweep()
    assert store.get(job_id).status == "expired"
    assert store.claim("fast", worker="w") == []


def test_deleted_job_leaves_only_the_counters(store: JobStore) -> None:
    store.references.hold(PNG)
    job_id = make(store, images=[PNG], expires_in=60)
    end(store, take(store), outputs=[OUTPUT])
    store.delete(job_id)
    left = set(store.client.keys("*"))  # type: ignore[arg-type]
    counters = {f"{PREFIX}{name}" for name in ("stats", "claimed", "ends", "served:fast")}
    assert left == counters | {f"{PREFIX}{name}" for name in ("objects", f"refs:{PNG}", f"owners:{PNG}")}
    assert store.client.zrange(f"{PREFIX}refs:{PNG}", 0, -1) == ["hold"]


def test_finished_record_is_forgotten_at_the_end_of_its_life(store: JobStore) -> None:
    job_id = make(store)
    end(store, take(store))
    store.sweep()
    assert store.get(job_id).status == "succeeded"
    pass_by(store, "done", job_id)
    store.sweep()
    refused(NotFound, "job_not_found", store.get, job_id)
    assert store.page(kind=None, status=None, limit=10, cursor=None) == ([], None)


def test_jobs_that_name_many_objects_are_forgotten_a_few_at_a_time(store: JobStore) -> None:
    shas = [f"{n:064x}" for n in range(300)]
    for _ in range(12):
        make(store)
        job = take(store)
        end(store, job, outputs=[OUTPUT | {"index": n, "sha256": sha} for n, sha in enumerate(shas)])
        pass_by(store, "done", job.id)
    assert store.protocol.call("sweep", max_attempts=3, retry_delay_ms=0) == "again"
    assert store.client.zcard(f"{PREFIX}jobs") == 8
    store.sweep()
    assert store.client.zcard(f"{PREFIX}jobs") == 0
    assert sorted(store.references.condemn(limit=500)) == shas
