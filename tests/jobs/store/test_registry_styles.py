"""Kept styles: what is stored, and that their images stay."""

from jobs.errors import NotFound
from jobs.store.jobs import JobStore
from tests.jobs.conftest import with_settings
from tests.jobs.store.helpers import OUTPUT, PNG, end, make, refused, take

VECTOR = [0.5, -1.25] * 50
THUMBNAIL = {"sha256": PNG, "content_type": "image/png", "width": 8, "height": 8, "size_bytes": 90}


def listed(store: JobStore) -> list[str]:
    return [style.id for style in store.styles.page(limit=10)[0]]


def test_a_style_keeps_its_image_until_it_is_deleted(store: JobStore) -> None:
    gone = with_settings(store, hold_s=0)
    job_id = make(store)
    gone.references.hold(PNG)
    end(store, take(store), outputs=[OUTPUT | {"sha256": PNG}])
    recipe = {"kind": "cluster-sampling", "job": job_id}
    first = store.styles.keep("Rust", VECTOR, recipe, THUMBNAIL)
    second = store.styles.keep("Plain", VECTOR, None, None)
    assert first.id.startswith("sty_") and len(first.id) == 28
    assert (first.name, first.vector, first.recipe, first.thumbnail) == ("Rust", VECTOR, recipe, THUMBNAIL)
    assert (second.recipe, second.thumbnail) == (None, None)
    assert listed(store) == sorted([first.id, second.id], reverse=True), "the newest first"
    store.delete(job_id)
    assert store.references.condemn() == [], "the style names the image, the job no longer does"

    store.styles.delete(first.id)
    assert store.references.condemn() == [PNG]
    assert listed(store) == [second.id]
    for call in (store.styles.get, store.styles.delete):
        assert refused(NotFound, "style_not_found", call, first.id).details == {"style": first.id}


def test_an_image_that_is_gone_is_not_kept(store: JobStore) -> None:
    refused(NotFound, "object_not_found", store.styles.keep, "Rust", VECTOR, None, THUMBNAIL)
    assert listed(store) == []


def test_pages_of_styles_hold_when_their_cursor_is_deleted(store: JobStore) -> None:
    for name in "abcde":
        store.styles.keep(name, VECTOR, None, None)
    all_of_them = listed(store)
    page, cursor = store.styles.page(limit=2)
    assert [style.id for style in page] == all_of_them[:2] and cursor == all_of_them[1]
    store.styles.delete(all_of_them[1])
    page, cursor = store.styles.page(limit=2, cursor=cursor)
    assert [style.id for style in page] == all_of_them[2:4] and cursor == all_of_them[3]
    page, cursor = store.styles.page(limit=2, cursor=cursor)
    assert [style.id for style in page] == all_of_them[4:] and cursor is None
    assert store.styles.page(limit=4)[1] is None, "four are left"
