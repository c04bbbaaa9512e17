import time
from datetime import UTC, datetime, timedelta

import pytest

from jobs.errors import AtelierError
from jobs.store.jobs import JobStore
from jobs.store.protocol import PREFIX
from jobs.store.records import Record
from worker.lease import PROGRESS_EVERY_S, CanceledError, Lease, LeaseLostError


def test_the_lease_outlives_its_length_while_the_job_runs(jobs: JobStore, record: Record) -> None:
    lease_s = jobs.settings.lease_s
    with Lease(jobs, record, lambda _: None):
        time.sleep(1.3 * lease_s)
        jobs.sweep()
        assert jobs.get(record.id).status == "running"
    time.sleep(1.1 * lease_s)
    jobs.sweep()
    assert jobs.get(record.id).status == "queued"


def test_progress_is_reported_at_most_four_times_a_second_and_the_last_step_always(
    jobs: JobStore, record: Record
) -> None:
    with Lease(jobs, record, lambda _: None) as lease:
        started = time.monotonic()
        for step in range(1, 51):
            time.sleep(0.01)
            lease.step(step, 50, "working")
        seconds = time.monotonic() - started
    events = jobs.client.xrange(f"{PREFIX}events:{record.id}")
    reported = [fields for _, fields in events if fields["type"] == "progress"]  # type: ignore[union-attr]
    assert 2 <= len(reported) <= 2 + seconds / PROGRESS_EVERY_S, "the first, the last and four a second"
    progress = jobs.get(record.id).progress or {}
    assert abs(datetime.now(UTC) - datetime.fromisoformat(progress.pop("estimated_end_at"))) < timedelta(seconds=10)
    assert progress == {"step": 50, "total": 50, "fraction": 1.0, "message": "working", "preview": None}


def test_the_end_is_estimated_by_the_pace_of_the_steps_of_this_attempt(jobs: JobStore, record: Record) -> None:
    def estimated(*steps: tuple[int, bool]) -> str | None:
        with Lease(jobs, record, lambda _: None) as lease:
            for step, begins in steps:
                time.sleep(0.3)
                lease.step(step, 1000, "training", begins=begins)
        end: str | None = (jobs.get(record.id).progress or {})["estimated_end_at"]
        return end

    assert estimated((0, False)) is None and estimated((0, False), (500, True)) is None
    end = datetime.fromisoformat(str(estimated((0, False), (500, True), (501, False))))
    left = end - datetime.now(UTC)
    assert timedelta(seconds=140) < left, "499 steps of 0.3 s; by the steps of earlier attempts it were 1 s"


def test_a_preview_is_shown_at_most_once_a_second(jobs: JobStore, record: Record) -> None:
    shown: list[int] = []

    def show(image: int) -> str:
        shown.append(image)
        return f"{image:064x}"

    with Lease(jobs, record, show) as lease:
        for step in range(1, 21):
            time.sleep(0.06)
            lease.step(step, 20, "working", lambda step=step: step)  # type: ignore[misc]
    assert len(shown) == 2
    progress = jobs.get(record.id).progress
    assert progress is not None and progress["preview"] == f"{shown[-1]:064x}"


def test_a_preview_that_is_due_is_shown_at_once(jobs: JobStore, record: Record) -> None:
    shown: list[int] = []
    with Lease(jobs, record, lambda image: shown.append(image) or f"{image:064x}") as lease:  # type: ignore[func-returns-value]
        for step in range(1, 4):
            lease.step(step, 3, "training", lambda step=step: step, preview_due=True)  # type: ignore[misc]
    assert shown == [1, 2, 3]
    progress = jobs.get(record.id).progress
    assert progress is not None and progress["preview"] == f"{3:064x}"


def test_a_cancel_is_seen_at_the_next_step(jobs: JobStore, record: Record) -> None:
    with Lease(jobs, record, lambda _: None) as lease:
        lease.step(1, 9, "working")
        jobs.cancel(record.id)
        with pytest.raises(CanceledError):
            lease.step(2, 9, "working")


def test_a_lost_lease_is_seen_at_the_next_step(jobs: JobStore, record: Record) -> None:
    with Lease(jobs, record, lambda _: None) as lease:
        jobs.client.zadd(f"{PREFIX}leases", {record.id: 0})
        jobs.sweep()
        with pytest.raises(LeaseLostError):
            lease.step(1, 9, "working")


def test_a_job_that_runs_too_long_is_stopped(jobs: JobStore, record: Record) -> None:
    jobs = JobStore(jobs.client, jobs.settings.model_copy(update={"job_timeout_s": 2}))
    with (
        Lease(jobs, record, lambda _: None) as lease,
        pytest.raises(AtelierError, match="longer than 2 seconds") as error,
    ):
        for step in range(1, 100):
            time.sleep(0.1)
            lease.step(step, 100, "working")
    assert error.value.code == "timeout"
