"""Connections to Redis."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import redis
import redis.asyncio
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from jobs.sentinel import SCHEME, parse_address
from jobs.settings import Settings

MAX_CONNECTIONS = 8  # per client; its threads share them, one command at a time


class Client(redis.Redis):
    """A Redis client that tries each command up to `attempts` times more, with back-off of at most a second.

    redis-py's own retries need an established connection, so they end at once while the server is away.
    """

    def __init__(self, settings: Settings, attempts: int, timeout_s: float) -> None:
        tcp: dict[str, Any] = {"socket_connect_timeout": timeout_s / 2, "socket_keepalive": True}
        # timeout: the wait for a free connection
        options: dict[str, Any] = {"decode_responses": True, "socket_timeout": timeout_s, "timeout": timeout_s}
        pool = _pool(redis, settings, tcp, options | {"max_connections": MAX_CONNECTIONS})
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
    options: dict[str, Any] = {"decode_responses": True, "max_connections": 4, "socket_timeout": 30}
    return redis.asyncio.Redis(connection_pool=_pool(redis.asyncio, settings, {}, options))


def _pool(flavor: Any, settings: Settings, tcp: dict[str, Any], options: dict[str, Any]) -> Any:
    """A pool of `redis` or `redis.asyncio` that waits for a free connection; `tcp` holds options of TCP alone.

    redis-py's own pool for Sentinels does not wait. Its connections ask for the primary whenever they connect, and
    connect again after a write that a former primary refused.
    """
    if not settings.redis_url.startswith(SCHEME):
        tcp = {} if settings.redis_url.startswith("unix://") else tcp
        return flavor.BlockingConnectionPool.from_url(settings.redis_url, **options, **tcp)
    address = parse_address(settings.redis_url)
    logins = {**address.sentinel, **tcp, "socket_timeout": options["socket_timeout"]}
    find = partial(flavor.Sentinel(address.hosts, sentinel_kwargs=logins).discover_master, address.name)
    primary = SimpleNamespace(is_master=True, check_connection=False, get_master_address=find)
    managed = flavor.sentinel.SentinelManagedConnection
    return flavor.BlockingConnectionPool(
        connection_class=managed, connection_pool=primary, **options, **tcp, **address.redis
    )
