"""Trained models and collections."""

from typing import Any

import pytest

from jobs.errors import Conflict, NotFound
from jobs.store.jobs import JobStore
from jobs.store.protocol import PREFIX
from jobs.store.registry import NEW
from tests.jobs.conftest import Wire, with_settings
from tests.jobs.store.helpers import CARD, OTHER_PNG, PNG, end, make, pass_by, refused, take


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


BUILT: dict[str, Any] = {"file": PNG, "figures": {"n_images": 4, "share": [0.1, 1e-7], "attribute_names": []}}
CATS = {"name": "Cats", "space": "pixels"}


def new_collection(store: JobStore, **given: Any) -> str:
    """Creates a job that makes a collection; returns the collection's id."""
    return make(store, collection=NEW, **{"params": CATS, **given}).replace("job_", "col_")


def build(store: JobStore, **given: Any) -> str:
    """Makes a collection with a first version; returns its id."""
    collection_id = new_collection(store, **given)
    assert end(store, take(store), collection=BUILT) == "succeeded"
    return collection_id


def test_collection_is_there_with_its_job_and_has_a_version_with_its_success(store: JobStore) -> None:
    collection_id = new_collection(store)
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
    collection_id = new_collection(store)
    job = take(far_store)
    wire.lose_next_answer()
    assert end(far_store, job, collection=BUILT) == "succeeded"
    assert (wire.lost, len(store.collections.get(collection_id).versions)) == (1, 1)


@pytest.mark.parametrize("status", ["failed", "canceled", "expired", "lost", "canceled before", "released"])
@pytest.mark.parametrize("first", [True, False])
def test_job_that_does_not_succeed_leaves_the_collection_as_it_was(store: JobStore, status: str, first: bool) -> None:
    """A collection without a version is deleted."""
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
    collection_id = new_collection(store)
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


def test_names_of_clusters_belong_to_a_version(store: JobStore) -> None:
    collection_id = build(store)
    store.collections.name_clusters(collection_id, 1, {("kmeans", 0): "Blue: hats", ("kmeans", 2): "Twos"})
    store.collections.name_clusters(collection_id, 1, {("kmeans", 2): "", ("hdbscan", 2): "Others"})
    make(store, collection=collection_id, params=CATS)
    end(store, take(store), collection=BUILT)
    first, second = store.collections.get(collection_id).versions
    assert first.cluster_names == {"kmeans": {0: "Blue: hats"}, "hdbscan": {2: "Others"}}
    assert second.cluster_names == {}
    theirs = store.of("others").collections
    refused(NotFound, "collection_not_found", theirs.name_clusters, collection_id, 1, {("kmeans", 0): "x"})


def test_one_job_at_a_time_builds_a_collection(store: JobStore) -> None:
    collection_id = new_collection(store)
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
    collection_id = new_collection(store)
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
    """The next sweeps release its files: no call handles more than a hundred."""
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
    older, newer = build(store), new_collection(store)
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
    new_collection(store, models=[CARD["id"]])
    end(store, take(store), "failed")
    store.models.delete(CARD["id"])
