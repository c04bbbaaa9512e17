"""Middleware of every request: request ids, metrics, access lines and unexpected errors."""

import logging
import re
import secrets
import time
from urllib.parse import quote

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access import KEY
from api.errors import internal_error
from jobs.logs import about
from jobs.tracing import Span, span

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
MAX_PATH = 200  # characters of a path in the log

REQUESTS = Counter("atelier_http_requests_total", "HTTP requests by route and status", ["method", "route", "status"])
SECONDS = Histogram("atelier_http_request_seconds", "Time to the end of the response", ["method", "route"])
access = logging.getLogger("atelier.access")
audit = logging.getLogger("atelier.audit")  # of the requests that may change something
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]
NOTHING = b"default-src 'none'; frame-ancestors 'none'"
# The pages of the API's documentation hold scripts and styles, and a worker that searches.
PAGES = ("/docs", "/docs/oauth2-redirect", "/redoc")
OWN = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    b"worker-src blob:; frame-ancestors 'none'"
)
STUDIO = (
    b"default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    b"form-action 'none'; frame-ancestors 'none'"
)


def watch(app: ASGIApp) -> ASGIApp:
    """Names each request, bounds what browsers do, counts and logs requests, answers unexpected errors."""

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        status, started = 0, time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", request_id.encode()))
                message["headers"] += [*HEADERS, (b"content-security-policy", _policy(scope["path"]))]
            await send(message)

        parent = headers.get(b"traceparent", b"").decode("latin-1")
        with (
            span(scope["method"], parent, "server") as trace,
            about(request_id=request_id, traceparent=trace.traceparent),
        ):
            try:
                await app(scope, receive, send_with_id)
            except Exception as error:
                if status:  # the response has started: end it abruptly
                    raise
                await internal_error(error)(scope, receive, send_with_id)
            finally:
                _note(scope, status, time.perf_counter() - started, trace)

    return watched


def _policy(path: str) -> bytes:
    """What a browser may load and run for a response."""
    if path == "/" or path.startswith("/studio/"):
        return STUDIO
    return OWN if path in PAGES else NOTHING


def _note(scope: Scope, status: int, seconds: float, trace: Span) -> None:
    """Counts a request, names its span and logs it, without its query, which may be a text of a user."""
    route = getattr(scope.get("route"), "path", "none")
    method = scope["method"] if scope["method"] in METHODS else "other"  # clients may invent methods
    REQUESTS.labels(method, route, status).inc()
    SECONDS.labels(method, route).observe(seconds)
    trace.name = f"{method} {route}"
    trace.attributes |= {"http.request.method": method, "http.route": route, "http.response.status_code": status}
    path, ms = quote(scope["path"][:MAX_PATH]), round(seconds * 1000, 1)
    fields = {"method": method, "path": path, "route": route, "status": status, "duration_ms": ms}
    if KEY in scope:
        fields |= {"tenant": scope[KEY].tenant, "key_id": scope[KEY].id}
    fields |= {name: scope[name] for name in ("job_id", "made") if name in scope}
    log = access if method in ("GET", "HEAD", "OPTIONS") else audit
    log.info("%s %s %d %.1f ms", method, path, status, ms, extra={"fields": fields})
