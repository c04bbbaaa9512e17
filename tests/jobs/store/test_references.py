"""Which objects clean-up may delete."""

import time

from jobs.errors import NotFound
from jobs.store.jobs import JobStore
from jobs.store.protocol import PREFIX
from tests.jobs.conftest import with_settings
from tests.jobs.store.helpers import OTHER_PNG, OUTPUT, PNG, end, make, refused, take


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
