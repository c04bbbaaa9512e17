"""Celery: a message, the nudge, reports that a job is waiting. The job itself is a record in Redis."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

from celery import Celery

from jobs.sentinel import SCHEME, parse_address
from jobs.settings import Settings
from jobs.store.records import QUEUES

TASK = "atelier.run"


def make_celery(settings: Settings) -> Celery:
    """Returns a Celery app with the settings that the job protocol requires (see docs/explanation/architecture.md)."""
    broker, options = _broker(settings.redis_url)
    app = Celery("atelier", broker=broker, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_default_queue=QUEUES[0],
        atelier_time_limits={queue: settings.timeout_s(queue) + 60 for queue in QUEUES},
        worker_prefetch_multiplier=1,
        worker_proc_alive_timeout=60,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_pool_limit=4,
        broker_transport_options=options,
    )
    return app


def _broker(redis_url: str) -> tuple[str, dict[str, Any]]:
    """Converts a Redis URL for kombu, which writes Unix sockets and Sentinels in another form; adds its options."""
    timeouts = {"socket_timeout": 30, "socket_connect_timeout": 5, "socket_keepalive": True}
    url = urlsplit(redis_url)
    if redis_url.startswith(SCHEME):
        address, login = parse_address(redis_url), url.netloc.rpartition("@")[0]
        login = f"{login}@" if login else ""
        urls = [f"{SCHEME}{login}{host}:{port}/{address.redis['db']}" for host, port in address.hosts]
        sentinel = {"master_name": address.name, "sentinel_kwargs": {**address.sentinel, **timeouts}}
        return ";".join(urls), {**timeouts, **sentinel}
    if redis_url.startswith("unix://"):
        database = parse_qs(url.query).get("db", ["0"])[0]
        return f"redis+socket://{url.netloc}{url.path}?virtual_host={database}", timeouts
    return redis_url, timeouts


def nudge(app: Celery, queue: str, job_id: str) -> None:
    """Sends a nudge to the workers of a queue; raises kombu's `OperationalError` when the broker is unavailable.

    Celery kills the process of a job a minute after the job's time limit, which only jobs that report no steps reach.
    """
    limit = app.conf.atelier_time_limits[queue]
    app.send_task(TASK, args=[job_id], queue=queue, time_limit=limit, ignore_result=True, retry=False)
