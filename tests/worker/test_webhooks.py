"""Webhooks against a real TLS server; its public address is mapped to the loopback interface."""

import hashlib
import hmac
import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpcore
import pytest
import trustme
from pydantic import SecretStr

from jobs.errors import BadInput
from jobs.intake.outbound import check_url, post
from jobs.store.jobs import MAX_WEBHOOK_CALLS, WEBHOOK_CALLS_PER_HOST, WEBHOOK_TRIES, JobStore
from jobs.store.protocol import PREFIX
from jobs.store.records import Ending, NewJob
from tests.stack import wait_until
from worker.webhooks import Webhooks

HOST = "hooks.example.com"
URL = f"https://{HOST}/done"


@dataclass
class Receiver:
    """A receiver, what it got, and the `post` that reaches it; hosts of slow.example.com wait for `go`."""

    send: Any = None
    status: int = 204
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    waiting: Counter[str] = field(default_factory=Counter)
    go: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.got.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            if self.headers["Host"].endswith("slow.example.com"):
                made.waiting[self.headers["Host"]] += 1
                made.go.wait(30)
            self.send_response(made.status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Logs nothing."""

    authority = trustme.CA()
    ours, theirs = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(ours)
    authority.issue_cert("hooks.example.com", "*.slow.example.com").configure_cert(theirs)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = theirs.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def dial(address: str, port: int, timeout: float) -> httpcore.NetworkStream:
        assert (address, port) == ("93.184.216.34", 443)
        return httpcore.SyncBackend().connect_tcp("127.0.0.1", server.server_port, timeout)

    made.send = partial(
        post, resolve=lambda *_, **__: [(2, 1, 6, "", ("93.184.216.34", 443))], connect=dial, ssl_context=ours
    )
    yield made
    made.go.set()
    server.shutdown()
    server.server_close()


def call_webhooks(jobs: JobStore, send: Any) -> int:
    """Calls the due webhooks and waits; returns how many calls returned 2xx."""
    answers = []

    def answer(*arguments: Any, **named: Any) -> int:
        answers.append(send(*arguments, **named))
        return int(answers[-1])

    webhooks = Webhooks(jobs, answer)
    webhooks.start_due()
    assert webhooks.wait(20)
    return sum(200 <= status < 300 for status in answers)


def finish(jobs: JobStore, url: str | None = URL) -> str:
    job_id, _ = jobs.create(NewJob(kind="test", queue="fast", params={}, webhook_url=url))
    record = jobs.claim("fast", worker="test")[0]
    jobs.finish(job_id, record.fence, Ending("succeeded", {"run_ms": 3}, [{"index": 0, "sha256": "a" * 64}]))
    return job_id


def make_due(jobs: JobStore, job_id: str) -> None:
    jobs.client.zadd(f"{PREFIX}webhooks:{HOST}", {job_id: 0}, xx=True)
    jobs.client.zadd(f"{PREFIX}webhook_hosts", {HOST: 0})


def test_the_webhook_of_a_job_is_called_once(jobs: JobStore, receiver: Receiver) -> None:
    job_id = finish(jobs)
    assert call_webhooks(jobs, receiver.send) == 1
    make_due(jobs, job_id)
    assert call_webhooks(jobs, receiver.send) == 0
    assert jobs.stats.read()["webhooks", "accepted"] == 1
    body = json.loads(receiver.got[0][1])
    assert (body["id"], body["status"], body["metrics"]) == (job_id, "succeeded", {"run_ms": 3})
    assert body["outputs"][0]["url"] == f"/v1/jobs/{job_id}/outputs/0"
    assert body["finished_at"].endswith("+00:00")
    assert "X-Atelier-Signature" not in receiver.got[0][0]


def test_failed_and_canceled_jobs_call_their_webhook_too(jobs: JobStore, receiver: Receiver) -> None:
    failed, _ = jobs.create(NewJob(kind="test", queue="fast", params={}, webhook_url=URL))
    record = jobs.claim("fast", worker="test")[0]
    error = {"code": "diverged", "message": "…", "details": {}}
    jobs.finish(failed, record.fence, Ending("failed", {}, error=error))
    canceled, _ = jobs.create(NewJob(kind="test", queue="fast", params={}, webhook_url=URL))
    jobs.cancel(canceled)
    assert call_webhooks(jobs, receiver.send) == 2
    bodies = {json.loads(body)["id"]: json.loads(body) for _, body in receiver.got}
    assert bodies[failed]["error"]["code"] == "diverged" and bodies[canceled]["status"] == "canceled"


def test_no_webhook_no_call(jobs: JobStore, receiver: Receiver) -> None:
    finish(jobs, None)
    assert call_webhooks(jobs, receiver.send) == 0 and not receiver.got


def test_a_refusal_is_tried_again_later_and_given_up_in_the_end(jobs: JobStore, receiver: Receiver) -> None:
    receiver.status = 500
    job_id = finish(jobs)
    assert call_webhooks(jobs, receiver.send) == 0
    assert call_webhooks(jobs, receiver.send) == 0, "the next try is not due yet"
    assert len(receiver.got) == 1
    for _ in range(WEBHOOK_TRIES):
        make_due(jobs, job_id)
        call_webhooks(jobs, receiver.send)
    assert len(receiver.got) == WEBHOOK_TRIES
    assert not jobs.client.exists(f"{PREFIX}webhooks:{HOST}", f"{PREFIX}webhook_hosts")
    assert jobs.stats.read()["webhooks", "refused"] == WEBHOOK_TRIES


def test_a_private_receiver_is_never_called(jobs: JobStore, receiver: Receiver) -> None:
    finish(jobs)
    private = partial(receiver.send, resolve=lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", 443))])
    assert call_webhooks(jobs, private) == 0 and not receiver.got
    assert jobs.stats.read()["webhooks", "failed"] == 1


def test_a_secret_signs_the_body(jobs: JobStore, receiver: Receiver) -> None:
    jobs.settings = jobs.settings.model_copy(update={"webhook_secret": SecretStr("k")})
    finish(jobs)
    call_webhooks(jobs, receiver.send)
    headers, body = receiver.got[0]
    assert headers["X-Atelier-Signature"] == "sha256=" + hmac.new(b"k", body, hashlib.sha256).hexdigest()


def test_a_deleted_job_calls_nobody(jobs: JobStore, receiver: Receiver) -> None:
    jobs.delete(finish(jobs))
    assert call_webhooks(jobs, receiver.send) == 0


class DeletedMeanwhile(JobStore):
    """A store whose first due job is deleted before its webhook is called."""

    def due_webhooks(self, calling: Mapping[str, str]) -> list[tuple[str, str, int]]:
        due = super().due_webhooks(calling)
        for job_id, _, _ in due[:1]:
            self.delete(job_id)
        return due


def test_a_job_deleted_while_its_webhook_is_due_stops_nobody(jobs: JobStore, receiver: Receiver) -> None:
    finished = {finish(jobs), finish(jobs)}
    assert call_webhooks(DeletedMeanwhile(jobs.client, jobs.settings), receiver.send) == 1
    (job_id,) = (json.loads(body)["id"] for _, body in receiver.got)
    assert job_id in finished and jobs.get(job_id).finished


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/x", "https://10.0.0.1/", "https://a.example:25/", "https://u@a.example/"]
)
def test_urls_no_resolver_could_save_are_refused_at_once(url: str) -> None:
    with pytest.raises(BadInput, match="must be a public https URL"):
        check_url(url)


def test_slow_receivers_delay_nobody_else(jobs: JobStore, receiver: Receiver) -> None:
    for number in range(20 * 8):
        finish(jobs, f"https://{number % 20}.slow.example.com/hook")
    quick = [finish(jobs) for _ in range(20)]
    webhooks = Webhooks(jobs, receiver.send)
    started = time.monotonic()
    webhooks.start_due()
    wait_until(lambda: {*quick} <= {json.loads(body)["id"] for _, body in receiver.got}, 20, "the quick receiver")
    quick_s = time.monotonic() - started
    wait_until(lambda: receiver.waiting.total() >= 50 and len(receiver.waiting) == 20, 20, "the slow receivers")
    in_hand = receiver.waiting.copy()
    receiver.go.set()
    assert webhooks.wait(60)
    print(
        f"20 receivers that do not answer, 8 webhooks each: the 20 of another host were delivered in {quick_s:.2f} s;"
        f" {in_hand.total()} slow calls ran meanwhile, {max(in_hand.values())} of one host at most"
    )
    assert quick_s < 5
    assert max(in_hand.values()) <= WEBHOOK_CALLS_PER_HOST
    assert len(receiver.got) == 20 * 8 + 20, "each was called once"


def test_many_hosts_share_the_calls(jobs: JobStore) -> None:
    """Hosts with a running call share half of all calls; the other half is for hosts without one."""
    for number in range(60 * WEBHOOK_CALLS_PER_HOST):
        finish(jobs, f"https://h{number % 60}.example.com:8443/hook")
    due = jobs.due_webhooks({})
    per_host = Counter(host for _, host, _ in due)
    assert len(due) <= MAX_WEBHOOK_CALLS and len(per_host) == 60
    assert (min(per_host.values()), max(per_host.values())) == (1, WEBHOOK_CALLS_PER_HOST)
    calling = {job_id: host for job_id, host, _ in due}
    late = finish(jobs, "https://late.example.com/hook")
    assert jobs.due_webhooks(calling) == [(late, "late.example.com", 1)]
    full = calling | {f"job_{n}": f"{n}.example.com" for n in range(MAX_WEBHOOK_CALLS - len(calling))}
    finish(jobs, "https://later.example.com/hook")
    assert jobs.due_webhooks(full) == []


def test_a_webhook_in_hand_is_not_claimed_again(jobs: JobStore) -> None:
    job_id = finish(jobs)
    assert jobs.due_webhooks({}) == [(job_id, HOST, 1)]
    make_due(jobs, job_id)
    assert jobs.due_webhooks({job_id: HOST}) == [], "the call takes longer than its lease"
    make_due(jobs, job_id)
    assert jobs.due_webhooks({}) == [(job_id, HOST, 2)]


@pytest.mark.parametrize("url", ["https://HOOKS.example.com./a", f"https://{HOST}:8443?x=1", f"https://{HOST}"])
def test_a_host_is_one_however_it_is_written(jobs: JobStore, url: str) -> None:
    job_id = finish(jobs, url)
    assert jobs.due_webhooks({}) == [(job_id, HOST, 1)]
    jobs.webhook_called(job_id)
    make_due(jobs, job_id)
    assert jobs.due_webhooks({}) == []
