"""Webhooks against a real Valkey and a real TLS server, verified by Standard Webhooks' own library."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from typing import Any

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError

from jobs.errors import BadInput, Conflict, NotFound
from jobs.intake.outbound import Answer, check_url
from jobs.store.jobs import JobStore
from jobs.store.protocol import PREFIX
from jobs.store.records import Ending, NewJob
from jobs.store.webhooks import CALLS_PER_HOST, EVENTS, LEASE_S, new_secret, secret_of
from tests.stack import Stack, wait_until
from tests.worker.receiving import URL, Receiver, call_due, deliveries, finish, make_due, receiving
from worker.webhooks import JITTER, TRIES, Webhooks, backoff_s, seconds_to_wait


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def test_a_finished_job_is_delivered_once(jobs: JobStore, receiver: Receiver) -> None:
    job_id = finish(jobs)
    call_due(jobs, receiver.send)
    call_due(jobs, receiver.send)
    [(headers, body)], [delivery] = receiver.got, deliveries(jobs, job_id)
    content = json.loads(body)
    assert content["type"] == delivery.event == "job.succeeded"
    data = content["data"]
    assert (data["id"], data["status"], data["metrics"]) == (job_id, "succeeded", {"run_ms": 3})
    assert data["outputs"][0]["url"] == f"/v1/jobs/{job_id}/outputs/0"
    assert data["finished_at"].endswith("+00:00") and data["error"] is None
    assert (delivery.status, delivery.next_attempt_at) == ("delivered", None)
    assert [attempt["status"] for attempt in delivery.attempts] == [204]
    assert jobs.stats.read()["webhooks", "accepted"] == 1
    assert headers["webhook-id"] == delivery.id and "webhook-signature" not in headers, "there is no secret"


def test_every_end_of_a_job_is_an_event(jobs: JobStore, receiver: Receiver) -> None:
    for _ in range(3):
        jobs.create(NewJob(kind="test", queue="fast", params={}, webhook_url=URL, expires_in=60))
    failed, canceled = jobs.claim("fast", worker="test")[0], jobs.claim("fast", worker="test")[0]
    jobs.finish(
        failed.id, failed.fence, Ending("failed", {}, error={"code": "diverged", "message": "…", "details": {}})
    )
    jobs.cancel(canceled.id)
    jobs.finish(canceled.id, canceled.fence, Ending("canceled", {}))
    [queued] = jobs.page(kind=None, status="queued", limit=1, cursor=None)[0]
    jobs.client.zadd(f"{PREFIX}expiry", {queued.id: 1})
    jobs.sweep()
    call_due(jobs, receiver.send)
    bodies = {content["data"]["id"]: content for content in (json.loads(body) for _, body in receiver.got)}
    assert bodies[failed.id]["data"]["error"]["code"] == "diverged"
    assert {content["type"] for content in bodies.values()} == set(EVENTS) - {"job.succeeded"}


def test_no_webhook_no_call(jobs: JobStore, receiver: Receiver) -> None:
    finish(jobs, None)
    call_due(jobs, receiver.send)
    assert not receiver.got and not deliveries(jobs)


def with_secrets(jobs: JobStore, *secrets: str) -> None:
    jobs.settings = jobs.settings.model_copy(update={"webhook_secret": SecretStr(" ".join(secrets))})


def test_the_library_verifies_what_was_sent_and_refuses_the_rest(jobs: JobStore, receiver: Receiver) -> None:
    """Promise S10."""
    secret = new_secret()
    with_secrets(jobs, secret)
    finish(jobs)
    call_due(jobs, receiver.send)
    headers, body = receiver.got[0]
    webhook = Webhook(secret)
    assert webhook.verify(body, headers)["type"] == "job.succeeded"
    old = datetime.now(UTC) - timedelta(minutes=6)
    resigned = {"webhook-timestamp": str(int(old.timestamp()))}
    resigned |= {"webhook-signature": webhook.sign(headers["webhook-id"], old, body.decode())}
    refused = {
        "another body": (body.replace(b"succeeded", b"failed"), headers),
        "another id": (body, headers | {"webhook-id": "msg_" + "0" * 36}),
        "another time": (body, headers | {"webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}),
        "an old one, signed": (body, headers | resigned),
        "another signature": (body, headers | {"webhook-signature": "v1," + "A" * 43 + "="}),
        "no signature": (body, {name: value for name, value in headers.items() if name != "webhook-signature"}),
    }
    for what, (forged, with_headers) in refused.items():
        with pytest.raises(WebhookVerificationError):
            webhook.verify(forged, with_headers)
            pytest.fail(what)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(body, headers)
    print(f"S10: 1 delivery verified, {len(refused) + 1} forgeries refused")


def test_both_secrets_verify_during_a_rotation(jobs: JobStore, receiver: Receiver) -> None:
    service = (new_secret(), new_secret())
    with_secrets(jobs, *service)
    endpoint = jobs.endpoints.create(URL, EVENTS)
    rotated = jobs.endpoints.rotate(endpoint.id)
    assert rotated.secrets == (rotated.secrets[0], endpoint.secrets[0])
    finish(jobs)
    call_due(jobs, receiver.send)
    signed_by = {each.id: rotated.secrets if each.endpoint else service for each in deliveries(jobs)}
    assert len(receiver.got) == len(signed_by) == 2
    for headers, body in receiver.got:
        for secret in signed_by[headers["webhook-id"]]:
            Webhook(secret).verify(body, headers)
    jobs.client.hset(f"{PREFIX}endpoint:{endpoint.id}", "old_until", "1")
    assert jobs.endpoints.get(endpoint.id).secrets == rotated.secrets[:1], "the old one has ended"


def test_a_tenant_is_alone_with_its_endpoints_and_its_secret(jobs: JobStore, receiver: Receiver) -> None:
    secret = new_secret()
    with_secrets(jobs, secret)
    acme, other = jobs.of("acme"), jobs.of("other")
    endpoint = acme.endpoints.create(URL, EVENTS)
    finish(jobs)
    acme.create(NewJob(kind="test", queue="fast", params={}, webhook_url=URL))
    [job] = jobs.claim("fast", worker="test")
    jobs.finish(job.id, job.fence, Ending("succeeded", {}))
    call_due(jobs, receiver.send)
    assert len(receiver.got) == len(deliveries(jobs)) + len(deliveries(acme)) == 3
    assert {delivery.job for delivery in deliveries(acme)} == {job.id} and not deliveries(other)
    assert not deliveries(other, job.id) and not other.endpoints.all() and not jobs.endpoints.all()
    for call in (other.endpoints.get, other.endpoints.rotate, other.endpoints.enable, other.endpoints.delete):
        with pytest.raises(NotFound):
            call(endpoint.id)
    own = next(delivery for delivery in deliveries(acme) if delivery.endpoint is None)
    for replay in (other.deliveries.get, other.deliveries.replay):
        with pytest.raises(NotFound):
            replay(own.id)
    [(headers, body)] = [got for got in receiver.got if got[0]["webhook-id"] == own.id]
    Webhook(secret_of("acme", secret)).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, headers)


def test_an_endpoint_gets_the_events_it_wants(jobs: JobStore, receiver: Receiver) -> None:
    wants = jobs.endpoints.create(URL, ["job.succeeded"])
    other = jobs.endpoints.create(URL, ["job.failed", "job.expired"])
    job_id = finish(jobs, None)
    call_due(jobs, receiver.send)
    [delivery] = deliveries(jobs, job_id)
    assert (delivery.endpoint, delivery.status) == (wants.id, "delivered") and len(receiver.got) == 1
    jobs.endpoints.delete(wants.id)
    finish(jobs, None)
    assert deliveries(jobs) == [delivery] and jobs.endpoints.all() == [other]


def test_a_failure_is_tried_for_a_day_then_kept_and_replayed(jobs: JobStore, receiver: Receiver) -> None:
    receiver.status = 500
    [delivery] = deliveries(jobs, finish(jobs))
    for number in range(1, TRIES + 1):
        call_due(jobs, receiver.send)
        call_due(jobs, receiver.send)
        assert len(receiver.got) == number, "the next try is not due yet"
        make_due(jobs, delivery.id)
    call_due(jobs, receiver.send)
    [dead], _ = jobs.deliveries.page(job=None, status="failed", limit=10, cursor=None)
    assert (dead.id, dead.next_attempt_at, len(dead.attempts)) == (delivery.id, None, TRIES)
    assert not jobs.client.keys(f"{PREFIX}due*")
    assert jobs.stats.read()["webhooks", "refused"] == TRIES

    receiver.status = 200
    assert jobs.deliveries.replay(delivery.id).status == "pending"
    call_due(jobs, receiver.send)
    replayed = jobs.deliveries.get(delivery.id)
    assert (replayed.status, [attempt["status"] for attempt in replayed.attempts]) == (
        "delivered",
        [500] * TRIES + [200],
    )
    assert {headers["webhook-id"] for headers, _ in receiver.got} == {delivery.id}
    assert len({body for _, body in receiver.got}) == 1
    waits = [backoff_s(number) for number in range(1, TRIES)]
    assert 15 <= waits[0] <= 15 * (1 + JITTER) and 24 * 3600 < sum(waits) < 30 * 3600
    assert len({backoff_s(1) for _ in range(20)}) > 1, "jitter"


def test_retry_after_is_respected(jobs: JobStore, receiver: Receiver) -> None:
    receiver.status, receiver.headers = 503, {"Retry-After": "900"}
    [delivery] = deliveries(jobs, finish(jobs))
    call_due(jobs, receiver.send)
    [after] = deliveries(jobs)
    assert after.next_attempt_at and 890_000 < after.next_attempt_at - delivery.created_at < 910_000
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert 3590 < seconds_to_wait(in_an_hour) <= 3600
    assert [seconds_to_wait(text) for text in (None, "soon", "-5", "99999999999")] == [0, 0, 0, 86400]


def test_gone_disables_an_endpoint_until_it_is_enabled(jobs: JobStore, receiver: Receiver) -> None:
    endpoint = jobs.endpoints.create(URL, EVENTS)
    first, second = finish(jobs, None), finish(jobs, None)
    receiver.status = 410
    call_due(jobs, partial(receiver.send))
    statuses = {deliveries(jobs, job_id)[0].status for job_id in (first, second)}
    assert statuses == {"failed"} and jobs.endpoints.get(endpoint.id).disabled_at
    finish(jobs, None)
    assert len(deliveries(jobs)) == 2, "a disabled endpoint gets no more"
    [delivery] = deliveries(jobs, first)
    with pytest.raises(Conflict, match="disabled"):
        jobs.deliveries.replay(delivery.id)
    receiver.status = 200
    assert jobs.endpoints.enable(endpoint.id).disabled_at is None
    jobs.deliveries.replay(delivery.id)
    call_due(jobs, receiver.send)
    assert jobs.deliveries.get(delivery.id).status == "delivered"


def test_deliveries_of_a_deleted_endpoint_fail(jobs: JobStore, receiver: Receiver) -> None:
    endpoint = jobs.endpoints.create(URL, EVENTS)
    finish(jobs, None)
    jobs.endpoints.delete(endpoint.id)
    call_due(jobs, receiver.send)
    [delivery] = deliveries(jobs)
    assert (delivery.status, delivery.attempts[0]["error"], receiver.got) == ("failed", "webhook_disabled", [])


def test_a_private_receiver_is_never_called(jobs: JobStore, receiver: Receiver) -> None:
    finish(jobs)
    call_due(jobs, partial(receiver.send, resolve=lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", 443))]))
    [delivery] = deliveries(jobs)
    assert (delivery.status, delivery.attempts[0]["error"], receiver.got) == ("pending", "url_not_allowed", [])
    assert jobs.stats.read()["webhooks", "failed"] == 1


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/x", "https://10.0.0.1/", "https://a.example:25/", "https://u@a.example/"]
)
def test_urls_no_resolver_could_save_are_refused_at_once(url: str) -> None:
    with pytest.raises(BadInput, match="must be a public https URL"):
        check_url(url)


def test_a_deleted_job_calls_nobody_but_one_at_its_end_of_life_does(jobs: JobStore, receiver: Receiver) -> None:
    deleted, old = finish(jobs), finish(jobs)
    jobs.delete(deleted)
    jobs.client.zadd(f"{PREFIX}done", {old: 1})
    jobs.sweep()
    with pytest.raises(NotFound):
        jobs.get(old)
    call_due(jobs, receiver.send)
    assert [json.loads(body)["data"]["id"] for _, body in receiver.got] == [old]
    jobs.client.zadd(f"{PREFIX}deliveries-done", {deliveries(jobs)[0].id: 1})
    jobs.sweep()
    assert not deliveries(jobs) and not jobs.client.keys(f"{PREFIX}deliver*")


def test_slow_receivers_delay_nobody_else(jobs: JobStore, receiver: Receiver) -> None:
    for number in range(20 * 8):
        finish(jobs, f"https://{number % 20}.slow.example.com/hook")
    quick = [finish(jobs) for _ in range(20)]
    webhooks, second = Webhooks(jobs, receiver.send), Webhooks(jobs, receiver.send)
    started = time.monotonic()
    webhooks.start_due()
    wait_until(lambda: {*quick} <= {json.loads(body)["data"]["id"] for _, body in receiver.got}, 20, "the quick one")
    quick_s = time.monotonic() - started
    wait_until(lambda: receiver.waiting.total() >= 50 and len(receiver.waiting) == 20, 20, "the slow receivers")
    in_hand = receiver.waiting.copy()
    second.start_due()
    receiver.go.set()
    assert webhooks.wait(60) and second.wait(60)
    print(
        f"20 receivers that do not answer, 8 webhooks each: the 20 of another host were delivered in {quick_s:.2f} s;"
        f" {in_hand.total()} slow calls ran meanwhile, {max(in_hand.values())} of one host at most"
    )
    assert quick_s < 5
    assert max(in_hand.values()) <= CALLS_PER_HOST
    assert len(receiver.got) == 20 * 8 + 20, "each was called once, by one of two processes"
    assert set(Counter(headers["webhook-id"] for headers, _ in receiver.got).values()) == {1}


def test_a_process_that_dies_or_freezes_in_a_call_loses_nothing(jobs: JobStore, receiver: Receiver) -> None:
    finish(jobs)
    [lost] = jobs.deliveries.claim({})
    assert jobs.deliveries.claim({}) == [], "leased"
    [delivery] = deliveries(jobs)
    assert delivery.next_attempt_at and 0 <= delivery.next_attempt_at - delivery.created_at - LEASE_S * 1000 < 5000
    make_due(jobs, lost.id)  # the lease runs out
    call_due(jobs, receiver.send)
    assert jobs.deliveries.called(lost, [{"status": 500}], "failed") == "lost", "the frozen one wakes"
    assert jobs.deliveries.get(lost.id).status == "delivered" and len(receiver.got) == 1


def test_a_replay_during_a_call_does_not_call_again(jobs: JobStore) -> None:
    finish(jobs)

    def send(*_: Any, **__: Any) -> Answer:
        jobs.deliveries.replay(deliveries(jobs)[0].id)
        assert jobs.deliveries.claim({}) == []
        return Answer(200, None)

    call_due(jobs, send)
    assert deliveries(jobs)[0].status == "delivered"


def test_deliveries_survive_a_restart_of_redis(valkey: Stack, jobs: JobStore, receiver: Receiver) -> None:
    finished = {finish(jobs) for _ in range(30)}
    receiver.status = 500
    call_due(jobs, receiver.send)
    time.sleep(1.2)  # everysec
    valkey.kill("valkey")
    valkey.start_valkey()
    assert {delivery.job for delivery in deliveries(jobs)} == finished
    receiver.status = 204
    for delivery in deliveries(jobs):
        make_due(jobs, delivery.id)
    call_due(jobs, receiver.send)
    assert {delivery.status for delivery in deliveries(jobs)} == {"delivered"}


def test_webhooks_that_release_0_1_left_due_are_delivered(jobs: JobStore, receiver: Receiver) -> None:
    job_id = finish(jobs)
    jobs.client.delete(*jobs.client.keys(f"{PREFIX}due*"), *jobs.client.keys(f"{PREFIX}deliver*"))  # type: ignore[misc]
    jobs.client.zadd(f"{PREFIX}webhooks:hooks.example.com", {job_id: 1})
    jobs.client.zadd(f"{PREFIX}webhook_hosts", {"hooks.example.com": 1})
    call_due(jobs, receiver.send)
    assert json.loads(receiver.got[0][1])["data"]["id"] == job_id
    assert not jobs.client.keys(f"{PREFIX}webhook*")
