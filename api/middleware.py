"""Middleware of every request: request ids, metrics and unexpected errors."""

import logging
import re
import secrets
import time
from contextvars import ContextVar

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import internal_error

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
request_id: ContextVar[str] = ContextVar("request_id", default="-")

REQUESTS = Counter("atelier_http_requests_total", "HTTP requests by route and status", ["method", "route", "status"])
SECONDS = Histogram("atelier_http_request_seconds", "Time to the end of the response", ["method", "route"])


class RequestIdFilter(logging.Filter):
    """Adds the id of the current request to log records."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Adds `request_id`; drops no record."""
        record.request_id = request_id.get()
        return True


def watch(app: ASGIApp) -> ASGIApp:
    """Returns or creates `X-Request-ID`, forbids MIME sniffing, counts requests, returns 500 for unexpected errors."""

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        request_id.set(given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8))
        status, started = 0, time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", request_id.get().encode()))
                message["headers"].append((b"x-content-type-options", b"nosniff"))
            await send(message)

        try:
            await app(scope, receive, send_with_id)
        except Exception as error:
            if status:  # the response has started: end it abruptly
                raise
            await internal_error(error)(scope, receive, send_with_id)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in METHODS else "other"  # clients may invent methods
            REQUESTS.labels(method, route, status).inc()
            SECONDS.labels(method, route).observe(time.perf_counter() - started)

    return watched
