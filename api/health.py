"""Health checks and metrics."""

import asyncio
from collections.abc import Iterator

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from pydantic import BaseModel
from redis import RedisError

from api.readiness import TIMEOUT_S, Ready, unanswered
from api.service import Service, ServiceDep

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    """The process responds."""

    status: str


@router.get("/healthz", summary="Check that the process is alive")
async def healthz() -> Alive:
    """Returns 200 while the API process responds. It does not check Redis, storage or workers, and uses no thread."""
    return Alive(status="alive")


@router.get(
    "/readyz",
    summary="Check that new jobs will run",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "Not ready; `failing` lists the reasons."}},
)
async def readyz(service: ServiceDep) -> Response:
    """Returns 200 if a job submitted now will run; otherwise 503 with the same body, and `failing` lists the reasons.

    Redis and the object store must accept writes, an upkeep process must run, and each queue needs a worker that takes
    its jobs and whose child processes are not frozen. The checks run at most twice a second, whatever the number of
    requests; a check that hangs counts as failed after a few seconds.
    """
    checks = asyncio.wrap_future(service.readiness.ask())
    try:
        ready = await asyncio.wait_for(asyncio.shield(checks), 2 * TIMEOUT_S)
    except TimeoutError:
        ready = unanswered()
    headers = {} if ready.ready else {"Retry-After": "2"}
    return JSONResponse(ready.model_dump(), status_code=200 if ready.ready else 503, headers=headers)


@router.get(
    "/metrics",
    summary="Get metrics for Prometheus",
    response_class=Response,
    responses={200: {"description": "Prometheus text format.", "content": {"text/plain": {}}}},
)
def metrics(service: ServiceDep) -> Response:
    """Returns HTTP requests and times of this process, and jobs, run times, queues and workers of the whole service."""
    text = b"".join(generate_latest(registry) for registry in (REGISTRY, _Collected(_service_metrics(service))))
    return Response(text, media_type=CONTENT_TYPE_LATEST)


class _Collected:
    """Metrics of one scrape, as the registry that `generate_latest` reads."""

    def __init__(self, metrics: Iterator[Metric]) -> None:
        self.collect = metrics.__iter__


def _service_metrics(service: Service) -> Iterator[Metric]:
    try:
        depths, stats, workers = service.jobs.depths(), service.jobs.stats(), service.jobs.heartbeats.workers()
    except RedisError:
        yield GaugeMetricFamily("atelier_redis_up", "Whether Redis answers", value=0)
        return
    yield GaugeMetricFamily("atelier_redis_up", "Whether Redis answers", value=1)
    yield GaugeMetricFamily("atelier_workers", "Workers with a recent heartbeat", value=len(workers))
    queued = GaugeMetricFamily("atelier_queued_jobs", "Queued jobs by queue", labels=["queue"])
    finished = CounterMetricFamily("atelier_jobs", "Finished jobs by kind and status", labels=["kind", "status"])
    seconds = CounterMetricFamily("atelier_run_seconds", "Time spent running jobs", labels=["kind"])
    for queue, depth in depths.items():
        queued.add_metric([queue], depth)
    for name, value in stats.items():
        what, *labels = name.split(":")
        finished.add_metric(labels, value) if what == "jobs" else seconds.add_metric(labels, value / 1000)
    yield from (queued, finished, seconds)
