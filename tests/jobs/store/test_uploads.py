"""Uploaded images and archives."""

import time

from jobs.errors import NotFound
from jobs.store.jobs import JobStore
from tests.jobs.conftest import with_settings
from tests.jobs.store.helpers import PNG, ZIP, make, refused


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
