"""Traces of OpenTelemetry: one trace from a request through the claim of its job to each phase of the run.

The context of a trace travels as W3C's `traceparent`: in the header of a request, in the record of its job, and from
span to span. Without `ATELIER_TRACING`, nothing of OpenTelemetry is imported and every `traceparent` is empty.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from jobs.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import Tracer

_tracer: "Tracer | None" = None


@dataclass
class Span:
    """A span that has not ended; it ends with the name and attributes that it has then."""

    name: str
    attributes: dict[str, Any]
    traceparent: str = ""


def start_tracing(settings: Settings, service: str) -> None:
    """Sends the spans of this process to the collector that the OTEL_* variables name, if tracing is on.

    A forked process must call it after the fork: a thread sends the spans.
    """
    if not settings.tracing:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        sys.exit("ATELIER_TRACING cannot be used: install the extra `otel`.")
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace_with(provider)


def trace_with(provider: "TracerProvider | None") -> None:
    """Makes spans with this provider; None turns tracing off."""
    global _tracer
    _tracer = provider.get_tracer("atelier") if provider else None


@contextmanager
def span(
    name: str, parent: str, kind: Literal["internal", "server", "consumer"] = "internal", **attributes: Any
) -> Iterator[Span]:
    """Makes a span of the time inside; `parent` is a traceparent, empty for a new trace.

    An error is noted by its class alone: its message may hold what a user sent.
    """
    made = Span(name, attributes)
    if _tracer is None:
        yield made
        return
    from opentelemetry.trace import SpanKind, StatusCode

    otel_span = _tracer.start_span(name, _context(parent), kind=SpanKind[kind.upper()])
    made.traceparent = _traceparent(otel_span)
    try:
        yield made
    except BaseException as error:
        otel_span.set_status(StatusCode.ERROR)
        made.attributes["error.type"] = type(error).__name__
        raise
    finally:
        otel_span.update_name(made.name)
        otel_span.set_attributes(made.attributes)
        otel_span.end()


def add_span(name: str, parent: str, started_s: float, ended_s: float) -> None:
    """Adds a span that has ended, with its times in Unix seconds, to the trace of `parent`."""
    if _tracer is not None and parent:
        _tracer.start_span(name, _context(parent), start_time=int(started_s * 1e9)).end(int(ended_s * 1e9))


def _context(traceparent: str) -> Any:
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": traceparent}, Context())


def _traceparent(otel_span: "OtelSpan") -> str:
    from opentelemetry.trace import set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, set_span_in_context(otel_span))
    return carrier["traceparent"]
