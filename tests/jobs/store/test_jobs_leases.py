"""What the holder of a lease may do, and what follows when a lease runs out."""

import time

import pytest

from jobs.store.jobs import JobStore
from jobs.store.protocol import PREFIX
from tests.jobs.conftest import Wire, with_settings
from tests.jobs.store.helpers import OUTPUT, end, events, make, now_ms, pass_by, statuses, take


def test_report_whose_answer_was_lost_adds_one_event(store: JobStore, far_store: JobStore, wire: Wire) -> None:
    make(store)
    record = take(far_store)
    for step in (1, 2):
        far_store.report(record.id, record.fence, "progress", {"step": step})
    wire.lose_next_answer()
    assert far_store.report(record.id, record.fence, "progress", {"step": 3}) == "running"
    progress = [event["data"] for event in events(store, record.id) if event["type"] == "progress"]
    assert (wire.lost, progress) == (1, ['{"step": 1}', '{"step": 2}', '{"step": 3}'])


def test_renewing_extends_a_lease(store: JobStore) -> None:
    make(store)
    job = take(store)
    pass_by(store, "leases", job.id)
    assert store.renew(job.id, job.fence) == "running"
    store.sweep()
    assert store.get(job.id).status == "running"


def test_old_lease_is_refused_and_changes_nothing(store: JobStore) -> None:
    make(store)
    old = take(store)
    pass_by(store, "leases", old.id)
    store.sweep()

    def refuse_all() -> None:
        before = store.get(old.id), events(store, old.id), sorted(store.client.keys("*"))  # type: ignore[arg-type]
        assert store.renew(old.id, old.fence) == "lost"
        assert store.report(old.id, old.fence, "progress", {"step": 1}, {"step": 1}) == "lost"
        assert store.release(old.id, old.fence) == "lost"
        assert end(store, old, outputs=[OUTPUT]) == "lost"
        assert before == (store.get(old.id), events(store, old.id), sorted(store.client.keys("*")))  # type: ignore[arg-type]

    refuse_all()  # while it waits for its retry
    pass_by(store, "delayed", old.id)
    store.sweep()
    refuse_all()  # queued
    new = take(store)
    assert (new.fence, new.attempt) == (old.fence + 1, 2)
    refuse_all()  # another's
    assert end(store, new, outputs=[OUTPUT]) == "succeeded"
    refuse_all()  # finished
    assert store.get(old.id).outputs == [OUTPUT]


@pytest.mark.parametrize("status", ["succeeded", "failed", "canceled"])
def test_finish_asked_twice_gives_the_same_answer(
    store: JobStore, far_store: JobStore, wire: Wire, status: str
) -> None:
    make(far_store)
    job = take(far_store)
    wire.lose_next_answer()
    assert end(far_store, job, status, outputs=[OUTPUT]) == status
    assert wire.lost == 1
    before = store.get(job.id), events(store, job.id), store.stats.read()
    assert end(far_store, job, status, outputs=[OUTPUT]) == status
    assert before == (store.get(job.id), events(store, job.id), store.stats.read())
    counted = {("jobs", "probe", status): 1, ("run_seconds", "probe", "fast", "0.05"): 1}
    assert counted.items() <= store.stats.read().items()


def test_cancel_that_came_before_the_finish_wins_and_drops_the_outputs(store: JobStore) -> None:
    job_id = make(store)
    job = take(store)
    store.cancel(job_id)
    assert end(store, job, outputs=[OUTPUT]) == "canceled"
    assert end(store, job, outputs=[OUTPUT]) == "canceled"
    assert store.get(job_id).outputs == []
    assert statuses(store, job_id) == ["queued", "running", "canceling", "canceled"]


def test_failed_job_tells_why_in_the_record_and_in_its_last_event(store: JobStore) -> None:
    job_id = make(store)
    assert (
        end(store, take(store), "failed", error={"code": "timeout", "message": 'a "quoted" {}', "details": {}})
        == "failed"
    )
    job, last, _ = store.snapshot(job_id)
    assert job.error == last.data["error"] == {"code": "timeout", "message": 'a "quoted" {}', "details": {}}


def test_released_job_is_claimed_at_once_and_the_attempt_does_not_count(store: JobStore) -> None:
    make(store)
    for _ in range(5):
        job = take(store)
        assert job.attempt == 1
        assert store.release(job.id, job.fence) == "queued"
    assert store.get(job.id).progress is None


def test_lapsed_job_waits_twice_as_long_each_time_and_then_fails(store: JobStore) -> None:
    patient = with_settings(store, retry_delay_s=8, max_attempts=4)
    job_id = make(patient)
    waits = []
    for attempt in range(1, 5):
        job = take(patient)
        assert job.attempt == attempt
        patient.report(job_id, job.fence, "progress", {"step": 1}, {"step": 1})
        pass_by(patient, "leases", job_id)
        asked = now_ms(patient)
        patient.sweep()
        due = patient.client.zscore(f"{PREFIX}delayed", job_id)
        if due is not None:
            waits.append(round((float(due) - asked) / 1000))  # type: ignore[arg-type]
            assert patient.get(job_id).status == "queued"
            assert patient.get(job_id).progress is None
            assert patient.claim("fast", worker="w") == [], "a delayed job is not to be claimed"
            pass_by(patient, "delayed", job_id)
            patient.sweep()
    assert waits == [8, 16, 32]
    job = patient.get(job_id)
    assert (job.status, job.attempt) == ("failed", 4)
    assert job.error and (job.error["code"], job.error["details"]) == ("worker_lost", {"attempts": 4})


def test_lapsed_lease_of_a_canceling_job_ends_canceled(store: JobStore) -> None:
    job_id = make(store)
    take(store)
    store.cancel(job_id)
    pass_by(store, "leases", job_id)
    store.sweep()
    assert store.get(job_id).status == "canceled"


def test_lease_delay_and_retry_pass_by_themselves(store: JobStore) -> None:
    brief = with_settings(store, lease_s=0.1, retry_delay_s=0.1)
    job_id = make(brief)
    take(brief)
    brief.sweep()
    assert brief.get(job_id).status == "running"
    time.sleep(0.11)
    brief.sweep()
    assert brief.get(job_id).status == "queued"
    time.sleep(0.11)
    brief.sweep()
    assert take(brief).id == job_id
