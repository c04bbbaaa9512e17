"""Metrics for Prometheus: HTTP figures of this process, and the jobs, queues and workers of the whole service."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from redis import RedisError

from api.service import Service, ServiceDep
from jobs.liveness import serves
from jobs.objects import OPERATIONS
from jobs.store.protocol import SECONDS, SIZES
from jobs.store.records import QUEUES
from jobs.store.stats import cumulative

router = APIRouter(tags=["health"])

# By the name in `jobs.store.stats`.
COUNTERS: dict[str, tuple[str, str, Sequence[str]]] = {
    "jobs": ("atelier_jobs", "Finished jobs", ["kind", "status"]),
    "failures": ("atelier_job_failures", "Failed jobs by error code", ["kind", "code"]),
    "webhooks": ("atelier_webhook_calls", "Calls of webhooks", ["outcome"]),
    "storage_errors": ("atelier_storage_errors", "Operations of the object store that failed", ["operation"]),
}
# Counters that are there from the start: Prometheus sees no increase where one begins at 1.
KNOWN = {"webhooks": ("accepted", "refused", "failed"), "storage_errors": OPERATIONS}
HISTOGRAMS: dict[str, tuple[str, str, Sequence[str], Sequence[float]]] = {
    "wait_seconds": ("atelier_job_wait_seconds", "Time from submit to the first claim", ["kind", "queue"], SECONDS),
    "run_seconds": ("atelier_job_run_seconds", "Time of a run without loading models", ["kind", "queue"], SECONDS),
    "batch_jobs": ("atelier_batch_jobs", "Jobs that a worker claimed at once", ["queue"], SIZES),
}
# By the name in the heartbeat of a worker.
WORKER_GAUGES = {
    "children": ("atelier_worker_children", "Child processes"),
    "model_bytes": ("atelier_worker_model_bytes", "Models in memory"),
}
WORKER_COUNTERS = {
    "model_loads": ("atelier_worker_model_loads", "Models loaded"),
    "model_evictions": ("atelier_worker_model_evictions", "Models evicted"),
}


@router.get(
    "/metrics",
    summary="Get metrics for Prometheus",
    response_class=Response,
    responses={200: {"description": "Prometheus text format.", "content": {"text/plain": {}}}},
)
def metrics(service: ServiceDep) -> Response:
    """Returns HTTP requests and times of this process, and jobs, queues, workers and Redis of the whole service.

    Each API process returns the same figures of the service: take their maximum over instances, not their sum.
    """
    text = b"".join(generate_latest(registry) for registry in (REGISTRY, _Collected(_service_metrics(service))))
    return Response(text, media_type=CONTENT_TYPE_LATEST)


class _Collected:
    """Metrics of one scrape, as the registry that `generate_latest` reads."""

    def __init__(self, metrics: Iterator[Metric]) -> None:
        self.collect = metrics.__iter__


def _service_metrics(service: Service) -> Iterator[Metric]:
    jobs = service.jobs
    try:
        vitals, workers, upkeeps = (
            jobs.heartbeats.vitals(write=False),
            jobs.heartbeats.workers(),
            jobs.heartbeats.upkeeps(),
        )
        depths, busy, stats, memory = jobs.depths(), jobs.busy_children(), jobs.stats.read(), jobs.stats.memory()
    except RedisError:
        yield GaugeMetricFamily("atelier_redis_up", "Whether Redis answers", value=0)
        return
    yield GaugeMetricFamily("atelier_redis_up", "Whether Redis answers", value=1)
    yield _gauge("atelier_redis_memory_bytes", "Memory that Redis uses", memory[0])
    yield _gauge("atelier_redis_max_memory_bytes", "Limit of Redis's memory; 0 is none", memory[1])
    yield _by_queue("atelier_queued_jobs", "Queued jobs", depths)
    yield _by_queue("atelier_oldest_queued_seconds", "Age of the oldest queued job", vitals.waiting_s)
    serving = {queue: sum(serves(facts, queue) for facts in workers.values()) for queue in QUEUES}
    yield _by_queue("atelier_queue_workers", "Workers with a recent heartbeat that serve a queue", serving)
    running = {queue: busy.get(queue, 0) for queue in QUEUES}
    yield _by_queue("atelier_busy_children", "Child processes that run a job of a queue", running)
    yield _gauge("atelier_leases", "Jobs that a worker runs", vitals.leases)
    yield _gauge("atelier_overdue_leases", "Leases that ran out and were not requeued", vitals.overdue_leases)
    yield _gauge("atelier_workers", "Workers with a recent heartbeat", len(workers))
    yield _gauge("atelier_upkeeps", "Upkeep processes that completed a round recently", len(upkeeps))
    yield from _worker_metrics(workers)
    yield from _counted(stats)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _by_queue(name: str, text: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["queue"])
    for queue, value in values.items():
        family.add_metric([queue], value)
    return family


def _worker_metrics(workers: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    frozen = GaugeMetricFamily("atelier_worker_frozen_children", "Child processes that are frozen", labels=["worker"])
    for worker, facts in workers.items():
        frozen.add_metric([worker], len(facts.get("frozen", [])))
    yield frozen
    for family_class, names in ((GaugeMetricFamily, WORKER_GAUGES), (CounterMetricFamily, WORKER_COUNTERS)):
        for fact, (name, text) in names.items():
            family = family_class(name, text, labels=["worker"])
            for worker, facts in workers.items():
                family.add_metric([worker], facts.get(fact, 0))  # a worker of an earlier release lacks some
            yield family


def _counted(stats: Mapping[tuple[str, ...], float]) -> Iterator[Metric]:
    zeros: dict[tuple[str, ...], float] = {(name, label): 0 for name, labels in KNOWN.items() for label in labels}
    stats = {**zeros, **stats}
    for counted, (name, text, labels) in COUNTERS.items():
        counter = CounterMetricFamily(name, text, labels=labels)
        for (what, *values), number in stats.items():
            if what == counted:
                counter.add_metric(values, number)
        yield counter
    for counted, (name, text, labels, bounds) in HISTOGRAMS.items():
        histogram = HistogramMetricFamily(name, text, labels=labels)
        series: dict[tuple[str, ...], dict[str, float]] = {}
        for (what, *values, part), number in stats.items():
            if what == counted:
                series.setdefault(tuple(values), {})[part] = number
        for labeled, counts in series.items():
            total = counts.pop("sum")
            histogram.add_metric(labeled, cumulative(counts, bounds), total)
        yield histogram
