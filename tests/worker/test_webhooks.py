"""Webhooks against a real TLS server; its public address is dialled to loopback."""

import hashlib
import hmac
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpcore
import pytest
import trustme
from pydantic import SecretStr

from jobs.errors import BadInput
from jobs.outbound import check_url, post
from jobs.store import PREFIX, WEBHOOK_TRIES, JobStore
from worker.webhooks import Webhooks

HOST = "hooks.example.com"
URL = f"https://{HOST}/done"


@dataclass
class Receiver:
    """What the server got, what it answers, and the `post` that reaches it."""

    send: Any = None
    status: int = 204
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.got.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(made.status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Keep the test's output clean."""

    authority = trustme.CA()
    ours, theirs = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(ours)
    authority.issue_cert("hooks.example.com").configure_cert(theirs)
    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.socket = theirs.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def dial(address: str, port: int, timeout: float) -> httpcore.NetworkStream:
        assert (address, port) == ("93.184.216.34", 443)
        return httpcore.SyncBackend().connect_tcp("127.0.0.1", server.server_port, timeout)

    made.send = partial(
        post, resolve=lambda *_, **__: [(2, 1, 6, "", ("93.184.216.34", 443))], connect=dial, ssl_context=ours
    )
    yield made
    server.shutdown()
    server.server_close()


def call_webhooks(jobs: JobStore, send: Any) -> int:
    """Calls what is due, to the end; returns how many calls a receiver answered with 2xx."""
    answers = []

    def answer(*arguments: Any, **named: Any) -> int:
        answers.append(send(*arguments, **named))
        return int(answers[-1])

    webhooks = Webhooks(jobs, answer)
    webhooks.start_due()
    assert webhooks.wait(20)
    return sum(200 <= status < 300 for status in answers)


def finish(jobs: JobStore, url: str | None = URL) -> str:
    job_id, _ = jobs.create(kind="test", queue="fast", params={}, webhook_url=url)
    record = jobs.claim("fast", worker="test")[0]
    jobs.finish(job_id, record.fence, "succeeded", outputs=[{"index": 0, "sha256": "a" * 64}], metrics={"run_ms": 3})
    return job_id


def make_due(jobs: JobStore, job_id: str) -> None:
    jobs.client.zadd(f"{PREFIX}webhooks:{HOST}", {job_id: 0}, xx=True)
    jobs.client.zadd(f"{PREFIX}webhook_hosts", {HOST: 0})


def test_the_end_of_a_job_is_told_once(jobs: JobStore, receiver: Receiver) -> None:
    job_id = finish(jobs)
    assert call_webhooks(jobs, receiver.send) == 1
    make_due(jobs, job_id)
    assert call_webhooks(jobs, receiver.send) == 0
    told = json.loads(receiver.got[0][1])
    assert (told["id"], told["status"], told["metrics"]) == (job_id, "succeeded", {"run_ms": 3})
    assert told["outputs"][0]["url"] == f"/v1/jobs/{job_id}/outputs/0"
    assert told["finished_at"].endswith("+00:00")
    assert "X-Atelier-Signature" not in receiver.got[0][0]


def test_failed_and_canceled_jobs_are_told_too(jobs: JobStore, receiver: Receiver) -> None:
    failed, _ = jobs.create(kind="test", queue="fast", params={}, webhook_url=URL)
    record = jobs.claim("fast", worker="test")[0]
    jobs.finish(failed, record.fence, "failed", metrics={}, error={"code": "diverged", "message": "…", "details": {}})
    canceled, _ = jobs.create(kind="test", queue="fast", params={}, webhook_url=URL)
    jobs.cancel(canceled)
    assert call_webhooks(jobs, receiver.send) == 2
    told = {json.loads(body)["id"]: json.loads(body) for _, body in receiver.got}
    assert told[failed]["error"]["code"] == "diverged" and told[canceled]["status"] == "canceled"


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


def test_a_private_receiver_is_never_called(jobs: JobStore, receiver: Receiver) -> None:
    finish(jobs)
    private = partial(receiver.send, resolve=lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", 443))])
    assert call_webhooks(jobs, private) == 0 and not receiver.got


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
    (told,) = (json.loads(body)["id"] for _, body in receiver.got)
    assert told in finished and jobs.get(told).finished


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/x", "https://10.0.0.1/", "https://a.example:25/", "https://u@a.example/"]
)
def test_urls_no_resolver_could_save_are_refused_at_once(url: str) -> None:
    with pytest.raises(BadInput, match="must be a public https address"):
        check_url(url)
