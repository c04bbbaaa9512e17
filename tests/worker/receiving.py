"""A receiver of webhooks behind real TLS; its public address is mapped to the loopback interface."""

import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpcore
import trustme

from jobs.intake.outbound import post
from jobs.store.jobs import JobStore
from jobs.store.protocol import PREFIX
from jobs.store.records import Ending, NewJob
from jobs.store.webhooks import Delivery
from worker.webhooks import Webhooks

HOST = "hooks.example.com"
URL = f"https://{HOST}/done"


@dataclass
class Receiver:
    """A receiver, what it got, and the `post` that reaches it; hosts of slow.example.com wait for `go`."""

    send: Any = None
    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    waiting: Counter[str] = field(default_factory=Counter)
    go: threading.Event = field(default_factory=threading.Event)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Starts a receiver."""
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.got.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            if self.headers["Host"].endswith("slow.example.com"):
                made.waiting[self.headers["Host"]] += 1
                made.go.wait(30)
            self.send_response(made.status)
            for header in made.headers.items():
                self.send_header(*header)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Logs nothing."""

    authority = trustme.CA()
    ours, theirs = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(ours)
    authority.issue_cert(HOST, "*.slow.example.com").configure_cert(theirs)
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


def call_due(jobs: JobStore, send: Any) -> None:
    """Calls the due deliveries and waits for the answers."""
    webhooks = Webhooks(jobs, send)
    webhooks.start_due()
    assert webhooks.wait(20)


def finish(jobs: JobStore, url: str | None = URL) -> str:
    """Creates a job and ends it as succeeded; returns its id."""
    job_id, _ = jobs.create(NewJob(kind="test", queue="fast", params={}, webhook_url=url))
    record = jobs.claim("fast", worker="test")[0]
    jobs.finish(job_id, record.fence, Ending("succeeded", {"run_ms": 3}, [{"index": 0, "sha256": "a" * 64}]))
    return job_id


def deliveries(jobs: JobStore, job_id: str | None = None) -> list[Delivery]:
    """The deliveries of a job, or all of them, newest first."""
    return jobs.deliveries.page(job=job_id, status=None, limit=100, cursor=None)[0]


def make_due(jobs: JobStore, delivery_id: str, host: str = HOST) -> None:
    """Makes the next call of a delivery due, if it is pending."""
    if jobs.client.zadd(f"{PREFIX}due:{host}", {delivery_id: 0}, xx=True, ch=True):
        jobs.client.zadd(f"{PREFIX}due-hosts", {host: 0})
