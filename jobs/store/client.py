"""Connections to Redis."""

from collections.abc import Callable
from typing import Any

import redis
import redis.asyncio
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from jobs.settings import Settings

MAX_CONNECTIONS = 8  # per client; its threads share them, one command at a time


class Client(redis.Redis):
    """A Redis client that tries each command up to `attempts` times more, with back-off of at most a second.

    redis-py's own retries need an established connection, so they end at once while the server is away.
    """

    def __init__(self, settings: Settings, attempts: int, timeout_s: float) -> None:
        tcp: dict[str, Any] = {"socket_connect_timeout": timeout_s / 2, "socket_keepalive": True}
        pool = redis.BlockingConnectionPool.from_url(
            settings.redis_url,
            decode_responses=True,
            max_connections=MAX_CONNECTIONS,
            timeout=timeout_s,  # the wait for a free connection
            socket_timeout=timeout_s,
            **({} if settings.redis_url.startswith("unix://") else tcp),
        )
        super().__init__(connection_pool=pool)
        self._retry_policy = Retry(ExponentialWithJitterBackoff(base=0.05, cap=1), attempts)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Sends one command and returns its answer."""
        once: Callable[..., Any] = super().execute_command
        return self._retry_policy.call_with_retry(lambda: once(*args, **options), lambda _: None)


def connect(settings: Settings, *, attempts: int, timeout_s: float = 10) -> redis.Redis:
    """Returns a client that tries each command up to `attempts` times more.

    `timeout_s` bounds each wait for an answer.
    """
    return Client(settings, attempts, timeout_s)


def connect_async(settings: Settings) -> redis.asyncio.Redis:
    """Returns an asynchronous client for following event streams."""
    pool: redis.asyncio.BlockingConnectionPool = redis.asyncio.BlockingConnectionPool.from_url(
        settings.redis_url, decode_responses=True, max_connections=4, socket_timeout=30
    )
    return redis.asyncio.Redis(connection_pool=pool)
