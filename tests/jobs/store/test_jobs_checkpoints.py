"""Checkpoints of running jobs."""

import pytest

from jobs.store.jobs import JobStore
from jobs.store.records import Record
from tests.jobs.conftest import with_settings
from tests.jobs.store.helpers import OTHER_PNG, PNG, end, make, pass_by, take


def keep(store: JobStore, job: Record, sha: str) -> str:
    """Stores a checkpoint of a job."""
    assert store.references.hold(sha, job.id)
    return store.keep_checkpoint(job.id, job.fence, {"step": 5, "sha256": sha, "size_bytes": 7})


def test_only_the_newest_checkpoint_is_kept_and_the_one_before_goes_at_once(store: JobStore) -> None:
    make(store)
    job = take(store)
    assert keep(store, job, PNG) == "running"
    assert keep(store, job, PNG) == "running", "asked again after a lost answer"
    assert store.references.condemn() == []
    assert keep(store, job, OTHER_PNG) == "running"
    assert store.references.condemn() == [PNG], "its hold was the job's own, and not of an hour"
    assert store.get(job.id).checkpoint == {"step": 5, "sha256": OTHER_PNG, "size_bytes": 7}


def test_losses_are_those_of_the_lease_that_runs(store: JobStore) -> None:
    make(store)
    stale = take(store)
    points = [{"step": 3, "losses": {"loss": 0.5}}]
    assert store.get(stale.id).losses == []
    assert store.keep_losses(stale.id, stale.fence, points) == "running"
    pass_by(store, "leases", stale.id)
    with_settings(store, retry_delay_s=0).sweep()
    take(store)
    assert store.keep_losses(stale.id, stale.fence, []) == "lost"
    assert store.get(stale.id).losses == points


def test_checkpoint_of_an_old_lease_is_refused_and_its_object_let_go(store: JobStore) -> None:
    make(store)
    stale = take(store)
    pass_by(store, "leases", stale.id)
    store.sweep()
    assert keep(with_settings(store, hold_s=0), stale, PNG) == "lost"
    assert store.get(stale.id).checkpoint is None
    assert store.references.condemn() == [PNG]


@pytest.mark.parametrize("status", ["failed", "canceled"])
def test_retry_resumes_from_the_checkpoint_which_outlives_the_first_job(store: JobStore, status: str) -> None:
    first = make(store)
    job = take(store)
    keep(store, job, PNG)
    end(store, job, status)
    again = make(store, retry_of=first)
    assert store.get(again).checkpoint == store.get(first).checkpoint
    store.delete(first)
    assert store.references.condemn() == []
    assert take(store).checkpoint is not None
    store.cancel(again)
    pass_by(store, "leases", again)
    store.sweep()
    store.delete(again)
    assert store.references.condemn() == [PNG]


def test_checkpoint_goes_with_success_and_a_retry_begins_anew(store: JobStore) -> None:
    first = make(store)
    job = take(store)
    keep(store, job, PNG)
    end(store, job)
    assert store.get(first).checkpoint is None
    assert store.references.condemn() == [PNG]
    assert store.get(make(store, retry_of=first)).checkpoint is None


def test_attempts_that_leave_a_checkpoint_are_not_among_those_that_end_a_job(store: JobStore) -> None:
    quick = with_settings(store, retry_delay_s=0, max_attempts=2)
    job_id = make(store)
    for sha in ("1", "2", "3", "4", "5"):
        job = take(store)
        keep(store, job, sha * 64)
        pass_by(store, "leases", job_id)
        quick.sweep()
        assert quick.get(job_id).status == "queued"
    for expected in ("queued", "failed"):
        take(store)
        pass_by(store, "leases", job_id)
        quick.sweep()
        assert quick.get(job_id).status == expected
    error = quick.get(job_id).error
    assert error is not None and error["details"] == {"attempts": 2}
    assert quick.get(job_id).attempt == 7
