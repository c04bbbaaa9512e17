"""Claims go round the tenants (J17), by their weights; positions are those at which the jobs are then claimed."""

from collections import Counter
from itertools import pairwise

import pytest

from jobs.store.jobs import JobStore
from jobs.store.protocol import PREFIX
from jobs.store.records import Ending, NewJob, Record
from tests.jobs.store.helpers import make_later

JOB = NewJob("generation", "gpu", {})


def make(store: JobStore, tenant: str, number: int = 1, job: NewJob = JOB) -> list[str]:
    ours = store.of(tenant)
    return [ours.create(job)[0] for _ in range(number)]


def claimed(store: JobStore, number: int, limit: int = 1) -> list[str]:
    """The tenants of the next claims."""
    return [record.tenant for _ in range(number) for record in store.claim("gpu", worker="w", limit=limit)]


def test_a_tenant_with_ten_thousand_jobs_delays_the_first_of_another_by_one(store: JobStore) -> None:
    store = JobStore(store.client, store.settings.model_copy(update={"max_queue": 100_000}))
    make(store, "many", 10_000)
    assert claimed(store, 3) == ["many"] * 3
    [late] = make(store, "few")
    [(before, _)] = store.queue_places([store.get(late)])
    print(f"J17: {before} of 9,997 queued jobs before the first job of another tenant")
    assert before == 0
    assert claimed(store, 2) == ["few", "many"]
    make(store, "few", 3)
    assert claimed(store, 6) == ["few", "few", "many", "few", "many", "many"]  # the first of two where both are due
    assert store.depths()["gpu"] == 10_000 - 7


def test_one_job_at_a_time_gets_its_share_and_no_more(store: JobStore) -> None:
    """A tenant whose queue is empty between its jobs saves up no turns, and starves nobody."""
    make(store, "b", 30)
    order: list[str] = []
    for _ in range(20):
        if "a" not in order[-1:]:
            make(store, "a")
        order += claimed(store, 1)
    assert Counter(order) == {"a": 10, "b": 10}


def test_weights_are_shares(store: JobStore) -> None:
    store.set_weight("double", 2)
    for tenant in ("double", "one", "other"):
        make(store, tenant, 40)
    assert Counter(claimed(store, 40)) == {"double": 20, "one": 10, "other": 10}


def test_priority_counts_within_a_tenant(store: JobStore) -> None:
    make(store, "a", 2)
    [urgent] = make(store, "a", job=NewJob("generation", "gpu", {}, priority=10))
    make(store, "b")
    first, second = (store.claim("gpu", worker="w")[0] for _ in "12")
    assert (first.id, second.tenant) == (urgent, "b")


def test_positions_are_the_order_of_the_claims(store: JobStore) -> None:
    store.set_weight("b", 3)
    for tenant, number in (("a", 5), ("default", 4), ("b", 9), ("c", 1)):
        make(store, tenant, number)
    claimed(store, 3)
    make(store, "d", 2)
    left = [record for name in ("a", "default", "b", "c", "d") for record in everything(store.of(name))]
    places = {record.id: place for record, (place, _) in zip(left, store.queue_places(left), strict=True)}
    order = [record.id for _ in left for record in store.claim("gpu", worker="w")]
    assert [places[job_id] for job_id in order] == list(range(len(left)))


def everything(store: JobStore) -> list[Record]:
    """Every queued job of a tenant."""
    return list(store.page(kind=None, status="queued", limit=100, cursor=None)[0])


def test_the_start_is_estimated_by_how_often_jobs_end(store: JobStore) -> None:
    make(store, "a", 11)
    waiting = [store.get(make_later(store.of("a"), kind="generation", queue="gpu"))]
    assert store.queue_places(waiting) == [(11, None)]
    for _ in range(2):  # ten seconds each, one after the other
        [record] = store.claim("gpu", worker="w")
        store.client.hset(f"{PREFIX}job:{record.id}", "started_at", str((record.started_at or 0) - 10_000))
        store.client.hset(f"{PREFIX}ends", "gpu:last", "0")
        store.finish(record.id, record.fence, Ending("succeeded", {}))
    [(place, wait_ms)] = store.queue_places(waiting)
    assert place == 9 and wait_ms == pytest.approx(100_000, rel=0.02)


def test_the_estimate_counts_the_run_times_of_the_kinds_before_a_job(store: JobStore) -> None:
    """One worker: trainings of 60 s, generations of 1 s; those of each tenant take turns."""
    slow, quick = (NewJob(kind, "gpu", {}) for kind in ("training", "generation"))
    for job, seconds in ((slow, 60), (quick, 1)) * 40:
        make(store, "a", 1, job)
        [record] = store.claim("gpu", worker="w")
        started_at = (record.started_at or 0) - seconds * 1000
        store.client.hset(f"{PREFIX}job:{record.id}", "started_at", str(started_at))
        store.client.hset(f"{PREFIX}ends", "gpu:last", "0")
        store.finish(record.id, record.fence, Ending("succeeded", {}))
    first, *many, last = [make_later(store.of("a"), kind=job.kind, queue="gpu") for job in (quick, *[slow] * 3, quick)]
    waits = [store.queue_places([store.get(job)])[0][1] or 0 for job in (first, many[0], many[1], last)]
    steps = [after - before for before, after in pairwise(waits)]
    assert steps == pytest.approx([1000, 60_000, 120_000], rel=0.05)
    beside = make(store, "b", 1, quick)[0]
    make_later(store.of("b"), kind="training", queue="gpu")
    make(store, "b", 299, slow)
    late = make_later(store.of("b"), kind="generation", queue="gpu")
    (place, wait_ms), (_, soon_ms) = store.queue_places([store.get(late), store.get(beside)])
    assert place == 306 and wait_ms == pytest.approx((303 * 60 + 3) * 1000, rel=0.05)
    assert soon_ms and soon_ms < 60_000


def test_a_batch_is_filled_with_jobs_of_the_next_tenants(store: JobStore) -> None:
    job = NewJob("generation", "gpu", {}, compat="same")
    for tenant in ("a", "b", "c"):
        make(store, tenant, 2, job)
    assert claimed(store, 1, limit=5) == ["a", "a", "b", "b", "c"]
    make(store, "a", 1, job)
    make(store, "d", 1, job)
    assert claimed(store, 2) == ["d", "c"]


def test_jobs_wait_at_their_limit_of_running_jobs(store: JobStore) -> None:
    make(store, "a", 4, NewJob("generation", "gpu", {}, limits={"running_jobs": 2}))
    make(store, "b", 1)
    running = [record for _ in range(5) for record in store.claim("gpu", worker="w")]
    assert [record.tenant for record in running] == ["a", "b", "a"]
    store.finish(running[0].id, running[0].fence, Ending("succeeded", {}))
    assert claimed(store, 2) == ["a"]


def test_jobs_of_an_earlier_release_have_a_turn(store: JobStore) -> None:
    """It enters jobs in the queue of `default` and gives that no turn."""
    make(store, "a", 2)
    [old] = make(store, "default")
    store.client.zrem(f"{PREFIX}turns:gpu", "default")
    assert store.depths()["gpu"] == 3 and old in store.without_nudge("gpu")
    store.client.zrem(f"{PREFIX}turns:gpu", "default")
    assert sorted(claimed(store, 3)) == ["a", "a", "default"]
    assert store.client.zcard(f"{PREFIX}turns:gpu") == 0
