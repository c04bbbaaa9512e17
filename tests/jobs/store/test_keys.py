"""API keys are stored hashed, and end when they are revoked, rotated or expired."""

import time
from dataclasses import replace

import pytest

from jobs.errors import LimitReached, NotFound, Unauthorized
from jobs.limits import Limits
from jobs.store.jobs import JobStore
from jobs.store.keys import ANONYMOUS
from jobs.store.protocol import PREFIX
from jobs.store.records import Ending, NewJob
from tests.jobs.store.helpers import PNG, make, now_ms


def is_refused(store: JobStore, text: str | None) -> bool:
    try:
        store.keys.admit(text, anonymous=ANONYMOUS)
    except Unauthorized:
        return True
    return False


def test_a_key_is_admitted_and_its_secret_is_not_stored(store: JobStore) -> None:
    key, text = store.keys.create("Web shop", tenant="shop", scopes=["read", "submit"], expires_in=60)
    assert store.keys.admit(text, anonymous=None) == (key, None)
    assert (key.name, key.tenant, key.scopes) == ("Web shop", "shop", ("read", "submit"))
    prefix, key_id, secret = text.split("_", 2)
    assert (prefix, key_id, len(secret)) == ("atl", key.id, 43)
    hashes = [name for name in store.client.scan_iter(f"{PREFIX}key*") if store.client.type(name) == "hash"]
    print(f"S5: {len(hashes)} record of a key, its secret in none")
    assert hashes
    assert not any(secret in str(store.client.hgetall(name)) for name in hashes)


@pytest.mark.parametrize("change", ["secret", "id", "form", "empty"])
def test_another_text_is_refused(store: JobStore, change: str) -> None:
    key, text = store.keys.create("One", scopes=["read"])
    other = {
        "secret": text[:-1] + ("A" if text[-1] != "A" else "B"),
        "id": text.replace(key.id, "0" * 12),
        "form": text[4:],
        "empty": "",
    }
    assert is_refused(store, other[change]) and not is_refused(store, text)


def test_the_first_key_ends_requests_without_one(store: JobStore) -> None:
    assert store.keys.admit(None, anonymous=ANONYMOUS) == (ANONYMOUS, None)
    with pytest.raises(Unauthorized):
        store.keys.admit(None, anonymous=None)
    key, _ = store.keys.create("One", scopes=["read"])
    assert is_refused(store, None)
    store.keys.revoke(key.id)
    assert is_refused(store, None)


def test_revoked_rotated_and_expired_keys_are_refused(store: JobStore) -> None:
    key, text = store.keys.create("One", scopes=["read"])
    _, rotated = store.keys.rotate(key.id)
    assert is_refused(store, text) and not is_refused(store, rotated)
    revoked_at = store.keys.revoke(key.id).revoked_at
    assert is_refused(store, rotated) and revoked_at
    assert store.keys.revoke(key.id).revoked_at == revoked_at
    brief, brief_text = store.keys.create("Two", scopes=["read"], expires_in=1)
    assert not is_refused(store, brief_text)
    store.client.hset(f"{PREFIX}key:{brief.id}", "expires_at", str(int(time.time() * 1000)))
    assert is_refused(store, brief_text)
    assert [each.name for each in store.keys.all()] == ["One", "Two"]


def test_an_unknown_id_is_not_found(store: JobStore) -> None:
    for change in (store.keys.get, store.keys.revoke, store.keys.rotate):
        with pytest.raises(NotFound):
            change("0" * 12)


def test_requests_are_paced(store: JobStore) -> None:
    """Four at once, then one in each quarter of a minute; a wrong secret takes none of them."""
    key, text = store.keys.create("One", scopes=["read"], limits=Limits(requests_per_minute=4))
    for _ in range(3):
        assert is_refused(store, text[:-1] + ("A" if text[-1] != "A" else "B"))
    rates = [store.keys.admit(text, anonymous=None)[1] for _ in range(5)]
    assert [(rate.remaining, rate.wait_s) for rate in rates if rate] == [(3, 0), (2, 0), (1, 0), (0, 0), (0, 15)]
    assert [rate.reset_s for rate in rates if rate] == [15, 30, 45, 60, 60]
    store.client.set(f"{PREFIX}pace:{key.id}", str(time.time() * 1000 + 44_900))  # a quarter of a minute later
    after = store.keys.admit(text, anonymous=None)[1]
    assert after and (after.limit, after.remaining, after.wait_s) == (4, 0, 0)


def test_limits_of_a_tenant_refuse_new_jobs(store: JobStore) -> None:
    ours = store.of("ours")
    job = NewJob("generation", "gpu", {}, limits={"queued_jobs": 2})
    first, _ = ours.create(job)
    ours.create(job)
    with pytest.raises(LimitReached, match="limit of queued_jobs is 2") as refused:
        ours.create(job)
    assert refused.value.retry_after and refused.value.details == {"limit": "queued_jobs", "allowed": 2}
    store.of("theirs").create(job)
    ours.cancel(first)
    ours.create(job)


def test_usage_is_that_of_the_tenant_and_of_the_key(store: JobStore) -> None:
    limited, text = store.keys.create("One", tenant="ours", scopes=["read"], limits=Limits(requests_per_minute=7))
    other, _ = store.keys.create("Two", tenant="ours", scopes=["read"])
    for _ in range(3):
        store.keys.admit(text, anonymous=None)
    ours = store.of("ours")
    for tenant in (ours, ours, ours, store.of("theirs")):
        make(tenant)
    taken = store.claim("fast", worker="w")[0].tenant
    assert taken == "ours", "the tenant whose job came first"
    ours.references.hold(PNG, "upload:1", size=100, most=1000)
    usage = store.keys.usage(limited)
    assert (usage.requests_per_minute, usage.queued_jobs, usage.running_jobs) == (3, 2, 1)
    assert (usage.training_hours, usage.stored_bytes) == (0, 100)
    assert store.keys.usage(other) == replace(usage, requests_per_minute=None)
    assert store.keys.usage(ANONYMOUS) == replace(
        usage, requests_per_minute=None, queued_jobs=0, running_jobs=0, stored_bytes=0
    )


def test_hours_of_trainings_are_counted(store: JobStore) -> None:
    ours, job = store.of("ours"), NewJob("training", "train", {}, limits={"training_hours": 1})
    for run_ms in (3_599_000, 2000):
        ours.create(job)
        [record] = store.claim("train", worker="w")
        store.finish(record.id, record.fence, Ending("succeeded", {"run_ms": run_ms}))
    with pytest.raises(LimitReached, match="limit of training_hours is 1"):
        ours.create(job)
    usage = store.keys.usage(store.keys.create("One", tenant="ours", scopes=["read"])[0])
    assert usage.training_hours == 1 and 0 < usage.period_ends_at - now_ms(store) <= 30 * 86_400_000
    ours.create(NewJob("generation", "gpu", {}, limits={"training_hours": 1}))
    store.of("theirs").create(job)
