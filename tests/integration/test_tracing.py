"""A trace across real processes: the API and a worker send their spans to one collector."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.stack import Stack, wait_until

Spans = dict[str, tuple[str, Span]]  # by name, with the name of the service


@pytest.fixture
def collector() -> Iterator[tuple[str, Spans]]:
    """A server that takes spans by OTLP over HTTP: its address, and what it has received."""
    received: Spans = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                service = {each.key: each.value.string_value for each in resource.resource.attributes}["service.name"]
                received.update({span.name: (service, span) for scope in resource.scope_spans for span in scope.spans})
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    server.server_close()


def test_a_clients_trace_continues_in_the_api_and_the_worker(tmp_path: Path, collector: tuple[str, Spans]) -> None:
    address, received = collector
    options = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    stack = Stack(tmp_path, ATELIER_TRACING="true", ATELIER_LOG_FORMAT="json", **options)
    trace_id, parent_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    try:
        stack.start_valkey()
        stack.start_worker(wait=False)
        stack.start_api()
        job = stack.submit({"traceparent": f"00-{trace_id}-{parent_id}-01", "Prefer": "wait=40"}, steps=2)
        wait_until(lambda: "job probe" in received, 10, "the spans of the worker")
        submit = received["POST /v1/probes"][1]
        assert submit.parent_span_id.hex() == parent_id
        mine = {name: (service, span) for name, (service, span) in received.items() if span.trace_id.hex() == trace_id}
        assert {name: service for name, (service, _) in mine.items()} == {
            "POST /v1/probes": "atelier-api",
            **dict.fromkeys(("claim", "job probe", "run", "store", "finish"), "atelier-worker"),
        }
        root, worker = submit.span_id, mine["job probe"][1]
        assert mine["claim"][1].parent_span_id == worker.parent_span_id == root
        assert {mine[name][1].parent_span_id for name in ("run", "store", "finish")} == {worker.span_id}
        assert {each.key: each.value.string_value for each in worker.attributes}["job.id"] == job["id"]
        assert trace_id in stack.log("w1")
    finally:
        stack.stop()
