"""The Celery side of the queue: a nudge that says a job is waiting. The job itself stands in Redis."""

from urllib.parse import parse_qs, urlsplit

from celery import Celery

from jobs.settings import Settings
from jobs.store.records import QUEUES

TASK = "atelier.run"


def make_celery(settings: Settings) -> Celery:
    """A Celery app with the settings the job protocol rests on (docs/explanation/architecture.md says why each)."""
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
    """The URL as kombu takes it, which has a form of its own for a Unix socket."""
    if not redis_url.startswith("unix://"):
        return redis_url
    url = urlsplit(redis_url)
    database = parse_qs(url.query).get("db", ["0"])[0]
    return f"redis+socket://{url.netloc}{url.path}?virtual_host={database}"


def nudge(app: Celery, queue: str, job_id: str) -> None:
    """Tell the workers of a queue that a job waits; raises kombu's `OperationalError` when the broker is away.

    A job that takes no steps is ended with its process a minute after its time.
    """
    limit = app.conf.atelier_time_limits[queue]
    app.send_task(TASK, args=[job_id], queue=queue, time_limit=limit, ignore_result=True, retry=False)
