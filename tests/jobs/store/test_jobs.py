"""The job protocol, command by command, against a real Valkey.

Nothing waits for a lease of 30 s: `pass_by` moves the one time a test is about into the past.
"""

import itertools
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import RedisError

from jobs.errors import AtelierError, BadInput, Conflict, NotFound, QueueFull
from jobs.schemas import TERMINAL
from jobs.store.client import connect
from jobs.store.jobs import JobStore
from jobs.store.protocol import PREFIX
from jobs.store.records import NewJob, Record
from jobs.store.registry import NEW
from tests.jobs.conftest import Wire, with_settings
from tests.stack import Stack

PNG = "a" * 64
OTHER_PNG = "b" * 64
ZIP = "d" * 64
OUTPUT = {"index": 0, "sha256": "c" * 64}
CARD: dict[str, Any] = {"id": "vae-0123456789ab", "files": {"model.safetensors": PNG}}


def make(store: JobStore, **given: Any) -> str:
    """A new job; returns its id."""
    job_id, is_new = store.create(NewJob(**{"kind": "probe", "queue": "fast", "params": {}, **given}))
    assert is_new
    return job_id


def take(store: JobStore, queue: str = "fast") -> Record:
    """Claim one job."""
    [record] = store.claim(queue, worker="w")
    return record


def end(store: JobStore, job: Record, status: str = "succeeded", **given: Any) -> str:
    """Finish a claimed job."""
    return store.finish(job.id, job.fence, status, metrics={"run_ms": 1}, **given)


def pass_by(store: JobStore, what: str, job_id: str) -> None:
    """Let the time of a job in `leases`, `delayed`, `expiry` or `done` be past."""
    assert store.client.zadd(f"{PREFIX}{what}", {job_id: 1}, xx=True, ch=True) == 1


def statuses(store: JobStore, job_id: str) -> list[str]:
    """The states a job went through, as its events tell."""
    return [event["data"].split('"')[3] for event in events(store, job_id) if event["type"] == "status"]


def events(store: JobStore, job_id: str) -> list[dict[str, str]]:
    """The events of a job, oldest first."""
    return [fields for _, fields in store.client.xrange(f"{PREFIX}events:{job_id}")]  # type: ignore[union-attr]


def now_ms(store: JobStore) -> float:
    """Valkey's own clock."""
    seconds, micros = store.client.time()  # type: ignore[misc]
    return float(seconds * 1000 + micros / 1000)


def refused(error: type[AtelierError], code: str, call: Any, *arguments: Any, **named: Any) -> AtelierError:
    """The error a call raises, checked for its code."""
    with pytest.raises(error) as caught:
        call(*arguments, **named)
    assert caught.value.code == code
    return caught.value


# Create.


def test_created_job_is_queued_with_what_was_given(store: JobStore) -> None:
    job = store.get(make(store, params={"seed": 7}, priority=3, expires_in=60, retry_of="job_old"))
    assert (job.status, job.kind, job.queue, job.priority, job.attempt) == ("queued", "probe", "fast", 3, 0)
    assert (job.params, job.retry_of, job.started_at, job.finished_at) == ({"seed": 7}, "job_old", None, None)
    assert job.expires_at == job.created_at + 60_000
    assert statuses(store, job.id) == ["queued"]


def test_unknown_job_is_not_found(store: JobStore) -> None:
    for call in (store.get, store.snapshot, store.cancel, store.delete):
        refused(NotFound, "job_not_found", call, "job_" + "0" * 24)
    assert store.renew("job_none", 1) == store.release("job_none", 1) == "lost"


def test_create_whose_answer_was_lost_makes_one_job(store: JobStore, far_store: JobStore, wire: Wire) -> None:
    make(far_store)
    wire.lose_next_answer()
    job_id, is_new = far_store.create(NewJob(kind="probe", queue="fast", params={"seed": 1}))
    assert wire.lost == 1
    assert is_new, "the caller must know that a nudge is due"
    assert store.depths()["fast"] == 2
    assert statuses(store, job_id) == ["queued"]


def test_create_with_a_key_whose_answer_was_lost_makes_one_job(
    store: JobStore, far_store: JobStore, wire: Wire
) -> None:
    make(far_store)
    wire.lose_next_answer()
    first, _ = far_store.create(NewJob(kind="probe", queue="fast", params={}, idempotency=("key", "aa")))
    again, is_new = far_store.create(NewJob(kind="probe", queue="fast", params={}, idempotency=("key", "aa")))
    assert (wire.lost, again, is_new, store.depths()["fast"]) == (1, first, False, 2)


def test_one_key_is_one_job_and_another_request_is_refused(store: JobStore) -> None:
    first = make(store, idempotency=("key", "aa"))
    assert store.create(NewJob(kind="probe", queue="fast", params={}, idempotency=("key", "aa"))) == (first, False)
    assert store.known_request("key", "aa") == first
    refused(BadInput, "idempotency_key_reuse", make, store, idempotency=("key", "bb"))
    refused(BadInput, "idempotency_key_reuse", store.known_request, "key", "bb")
    assert make(store, idempotency=("other", "aa")) != first
    assert store.depths()["fast"] == 2


def test_a_key_is_known_for_a_day_and_while_its_job_is(store: JobStore) -> None:
    first = make(store, idempotency=("key", "aa"))
    assert 86_390 <= int(store.client.ttl(f"{PREFIX}idem:key")) <= 86_400  # type: ignore[arg-type]
    store.cancel(first)
    store.delete(first)
    assert store.known_request("key", "bb") is None
    assert make(store, idempotency=("key", "bb")) != first


def test_full_queue_refuses_and_takes_again_once_there_is_room(store: JobStore) -> None:
    small = with_settings(store, max_queue=3)
    known = make(small, idempotency=("key", "aa"))
    make(small)
    make(small)
    refused(QueueFull, "queue_full", make, small)
    assert small.create(NewJob(kind="probe", queue="fast", params={}, idempotency=("key", "aa"))) == (known, False)
    make(small, queue="gpu")
    take(small)
    make(small)
    refused(QueueFull, "queue_full", make, small)


def test_missing_input_is_refused_and_leaves_nothing_behind(store: JobStore) -> None:
    assert store.references.hold(PNG)
    before = sorted(store.client.keys("*"))  # type: ignore[arg-type]
    error = refused(NotFound, "image_not_found", make, store, images=[PNG, OTHER_PNG], idempotency=("key", "aa"))
    assert error.details == {"image": f"img_{OTHER_PNG}"}
    assert sorted(store.client.keys("*")) == before  # type: ignore[arg-type]
    make(store, images=[PNG])


def test_command_outlasts_a_restart_of_valkey(valkey: Stack, store: JobStore) -> None:
    job_id = make(store)
    fresh = JobStore(connect(store.settings, attempts=20), store.settings)
    used = JobStore(connect(store.settings, attempts=20), store.settings)
    used.depths()
    valkey.kill("valkey")
    with ThreadPoolExecutor(2) as callers:
        answers = [callers.submit(other.get, job_id) for other in (fresh, used)]
        time.sleep(1)
        valkey.start_valkey()
        assert [answer.result(10).id for answer in answers] == [job_id] * 2
    valkey.kill("valkey")
    try:
        with pytest.raises(RedisError):
            JobStore(connect(store.settings, attempts=2), store.settings).get(job_id)
    finally:
        valkey.start_valkey()


# Claim.


def test_higher_priority_runs_first_and_then_the_older(store: JobStore) -> None:
    dice = random.Random(1)
    ids = [make(store, priority=dice.randint(-10, 10)) for _ in range(60)]
    jobs = [store.get(job_id) for job_id in ids]
    expected = [job.id for job in sorted(jobs, key=lambda job: (-job.priority, job.created_at, job.id))]
    assert [store.queue_position(store.get(job_id)) for job_id in expected] == list(range(60))
    assert [take(store).id for _ in expected] == expected
    assert store.claim("fast", worker="w") == []
    assert store.queue_position(store.get(ids[0])) is None


def make_later(store: JobStore, **given: Any) -> str:
    """A new job that is surely younger than the one before; returns its id."""
    time.sleep(0.002)
    return make(store, **given)


def claims(store: JobStore, names: dict[str, str], limit: int = 9) -> list[list[str]]:
    """The batches in which the rest of a queue is claimed, by the names of the jobs."""
    batches = []
    while records := store.claim("fast", worker="w", limit=limit):
        batches.append([names[job.id] for job in records])
    return batches


def test_one_claim_takes_like_jobs_and_leaves_unlike_ones(store: JobStore) -> None:
    names = {make_later(store, compat=compat): f"{compat}{n}" for n, compat in enumerate("abaaab")}
    names |= {make_later(store, compat=""): f"alone{n}" for n in range(2)}
    assert claims(store, names, limit=3) == [["a0", "a2", "a3"], ["b1", "b5"], ["a4"], ["alone0"], ["alone1"]]


def test_a_batch_takes_no_job_before_one_of_higher_priority(store: JobStore) -> None:
    priorities = {"a0": 2, "b1": 1, "a2": 1, "a3": 0, "c4": 0, "b5": 0, "a6": -1, "a7": 2}
    names = {make_later(store, compat=name[0], priority=priority): name for name, priority in priorities.items()}
    assert claims(store, names) == [["a0", "a7", "a2"], ["b1", "b5"], ["a3"], ["c4"], ["a6"]]


def test_waiting_raises_the_rank_of_a_job_so_that_none_starves(store: JobStore) -> None:
    """Ten minutes are worth one step of priority, for the claim and for what `queue_position` says."""
    minutes = {"fresh 10": (10, 0), "fresh 0": (0, 0), "old 0": (0, 99), "older 0": (0, 101), "oldest -10": (-10, 203)}
    names = {make_later(store, priority=priority): name for name, (priority, _) in minutes.items()}
    for job_id, name in names.items():
        store.client.hincrby(f"{PREFIX}job:{job_id}", "created_at", -minutes[name][1] * 60_000)
    for job in [take(store) for _ in names]:
        store.release(job.id, job.fence)  # and are queued by their new age
    order = ["oldest -10", "older 0", "fresh 10", "old 0", "fresh 0"]
    by_name = {name: job_id for job_id, name in names.items()}
    assert [store.queue_position(store.get(by_name[name])) for name in order] == list(range(5))
    assert claims(store, names, limit=1) == [[name] for name in order]


def test_jobs_of_a_batch_whose_worker_died_run_alone(store: JobStore) -> None:
    quick = with_settings(store, retry_delay_s=0)
    names = {make_later(store, compat="a"): str(n) for n in range(16)}
    batch = store.claim("fast", worker="w", limit=16)
    assert len(batch) == 16
    released, *lapsed = [job.id for job in batch]
    assert store.release(released, 1) == "queued"
    for job_id in lapsed:
        pass_by(store, "leases", job_id)
    quick.sweep()
    names |= {make_later(store, compat="a"): "new"}
    assert claims(store, names, limit=16) == [["0", "new"], *([str(n)] for n in range(1, 16))]


@pytest.mark.parametrize("max_attempts", [1, 2])
def test_a_job_fails_only_after_an_attempt_of_its_own(store: JobStore, max_attempts: int) -> None:
    strict = with_settings(store, retry_delay_s=0, max_attempts=max_attempts)
    ids = [make_later(store, compat="a") for _ in range(3)]
    for expected in ([ids], *([[job_id]] for job_id in ids)):
        batch = [job.id for job in store.claim("fast", worker="w", limit=3)]
        assert [batch] == expected
        for job_id in batch:
            pass_by(store, "leases", job_id)
        strict.sweep()
        assert {store.get(job_id).status for job_id in batch} == {"failed" if len(batch) == 1 else "queued"}


def test_claim_is_of_one_queue(store: JobStore) -> None:
    job_id = make(store, queue="gpu")
    assert store.claim("fast", worker="w") == []
    assert take(store, "gpu").id == job_id


def test_claim_whose_answer_was_lost_loses_no_job(store: JobStore, far_store: JobStore, wire: Wire) -> None:
    far_store.depths()
    assert far_store.claim("fast", worker="w") == []
    first, second = make(store, priority=1), make(store)
    wire.lose_next_answer()
    assert take(far_store).id == second
    pass_by(store, "leases", first)
    store.sweep()
    pass_by(store, "delayed", first)
    store.sweep()
    assert take(far_store).id == first


def test_report_whose_answer_was_lost_adds_one_event(store: JobStore, far_store: JobStore, wire: Wire) -> None:
    make(store)
    record = take(far_store)
    for step in (1, 2):
        far_store.report(record.id, record.fence, "progress", {"step": step})
    wire.lose_next_answer()
    assert far_store.report(record.id, record.fence, "progress", {"step": 3}) == "running"
    told = [event["data"] for event in events(store, record.id) if event["type"] == "progress"]
    assert (wire.lost, told) == (1, ['{"step": 1}', '{"step": 2}', '{"step": 3}'])


def test_fifty_threads_claim_one_job_and_one_wins_a_thousand_times(store: JobStore) -> None:
    rounds, threads = 1000, 50
    made: list[str] = []
    won: list[str] = []
    barrier = threading.Barrier(threads, action=lambda: made.append(make(store)))

    def compete() -> None:
        for _ in range(rounds):
            barrier.wait(60)
            won.extend(job.id for job in store.claim("fast", worker=threading.current_thread().name))

    started = time.perf_counter()
    competitors = [threading.Thread(target=compete) for _ in range(threads)]
    for thread in competitors:
        thread.start()
    for thread in competitors:
        thread.join()
    winners = Counter(won)
    seconds = time.perf_counter() - started
    print(f"J2: {len(made)} jobs, {threads} threads each, {winners.total()} wins, {seconds:.1f} s")
    assert winners == Counter(made)
    assert all(store.get(job_id).attempt == 1 for job_id in made)


# Leases: renew, report, finish, release.


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
    before = store.get(job.id), events(store, job.id), store.stats()
    assert end(far_store, job, status, outputs=[OUTPUT]) == status
    assert before == (store.get(job.id), events(store, job.id), store.stats())
    assert store.stats() == {f"jobs:probe:{status}": 1, "run_ms:probe": 1}


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


# Retries.


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


# Expiry and the end of a record's life.


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


def test_deleted_job_leaves_nothing_but_the_counters(store: JobStore) -> None:
    store.references.hold(PNG)
    job_id = make(store, images=[PNG], expires_in=60)
    end(store, take(store), outputs=[OUTPUT])
    store.delete(job_id)
    left = set(store.client.keys("*"))  # type: ignore[arg-type]
    assert left == {f"{PREFIX}stats", f"{PREFIX}claimed", f"{PREFIX}objects", f"{PREFIX}refs:{PNG}"}
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


# What each command makes of each state.

STATES = ("queued", "delayed", "running", "canceling", "succeeded", "failed", "canceled", "expired")
LOST = dict.fromkeys(STATES, "lost")
AFTER: dict[str, dict[str, tuple[Any, str]]] = {  # command: {state: (answer, state then)}, where something happens
    "claim": {"queued": (True, "running")},
    "renew": {"running": ("running", "running"), "canceling": ("canceling", "canceling")},
    "report": {"running": ("running", "running"), "canceling": ("canceling", "canceling")},
    "succeed": {
        "running": ("succeeded", "succeeded"),
        "canceling": ("canceled", "canceled"),
        "succeeded": ("succeeded", "succeeded"),
        "failed": ("failed", "failed"),
    },
    "fail": {
        "running": ("failed", "failed"),
        "canceling": ("canceled", "canceled"),
        "succeeded": ("succeeded", "succeeded"),
        "failed": ("failed", "failed"),
    },
    "release": {"running": ("queued", "queued"), "canceling": ("canceled", "canceled")},
    "cancel": {"queued": (None, "canceled"), "delayed": (None, "canceled"), "running": (None, "canceling")},
    "delete": dict.fromkeys(("succeeded", "failed", "canceled", "expired"), (None, "gone")),
    "sweep": {},
}
REFUSAL = {"claim": False, "cancel": None, "delete": "unfinished", "sweep": None}


def bring_to(store: JobStore, state: str) -> tuple[str, int]:
    """A job in a state, and the fence of its last lease."""
    job_id = make(store, expires_in=60)
    if state in ("queued", "canceled", "expired"):
        if state == "canceled":
            store.cancel(job_id)
        elif state == "expired":
            pass_by(store, "expiry", job_id)
            store.sweep()
        return job_id, 0
    job = take(store)
    if state == "delayed":
        pass_by(store, "leases", job_id)
        with_settings(store, retry_delay_s=60).sweep()
    elif state == "canceling":
        store.cancel(job_id)
    elif state in TERMINAL:
        end(store, job, state)
    return job_id, job.fence


def command(store: JobStore, name: str, job_id: str, fence: int) -> Any:
    """Run one command of the protocol on a job; returns its answer."""
    if name == "claim":
        return bool(store.claim("fast", worker="w"))
    if name == "report":
        return store.report(job_id, fence, "progress", {"step": 1})
    if name in ("succeed", "fail"):
        return store.finish(job_id, fence, {"succeed": "succeeded", "fail": "failed"}[name], metrics={})
    if name == "delete":
        try:
            return store.delete(job_id)
        except Conflict:
            return "unfinished"
    return getattr(store, name)(*([] if name == "sweep" else [job_id] if name == "cancel" else [job_id, fence]))


@pytest.mark.parametrize(("name", "state"), list(itertools.product(AFTER, STATES)))
def test_each_command_moves_each_state_as_the_table_says(store: JobStore, name: str, state: str) -> None:
    job_id, fence = bring_to(store, state)
    shown = "queued" if state == "delayed" else state
    answer, then = AFTER[name].get(state, (REFUSAL.get(name, "lost"), shown))
    before = events(store, job_id)
    assert command(store, name, job_id, fence) == answer
    if then == "gone":
        refused(NotFound, "job_not_found", store.get, job_id)
        return
    assert store.get(job_id).status == then
    if then == shown and name != "report":
        assert events(store, job_id) == before, "what changes nothing says nothing"


# Lists.


def test_pages_show_every_job_once_newest_first_under_every_filter(store: JobStore) -> None:
    dice = random.Random(2)
    for number in range(260):
        make(store, kind=f"kind-{number % 3}", queue="fast")
        if dice.random() < 0.6:
            job = take(store)
            if dice.random() < 0.7:
                end(store, job, dice.choice(["succeeded", "failed", "canceled"]))
    ids = [key.removeprefix(f"{PREFIX}job:") for key in store.client.keys(f"{PREFIX}job:*")]  # type: ignore[union-attr]
    everything = [store.get(job_id) for job_id in sorted(ids, reverse=True)]
    pages = 0
    for kind in (None, "kind-0", "kind-2", "kind-none"):
        for status in (None, "queued", "running", "succeeded", "failed", "canceled", "expired"):
            for limit in (1, 7, 100, 300):
                found: list[Record] = []
                cursor: str | None = None
                while True:
                    page, cursor = store.page(kind=kind, status=status, limit=limit, cursor=cursor)
                    found += page
                    pages += 1
                    assert len(page) == limit or cursor is None
                    if cursor is None or (limit == 1 and len(found) > 30):
                        break
                wanted = [job for job in everything if kind in (None, job.kind) and status in (None, job.status)]
                assert found == (wanted[: len(found)] if limit == 1 and cursor else wanted)
    print(f"pages: {pages} read over {len(everything)} jobs, all as a plain list gives them")


def test_paging_goes_on_while_jobs_come_and_go(store: JobStore) -> None:
    ids = sorted((make(store) for _ in range(30)), reverse=True)
    page, cursor = store.page(kind=None, status=None, limit=10, cursor=None)
    make(store)
    store.cancel(cursor or "")
    store.delete(cursor or "")
    rest, end_cursor = store.page(kind=None, status=None, limit=20, cursor=cursor)
    assert [job.id for job in page + rest] == ids
    assert end_cursor is None


def test_events_tell_a_life_in_order(store: JobStore) -> None:
    job_id = make(store)
    job = take(store)
    store.report(job_id, job.fence, "progress", {"step": 1}, {"step": 1, "preview": None})
    store.report(job_id, job.fence, "preview", {"sha256": PNG})
    end(store, job, outputs=[OUTPUT, {**OUTPUT, "index": 1}])
    told = [(event["type"], event["data"]) for event in events(store, job_id)]
    assert [kind for kind, _ in told] == ["status", "status", "progress", "preview", "output", "output", "status"]
    record, last, first_id = store.snapshot(job_id)
    assert (record.progress, last.data["status"]) == ({"step": 1, "preview": None}, "succeeded")
    ids = [event_id for event_id, _ in store.client.xrange(f"{PREFIX}events:{job_id}")]  # type: ignore[union-attr]
    assert (ids[0], ids[-1]) == (first_id, last.id)
    order = [tuple(map(int, event_id.split("-"))) for event_id in ids]
    assert order == sorted(set(order))


# Nudges.


def test_nudges_are_due_for_the_jobs_no_message_waits_for(store: JobStore) -> None:
    ids = [make(store, priority=-n) for n in range(5)]
    assert store.without_nudge("fast") == ids
    store.client.rpush("fast", "one", "two")
    assert store.without_nudge("fast") == ids[2:]
    store.client.rpush("fast", "three", "four", "five", "six")
    assert store.without_nudge("fast") == store.without_nudge("gpu") == []


# Objects: hold, put_image, condemn, deleted.


def test_held_object_is_left_alone_until_its_hold_is_over(store: JobStore) -> None:
    brief = with_settings(store, hold_s=0.05)
    assert store.references.hold(PNG)
    assert brief.references.hold(PNG), "a shorter hold does not shorten a longer one"
    assert brief.references.hold(OTHER_PNG)
    time.sleep(0.06)
    assert store.references.condemn() == [OTHER_PNG]


def test_condemned_object_is_not_stored_until_it_is_gone(store: JobStore) -> None:
    with_settings(store, hold_s=0).references.hold(PNG)
    assert store.references.condemn() == [PNG]
    assert store.references.condemn() == [], "one clean-up at a time"
    assert not store.references.hold(PNG)
    refused(NotFound, "image_not_found", make, store, images=[PNG])
    store.references.deleted(PNG)
    assert store.references.hold(PNG)
    assert store.references.condemn() == []


def test_clean_up_that_died_is_taken_up_again(store: JobStore) -> None:
    with_settings(store, hold_s=0).references.hold(PNG)
    assert store.references.condemn() == [PNG]
    store.client.delete(f"{PREFIX}deleting:{PNG}")  # its minute is over
    store.client.zadd(f"{PREFIX}objects", {PNG: 1})
    assert store.references.condemn() == [PNG]


def test_condemned_one_by_one_each_object_has_its_whole_minute(store: JobStore) -> None:
    gone = with_settings(store, hold_s=0)
    free = sorted(f"{n:064x}" for n in range(40))
    for sha in free:
        gone.references.hold(sha)
    for sha in free[::2]:
        store.client.zadd(f"{PREFIX}refs:{sha}", {"job_x": "+inf"})
    found = []
    while condemned := store.references.condemn(limit=1):
        assert len(condemned) == 1
        found += condemned
        store.references.deleted(condemned[0])
    assert sorted(found) == free[1::2], "objects in use do not stop the clean-up"


def test_upload_is_kept_after_its_last_use_and_as_long_as_a_job_names_it(store: JobStore) -> None:
    brief = with_settings(store, hold_s=0, image_ttl_s=0.2)
    brief.references.hold(PNG)
    brief.images.put(PNG, {"width": 1})
    facts, until = brief.images.get(PNG)
    assert facts == {"width": 1}
    time.sleep(0.05)
    job_id = make(brief, images=[PNG])
    assert brief.images.get(PNG)[1] > until, "use is what keeps it"
    time.sleep(0.22)
    refused(NotFound, "image_not_found", brief.images.get, PNG)
    assert brief.references.condemn() == []
    again = make(brief, images=[PNG])
    for unfinished in (job_id, again):
        brief.cancel(unfinished)
        brief.delete(unfinished)
    assert brief.references.condemn() == [PNG]


def test_output_shared_by_two_jobs_goes_with_the_last(store: JobStore) -> None:
    gone = with_settings(store, hold_s=0)
    first, second = make(store), make(store)
    for _ in range(2):
        gone.references.hold(OUTPUT["sha256"])  # type: ignore[arg-type]
        end(store, take(store), outputs=[OUTPUT])
    store.delete(first)
    assert store.references.condemn() == []
    store.delete(second)
    assert store.references.condemn() == [OUTPUT["sha256"]]


def test_archive_is_kept_like_an_image_and_is_none(store: JobStore) -> None:
    brief = with_settings(store, hold_s=0, image_ttl_s=0.2)
    brief.references.hold(ZIP)
    brief.archives.put(ZIP, {"n_files": 3})
    assert brief.archives.get(ZIP)[0] == {"n_files": 3}
    refused(NotFound, "image_not_found", brief.images.get, ZIP)
    job_id = make(brief, archives=[ZIP])
    time.sleep(0.22)
    error = refused(NotFound, "archive_not_found", brief.archives.get, ZIP)
    assert error.details == {"archive": f"zip_{ZIP}"}
    assert brief.references.condemn() == []
    brief.cancel(job_id)
    brief.delete(job_id)
    assert brief.references.condemn() == [ZIP]
    refused(NotFound, "archive_not_found", make, store, archives=[ZIP])


def test_deleted_upload_is_gone_at_once_unless_a_job_names_it(store: JobStore) -> None:
    for sort, sha, put, get, delete in (
        ("image", PNG, store.images.put, store.images.get, store.images.delete),
        ("archive", ZIP, store.archives.put, store.archives.get, store.archives.delete),
    ):
        refused(NotFound, f"{sort}_not_found", delete, sha)
        store.references.hold(sha, "upload:1")
        put(sha, {}, "upload:1")
        job_id = make(store, **{f"{sort}s": [sha]})
        delete(sha)
        for call in (get, delete):
            refused(NotFound, f"{sort}_not_found", call, sha)
        assert store.references.condemn() == [], "the job still has it"
        store.cancel(job_id)
        again = make(store, **{f"{sort}s": [sha]}, retry_of=job_id)
        refused(NotFound, f"{sort}_not_found", get, sha)
        for unfinished in (job_id, again):
            store.cancel(unfinished)
            store.delete(unfinished)
        assert store.references.condemn() == [sha]
        refused(NotFound, f"{sort}_not_found", make, store, **{f"{sort}s": [sha]})
        store.references.deleted(sha)


def test_deleting_an_upload_leaves_another_of_the_same_bytes_that_is_being_stored(store: JobStore) -> None:
    store.references.hold(PNG, "upload:1")
    store.images.put(PNG, {}, "upload:1")
    store.references.hold(PNG, "upload:2")
    store.images.delete(PNG)
    assert store.references.condemn() == []
    store.images.put(PNG, {"width": 2}, "upload:2")
    assert store.images.get(PNG)[0] == {"width": 2}
    store.images.delete(PNG)
    assert store.references.condemn() == [PNG]


# Checkpoints and trained models.


def keep(store: JobStore, job: Record, sha: str) -> str:
    """Store a checkpoint in the job's name and note it."""
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


def test_checkpoint_of_an_old_lease_is_refused_and_its_object_let_go(store: JobStore) -> None:
    make(store)
    stale = take(store)
    pass_by(store, "leases", stale.id)
    store.sweep()
    assert keep(with_settings(store, hold_s=0), stale, PNG) == "lost"
    assert store.get(stale.id).checkpoint is None
    assert store.references.condemn() == [PNG]


@pytest.mark.parametrize("status", ["failed", "canceled"])
def test_retry_goes_on_from_the_checkpoint_which_outlives_the_first_job(store: JobStore, status: str) -> None:
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


def test_model_comes_with_the_success_of_its_job_and_from_its_own_lease_only(store: JobStore) -> None:
    make(store)
    stale = take(store)
    pass_by(store, "leases", stale.id)
    with_settings(store, retry_delay_s=0).sweep()
    job = take(store)
    assert end(store, stale, model=CARD) == "lost"
    assert end(store, job, "failed", model=CARD) == "failed"
    assert store.models.all() == []
    canceled = make(store)
    job = take(store)
    store.cancel(canceled)
    assert end(store, job, model=CARD) == "canceled"
    assert store.models.all() == []
    refused(NotFound, "model_not_found", store.models.get, CARD["id"])

    done = make(store)
    job = take(store)
    assert end(store, job, model=CARD) == "succeeded"
    store.models.delete(CARD["id"])
    assert end(store, job, model=CARD) == "succeeded", "asked again: nothing comes back to life"
    assert store.models.all() == []
    assert done != canceled


def test_model_keeps_its_files_and_is_kept_by_the_jobs_that_use_it(store: JobStore) -> None:
    gone = with_settings(store, hold_s=0)
    trained_by = make(store)
    gone.references.hold(PNG)
    end(store, take(store), model=CARD)
    assert store.references.condemn() == []
    model = store.models.get(CARD["id"])
    assert (model.card, model.trained_by) == (CARD, trained_by)
    assert store.models.deleted([CARD["id"]]) == []

    queued, running = make(store, models=[CARD["id"]], priority=-1), make(store, models=[CARD["id"]])
    job = take(store)
    error = refused(Conflict, "model_in_use", store.models.delete, CARD["id"])
    assert error.details == {"model": CARD["id"], "jobs": sorted([queued, running])}
    end(store, job, "failed")
    store.cancel(queued)
    store.delete(trained_by)
    store.models.delete(CARD["id"])
    assert store.models.deleted(["vae-of-another-service", CARD["id"]]) == [CARD["id"]]
    assert store.references.condemn() == [PNG]
    refused(NotFound, "model_not_found", store.models.delete, CARD["id"])
    refused(NotFound, "model_not_found", make, store, models=[CARD["id"]])


# Collections.

BUILT: dict[str, Any] = {"file": PNG, "figures": {"n_images": 4, "share": [0.1, 1e-7], "attribute_names": []}}
CATS = {"name": "Cats", "space": "pixels"}


def found(store: JobStore, **given: Any) -> str:
    """A job that founds a collection; returns the collection's id."""
    return make(store, collection=NEW, **{"params": CATS, **given}).replace("job_", "col_")


def build(store: JobStore, **given: Any) -> str:
    """A collection with a first version."""
    collection_id = found(store, **given)
    assert end(store, take(store), collection=BUILT) == "succeeded"
    return collection_id


def test_collection_is_there_with_its_job_and_has_a_version_with_its_success(store: JobStore) -> None:
    collection_id = found(store)
    job_id = collection_id.replace("col_", "job_")
    new = store.collections.get(collection_id)
    assert (new.params, new.versions, new.building) == (CATS, (), job_id)
    assert new.created_at == store.get(job_id).created_at
    assert end(store, take(store), collection=BUILT) == "succeeded"
    built = store.collections.get(collection_id)
    [version] = built.versions
    assert (version.number, version.built_by, version.file) == (1, job_id, PNG)
    assert version.figures == BUILT["figures"], "numbers and empty lists come back as they went in"
    assert version.created_at == store.get(job_id).finished_at
    assert built.building is None
    assert store.get(job_id).metrics == {"run_ms": 1, "collection": collection_id, "version": 1}


def test_a_next_version_leaves_the_one_before(store: JobStore) -> None:
    collection_id = build(store)
    job_id = make(store, collection=collection_id, params=CATS | {"limit": 9})
    assert store.collections.get(collection_id).params == CATS, "until it has succeeded"
    end(store, take(store), collection=BUILT | {"file": OTHER_PNG})
    built = store.collections.get(collection_id)
    assert [(version.number, version.file) for version in built.versions] == [(1, PNG), (2, OTHER_PNG)]
    assert built.params == CATS | {"limit": 9}
    assert store.get(job_id).metrics["version"] == 2
    assert end(store, store.get(job_id), collection=BUILT) == "succeeded", "asked again"
    assert len(store.collections.get(collection_id).versions) == 2


def test_finish_of_a_collection_whose_answer_was_lost_makes_one_version(
    store: JobStore, far_store: JobStore, wire: Wire
) -> None:
    collection_id = found(store)
    job = take(far_store)
    wire.lose_next_answer()
    assert end(far_store, job, collection=BUILT) == "succeeded"
    assert (wire.lost, len(store.collections.get(collection_id).versions)) == (1, 1)


@pytest.mark.parametrize("status", ["failed", "canceled", "expired", "lost", "canceled before", "released"])
@pytest.mark.parametrize("first", [True, False])
def test_job_that_does_not_succeed_leaves_the_collection_as_it_was(store: JobStore, status: str, first: bool) -> None:
    """And no collection where it was to be the first version's."""
    collection_id = NEW if first else build(store)
    job_id = make(store, collection=collection_id, params=CATS, expires_in=60)
    collection_id = job_id.replace("job_", "col_") if first else collection_id
    before = [] if first else [PNG]
    if status == "expired":
        pass_by(store, "expiry", job_id)
        store.sweep()
    elif status == "canceled before":
        store.cancel(job_id)
    else:
        job = take(store)
        if status == "failed":
            end(store, job, "failed", error={}, collection=BUILT | {"file": OTHER_PNG})
        elif status == "lost":
            pass_by(store, "leases", job_id)
            with_settings(store, max_attempts=1).sweep()
        else:
            store.cancel(job_id)
            late = BUILT | {"file": OTHER_PNG}
            canceled = status == "canceled"
            assert (end(store, job, collection=late) if canceled else store.release(job_id, job.fence)) == "canceled"
    assert store.get(job_id).finished and "version" not in store.get(job_id).metrics
    if first:
        refused(NotFound, "collection_not_found", store.collections.get, collection_id)
        assert store.collections.all() == []
    else:
        left = store.collections.get(collection_id)
        assert ([version.file for version in left.versions], left.building) == (before, None)


def test_a_job_that_goes_back_to_its_queue_builds_on(store: JobStore) -> None:
    collection_id = found(store)
    for lapse in (True, False):
        job = take(store)
        if lapse:
            pass_by(store, "leases", job.id)
            with_settings(store, retry_delay_s=0).sweep()
            assert end(store, job, collection=BUILT) == "lost"
        else:
            store.release(job.id, job.fence)
        assert store.collections.get(collection_id).building == job.id
        assert store.collections.get(collection_id).versions == ()
    assert end(store, take(store), collection=BUILT) == "succeeded"
    assert len(store.collections.get(collection_id).versions) == 1


def test_one_job_at_a_time_builds_a_collection(store: JobStore) -> None:
    collection_id = found(store)
    job_id = collection_id.replace("col_", "job_")
    for call in (lambda: make(store, collection=collection_id), lambda: store.collections.delete(collection_id)):
        error = refused(Conflict, "collection_building", call)
        assert error.details == {"collection": collection_id, "job": job_id} and job_id in error.message
    assert store.depths()["fast"] == 1
    end(store, take(store), collection=BUILT)
    again = make(store, collection=collection_id, params=CATS)
    assert store.collections.get(collection_id).building == again


def test_collection_is_kept_by_the_jobs_that_use_it(store: JobStore) -> None:
    collection_id = build(store)
    queued, running = make(store, collections=[collection_id], priority=-1), make(store, collections=[collection_id])
    job = take(store)
    error = refused(Conflict, "collection_in_use", store.collections.delete, collection_id)
    assert error.details == {"collection": collection_id, "jobs": sorted([queued, running])}
    end(store, job, "failed")
    store.cancel(queued)
    store.collections.delete(collection_id)
    for call in (store.collections.get, store.collections.delete):
        refused(NotFound, "collection_not_found", call, collection_id)
    for use in ({"collections": [collection_id]}, {"collection": collection_id}):
        error = refused(NotFound, "collection_not_found", make, store, **use)
        assert error.details == {"collection": collection_id}


def test_collection_without_a_version_cannot_be_used_yet(store: JobStore) -> None:
    collection_id = found(store)
    refused(NotFound, "collection_not_found", make, store, collections=[collection_id])
    assert end(store, take(store), collection=BUILT) == "succeeded"
    make(store, collections=[collection_id])


def test_collection_keeps_the_files_of_all_its_versions_and_outlives_its_jobs(store: JobStore) -> None:
    gone = with_settings(store, hold_s=0)
    for sha in (PNG, OTHER_PNG):
        gone.references.hold(sha)
    collection_id = build(store)
    again = make(store, collection=collection_id, params=CATS)
    end(store, take(store), collection=BUILT | {"file": OTHER_PNG})
    for job_id in (collection_id.replace("col_", "job_"), again):
        store.delete(job_id)
    assert store.references.condemn() == []
    assert len(store.collections.get(collection_id).versions) == 2
    store.collections.delete(collection_id)
    assert sorted(store.references.condemn()) == [PNG, OTHER_PNG]
    assert store.collections.all() == []


@pytest.mark.parametrize("release", ["this", "the one before"])
def test_collection_of_many_versions_goes_step_by_step(store: JobStore, release: str) -> None:
    """Its files are let go in the sweeps that follow: no call looks at more than a hundred."""
    collection_id = build(store)
    key = f"{PREFIX}named:collection:{collection_id}"
    assert store.client.lrange(key, 0, -1) == [PNG]
    store.client.delete(key)
    shas = [f"{n:064x}" for n in range(250)]
    for sha in shas:
        store.client.zadd(f"{PREFIX}refs:{sha}", {f"collection:{collection_id}": "+inf"})
    if release == "this":
        store.client.rpush(key, *shas)
    else:
        store.client.hset(f"{PREFIX}collection:{collection_id}", "objects", "".join(f"{sha} " for sha in shas))
    store.collections.delete(collection_id)
    assert store.client.exists(*[f"{PREFIX}refs:{sha}" for sha in shas]) == 150
    store.sweep()
    assert store.client.exists(*[f"{PREFIX}refs:{sha}" for sha in shas]) == 0
    assert set(store.references.condemn(limit=500)) >= set(shas)


def test_a_model_that_many_jobs_use_names_ten_of_them(store: JobStore) -> None:
    make(store)
    end(store, take(store), model=CARD)
    ids = {make(store, models=[CARD["id"]]) for _ in range(30)}
    error = refused(Conflict, "model_in_use", store.models.delete, CARD["id"])
    assert len(error.details["jobs"]) == 10 and set(error.details["jobs"]) < ids


def test_collections_are_listed_newest_first(store: JobStore) -> None:
    older, newer = build(store), found(store)
    assert [collection.id for collection in store.collections.all()] == [newer, older]


def test_model_is_kept_by_the_collections_of_its_space(store: JobStore) -> None:
    make(store)
    end(store, take(store), model=CARD)
    collection_id = build(store, models=[CARD["id"]])
    error = refused(Conflict, "model_in_use", store.models.delete, CARD["id"])
    assert error.details == {"model": CARD["id"], "jobs": [], "collections": [collection_id]}
    store.collections.delete(collection_id)
    store.models.delete(CARD["id"])


def test_model_of_a_collection_that_came_to_nothing_can_be_deleted(store: JobStore) -> None:
    make(store)
    end(store, take(store), model=CARD)
    found(store, models=[CARD["id"]])
    end(store, take(store), "failed")
    store.models.delete(CARD["id"])
