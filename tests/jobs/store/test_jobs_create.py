"""Creating jobs: idempotency, full queues, missing inputs, restarts of Valkey."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import RedisError

from jobs.errors import BadInput, NotFound, QueueFull
from jobs.store.client import connect
from jobs.store.jobs import JobStore
from jobs.store.protocol import PREFIX
from jobs.store.records import NewJob
from tests.jobs.conftest import Wire, with_settings
from tests.jobs.store.helpers import OTHER_PNG, PNG, make, refused, statuses, take
from tests.stack import Stack


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
