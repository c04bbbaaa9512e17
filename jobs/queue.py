"""Celery: a message, the nudge, reports that a job is waiting. The job itself is a record in Redis."""

from urllib.parse import parse_qs, urlsplit

from celery import Celery

from jobs.settings import Settings
from jobs.store.records import QUEUES

TASK = "atelier.run"


def make_celery(settings: Settings) -> Celery:
    """Returns a Celery app with the settings that the job protocol requires (see docs/explanation/architecture.md)."""
    app = Celery("atelier", broker=_broker(settings.redis_url), set_as_current=False)
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
        broker_transport_options={"socket_timeout": 30, "socket_connect_timeout": 5, "socket_keepalive": True},
    )
    return app


def _broker(redis_url: str) -> str:
    """Converts a Redis URL for kombu, which writes Unix sockets in another form."""
    if not redis_url.startswith("unix://"):
        return redis_url
    url = urlsplit(redis_url)
    database = parse_qs(url.query).get("db", ["0"])[0]
    return f"redis+socket://{url.netloc}{url.path}?virtual_host={database}"


def nudge(app: Celery, queue: str, job_id: str) -> None:
    """Sends a nudge to the workers of a queue; raises kombu's `OperationalError` when the broker is unavailable.

    Celery kills the process of a job a minute after the job's time limit, which only jobs that report no steps reach.
    """
    limit = app.conf.atelier_time_limits[queue]
    app.send_task(TASK, args=[job_id], queue=queue, time_limit=limit, ignore_result=True, retry=False)
