"""The bytes of a tenant's objects are counted once each, and bound what its keys may store."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from jobs.errors import LimitReached
from jobs.limits import Limits
from jobs.store.jobs import JobStore
from jobs.store.records import NewJob
from tests.jobs.conftest import with_settings
from tests.jobs.store.helpers import CARD, OTHER_PNG, OUTPUT, PNG, end, make, take

SHA = str(OUTPUT["sha256"])


def stored(store: JobStore, tenant: str = "default") -> int:
    return int(store.client.hget("atelier:stored", tenant) or 0)  # type: ignore[arg-type]


def upload(store: JobStore, sha: str, size: int, most: int | None = None) -> None:
    store.references.hold(sha, f"upload:{sha[:8]}", size=size, most=most)
    store.images.put(sha, {}, f"upload:{sha[:8]}")


def refused(call: Callable[[], object], most: int) -> None:
    with pytest.raises(LimitReached, match=f"limit of stored_bytes is {most}") as error:
        call()
    assert error.value.details == {"limit": "stored_bytes", "allowed": most} and error.value.retry_after


def test_an_object_counts_once_for_each_tenant_that_has_it(store: JobStore) -> None:
    ours, theirs = store.of("ours"), store.of("theirs")
    for tenant in (ours, ours, theirs):
        upload(tenant, PNG, 100)
    job = make(ours, images=[PNG])
    assert (stored(store, "ours"), stored(store, "theirs"), stored(store)) == (100, 100, 0)
    ours.images.delete(PNG)
    assert stored(store, "ours") == 100, "the job still has it"
    ours.cancel(job)
    ours.delete(job)
    assert (stored(store, "ours"), stored(store, "theirs")) == (0, 100)
    theirs.images.delete(PNG)
    assert stored(store, "theirs") == 0
    assert store.references.condemn() == [PNG]
    store.references.deleted(PNG)
    assert not store.client.exists(f"atelier:owners:{PNG}")


def test_outputs_checkpoints_models_and_lapsed_uploads_count(store: JobStore) -> None:
    brief = with_settings(store, image_ttl_s=0)
    store.references.hold(OTHER_PNG, "upload:1", size=1)
    brief.images.put(OTHER_PNG, {}, "upload:1")
    assert stored(store) == 1
    assert store.references.condemn() == [OTHER_PNG] and stored(store) == 0, "its time is over"
    store.references.deleted(OTHER_PNG)
    make(store)
    job = take(store)
    for step, sha in enumerate((PNG, OTHER_PNG)):
        store.references.hold(sha, job.id, size=10 * (step + 1))
        store.keep_checkpoint(job.id, job.fence, {"step": step, "sha256": sha, "size_bytes": 1})
    assert stored(store) == 20, "the newer checkpoint only"
    weights = CARD | {"files": {"model.safetensors": "d" * 64}}
    for sha, size in ((SHA, 300), ("d" * 64, 4000)):
        store.references.hold(sha, size=size)
    end(store, job, outputs=[OUTPUT], model=weights)
    assert stored(store) == 4300
    store.delete(job.id)
    assert stored(store) == 4000
    store.models.delete(CARD["id"])
    assert stored(store) == 0


def test_beyond_the_limit_uploads_and_jobs_are_refused(store: JobStore) -> None:
    ours = store.of("ours")
    upload(ours, PNG, 100, most=150)
    refused(lambda: upload(ours, OTHER_PNG, 51, most=150), 150)
    upload(ours, PNG, 100, most=150)  # the same bytes take no more
    assert stored(store, "ours") == 100 and not store.client.exists(f"atelier:owners:{OTHER_PNG}")
    job = NewJob("test", "fast", {}, limits=Limits(stored_bytes=101).given())
    ours.create(job)
    upload(ours, OTHER_PNG, 1, most=150)
    refused(lambda: ours.create(job), 101)
    upload(store.of("theirs"), OTHER_PNG, 51, most=51)
    ours.images.delete(PNG)
    ours.create(job)


def test_uploads_at_once_do_not_exceed_the_limit(store: JobStore) -> None:
    """64 uploads of 100 bytes from 16 threads, where 2,000 bytes are allowed: 20 are stored."""

    def try_upload(number: int) -> bool:
        try:
            upload(store.of("ours"), f"{number:064x}", 100, most=2000)
        except LimitReached:
            return False
        return True

    with ThreadPoolExecutor(16) as threads:
        accepted = sum(threads.map(try_upload, range(64)))
    assert (accepted, stored(store, "ours")) == (20, 2000)


def test_objects_of_earlier_releases_count_once_they_were_measured(store: JobStore) -> None:
    """Earlier releases wrote who refers to an object, but neither its size nor for whom it counts."""
    client, ours = store.client, store.of("ours")
    theirs_job = make(store.of("theirs"))
    holders = {"job_old": "+inf", theirs_job: "+inf", "ours/image": "+inf", "upload:1": "+inf", "hold": "+inf"}
    client.zadd(f"atelier:refs:{PNG}", holders)
    client.set(f"atelier:ours/image:{PNG}", "{}")
    ours_job = make(ours, images=[PNG])  # of this release, with an object that has no size yet
    upload(store, OTHER_PNG, 7)
    assert (stored(store), stored(store, "ours"), stored(store, "theirs")) == (7, 0, 0)
    assert list(store.references.unmeasured()) == [PNG]
    for _ in range(2):
        store.references.adopt(PNG, 100)
        assert list(store.references.unmeasured()) == []
        assert (stored(store), stored(store, "ours"), stored(store, "theirs")) == (107, 100, 100)
    ours.images.delete(PNG)
    assert stored(store, "ours") == 100, "the job still has it"
    ours.cancel(ours_job)
    ours.delete(ours_job)
    assert (stored(store), stored(store, "ours"), stored(store, "theirs")) == (107, 0, 100)


def test_an_object_that_is_gone_is_not_counted(store: JobStore) -> None:
    store.references.adopt(PNG, 100)
    assert stored(store) == 0 and not store.client.exists(f"atelier:owners:{PNG}")
