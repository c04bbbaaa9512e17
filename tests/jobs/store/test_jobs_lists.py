"""Pages of jobs, events and missing nudges."""

import random

from jobs.errors import NotFound
from jobs.store.jobs import JobStore
from jobs.store.protocol import PREFIX
from jobs.store.records import Record
from tests.jobs.store.helpers import OUTPUT, PNG, end, events, make, make_later, refused, take


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


def test_a_job_is_read_with_its_place(store: JobStore) -> None:
    first, second = make(store), make_later(store)
    for job_id, place in ((first, (0, None)), (second, (1, None))):
        assert store.placed(job_id) == (store.get(job_id), place)
    running = take(store)
    assert store.placed(running.id) == (running, (None, None))
    refused(NotFound, "job_not_found", store.placed, f"job_{'0' * 24}")
    refused(NotFound, "job_not_found", store.of("another").placed, second)


def test_events_are_in_order(store: JobStore) -> None:
    job_id = make(store)
    job = take(store)
    store.report(job_id, job.fence, "progress", {"step": 1}, {"step": 1, "preview": None})
    store.report(job_id, job.fence, "preview", {"sha256": PNG})
    end(store, job, outputs=[OUTPUT, {**OUTPUT, "index": 1}])
    entries = [(event["type"], event["data"]) for event in events(store, job_id)]
    assert [kind for kind, _ in entries] == ["status", "status", "progress", "preview", "output", "output", "status"]
    record, last, first_id = store.snapshot(job_id)
    assert (record.progress, last.data["status"]) == ({"step": 1, "preview": None}, "succeeded")
    ids = [event_id for event_id, _ in store.client.xrange(f"{PREFIX}events:{job_id}")]  # type: ignore[union-attr]
    assert (ids[0], ids[-1]) == (first_id, last.id)
    order = [tuple(map(int, event_id.split("-"))) for event_id in ids]
    assert order == sorted(set(order))


def test_nudges_are_due_for_the_jobs_no_message_waits_for(store: JobStore) -> None:
    ids = [make(store, priority=-n) for n in range(5)]
    assert store.without_nudge("fast") == ids
    store.client.rpush("fast", "one", "two")
    assert store.without_nudge("fast") == ids[2:]
    store.client.rpush("fast", "three", "four", "five", "six")
    assert store.without_nudge("fast") == store.without_nudge("gpu") == []


def test_busy_children_are_those_that_hold_leases_of_a_queue(store: JobStore) -> None:
    for queue, number in (("fast", 4), ("gpu", 2)):
        for _ in range(number):
            make(store, queue=queue, compat="one batch")
    store.claim("fast", worker="a", limit=3)
    store.claim("gpu", worker="a")
    [job] = store.claim("fast", worker="b")
    assert store.busy_children() == {"fast": 2, "gpu": 1}
    end(store, job)
    assert store.busy_children() == {"fast": 1, "gpu": 1}
