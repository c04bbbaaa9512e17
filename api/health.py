"""Whether the service lives, is ready, and how it fares."""

import asyncio
from collections.abc import Iterator

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from pydantic import BaseModel
from redis import RedisError

from api.readiness import PATIENCE_S, Ready, unanswered
from api.service import Service, ServiceDep

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    """The process answers."""

    status: str


@router.get("/healthz", summary="The process is alive")
async def healthz() -> Alive:
    """200 as long as the API process answers; says nothing of what is behind it, and needs no thread."""
    return Alive(status="alive")


@router.get(
    "/readyz",
    summary="A job sent now will be run",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "Something is wrong; `failing` says what."}},
)
async def readyz(service: ServiceDep) -> Response:
    """200 while a job sent now will be run; 503 with the same body when not, and `failing` names each reason.

    Redis and the store must take writes, an upkeep process must sweep, and each queue needs a worker whose child
    processes move and that takes its jobs. However often it is asked, the checks run twice a second at most, and a
    check that hangs counts as failed after a few seconds.
    """
    checks = asyncio.wrap_future(service.readiness.ask())
    try:
        ready = await asyncio.wait_for(asyncio.shield(checks), 2 * PATIENCE_S)
    except TimeoutError:
        ready = unanswered()
    headers = {} if ready.ready else {"Retry-After": "2"}
    return JSONResponse(ready.model_dump(), status_code=200 if ready.ready else 503, headers=headers)


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={200: {"description": "Prometheus text format.", "content": {"text/plain": {}}}},
)
def metrics(service: ServiceDep) -> Response:
    """HTTP requests and times of this process; jobs, run times, queue depths and workers of the whole service."""
    text = b"".join(generate_latest(registry) for registry in (REGISTRY, _Collected(_service_metrics(service))))
    return Response(text, media_type=CONTENT_TYPE_LATEST)


class _Collected:
    """Metrics made for one scrape, in the shape `generate_latest` reads."""

    def __init__(self, metrics: Iterator[Metric]) -> None:
        self.collect = metrics.__iter__


def _service_metrics(service: Service) -> Iterator[Metric]:
    try:
        depths, stats, workers = service.jobs.depths(), service.jobs.stats(), service.jobs.heartbeats.workers()
    except RedisError:
        yield GaugeMetricFamily("atelier_redis_up", "Whether Redis answers", value=0)
        return
    yield GaugeMetricFamily("atelier_redis_up", "Whether Redis answers", value=1)
    yield GaugeMetricFamily("atelier_workers", "Workers heard of lately", value=len(workers))
    queued = GaugeMetricFamily("atelier_queued_jobs", "Jobs waiting, by queue", labels=["queue"])
    finished = CounterMetricFamily("atelier_jobs", "Finished jobs by kind and state", labels=["kind", "status"])
    seconds = CounterMetricFamily("atelier_run_seconds", "Time spent running jobs", labels=["kind"])
    for queue, depth in depths.items():
        queued.add_metric([queue], depth)
    for name, value in stats.items():
        what, *labels = name.split(":")
        finished.add_metric(labels, value) if what == "jobs" else seconds.add_metric(labels, value / 1000)
    yield from (queued, finished, seconds)
