"""The spans of a job, from its request to each phase of its run, in one process."""

import time
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from jobs.errors import AtelierError
from jobs.objects import Objects
from jobs.store.jobs import JobStore
from jobs.store.records import NewJob
from jobs.tracing import add_span, span, trace_with
from tests.worker.tasks import run_job
from worker.run import JobResult, OutputImage, Task, run_jobs


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Turns tracing on, into memory."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace_with(provider)
    yield exporter
    trace_with(None)


def submit(jobs: JobStore, seed: int = 5) -> None:
    with span("POST", "", "server") as request:
        request.name = "POST /v1/tests"
        params = {"seed": seed, "format": "png"}
        jobs.create(NewJob(kind="test", queue="fast", params=params, compat="a", traceparent=request.traceparent))


def tree(spans: Sequence[ReadableSpan]) -> dict[str, str | None]:
    """The name of each span's parent, by its own; all spans are of one trace."""
    assert len({each.context.trace_id for each in spans if each.context}) == 1
    names = {each.context.span_id: each.name for each in spans if each.context}
    return {each.name: names[each.parent.span_id] if each.parent else None for each in spans}


def test_one_trace_leads_from_the_request_to_each_phase(
    jobs: JobStore, objects: Objects, spans: InMemorySpanExporter
) -> None:
    def runner(task: Task) -> JobResult:
        with task.loading():
            pass
        return JobResult([OutputImage(np.zeros((16, 16, 3), np.uint8))], {}, {}, {})

    submit(jobs)
    started = time.time()
    [record] = jobs.claim("fast", worker="test")
    add_span("claim", record.traceparent, started, time.time())
    run_job(jobs, objects, record, runner)
    finished = spans.get_finished_spans()
    job = "job test"
    assert tree(finished) == {
        "POST /v1/tests": None, "claim": "POST /v1/tests", job: "POST /v1/tests",
        "run": job, "load": job, "store": job, "finish": job,
    }  # fmt: skip
    attributes = {each.name: dict(each.attributes or {}) for each in finished}
    assert attributes[job] == {"job.id": record.id, "job.queue": "fast", "job.attempt": 1}
    assert attributes["finish"] == {"job.status": "succeeded"}


def test_the_jobs_of_a_batch_have_a_trace_each(jobs: JobStore, objects: Objects, spans: InMemorySpanExporter) -> None:
    for seed in range(3):
        submit(jobs, seed)
    records = jobs.claim("fast", worker="test", limit=3)
    run_jobs(jobs, objects, objects, records, lambda tasks: [JobResult([], {}, {}, {}) for _ in tasks])
    runs = [each for each in spans.get_finished_spans() if each.name == "run"]
    assert len({each.context.trace_id for each in runs if each.context}) == 3


def test_an_error_is_noted_without_its_message(jobs: JobStore, objects: Objects, spans: InMemorySpanExporter) -> None:
    def runner(task: Task) -> JobResult:
        raise AtelierError("text_too_long", "a-secret-prompt is too long.")

    submit(jobs)
    run_job(jobs, objects, jobs.claim("fast", worker="test")[0], runner)
    [run] = [each for each in spans.get_finished_spans() if each.name == "run"]
    assert not run.status.is_ok and dict(run.attributes or {}) == {"error.type": "AtelierError"}
    assert "secret" not in run.to_json()


def test_without_tracing_no_context_is_stored(jobs: JobStore) -> None:
    submit(jobs)
    assert jobs.claim("fast", worker="test")[0].traceparent == ""
