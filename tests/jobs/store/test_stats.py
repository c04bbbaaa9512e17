"""Counters and histograms are counted in the step that changes a job."""

from jobs.store.jobs import JobStore
from jobs.store.records import Ending
from jobs.store.stats import cumulative
from tests.jobs.conftest import with_settings
from tests.jobs.store.helpers import end, make, pass_by, take


def counts(store: JobStore, name: str) -> dict[str, float]:
    return {":".join(parts[1:]): value for parts, value in store.stats.read().items() if parts[0] == name}


def test_the_wait_of_a_job_is_counted_at_its_first_claim(store: JobStore) -> None:
    make(store)
    store.release(take(store).id, 1)
    take(store)
    waited = counts(store, "wait_seconds")
    assert {part for part in waited if not part.endswith("sum")} == {"probe:fast:0.05"}
    assert waited["probe:fast:0.05"] == 1


def test_a_run_is_counted_in_the_bucket_of_its_time(store: JobStore) -> None:
    for run_ms in (50, 51, 2e9):
        make(store)
        job = take(store)
        store.finish(job.id, job.fence, Ending("succeeded", {"run_ms": run_ms}))
    assert counts(store, "run_seconds") == {
        "probe:fast:0.05": 1, "probe:fast:0.1": 1, "probe:fast:+Inf": 1, "probe:fast:sum": 2_000_000.101
    }  # fmt: skip


def test_the_size_of_each_batch_is_counted(store: JobStore) -> None:
    for _ in range(5):
        make(store, compat="a")
    for limit in (3, 8):
        store.claim("fast", worker="w", limit=limit)
    store.claim("fast", worker="w")
    assert counts(store, "batch_jobs") == {"fast:4": 1, "fast:2": 1, "fast:sum": 5}


def test_failures_are_counted_by_code(store: JobStore) -> None:
    make(store)
    end(store, take(store), "failed", error={"code": "timeout", "message": "", "details": {}})
    store = with_settings(store, max_attempts=1)
    make(store)
    pass_by(store, "leases", take(store).id)
    store.sweep()
    assert counts(store, "failures") == {"probe:timeout": 1, "probe:worker_lost": 1}
    assert counts(store, "jobs") == {"probe:failed": 2}


def test_buckets_of_another_release_are_counted_in_the_next_larger_one() -> None:
    assert cumulative({"1": 2, "3": 1, "+Inf": 4}, (1, 2.5, 5)) == [("1", 2), ("2.5", 2), ("5", 3), ("+Inf", 7)]
