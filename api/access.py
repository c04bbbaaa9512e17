"""Lets requests in: their API key, and the scope that they need."""

from functools import partial

from redis import RedisError
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import atelier_error, redis_error
from api.pools import ADMITTING
from jobs.errors import AtelierError, Forbidden, LimitReached
from jobs.settings import Settings
from jobs.store import keys
from jobs.store.keys import ANONYMOUS, LOCAL, Key, Keys, Rate

# All other paths need a key once one was made, those that do not exist too.
PUBLIC = ("/", "/healthz", "/readyz", "/metrics", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json")
PUBLIC_FILES = ("/static-offline-docs/", "/studio/")
KEY = "atelier.key"  # key of the `Key` in the scope of a request
SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key: `Authorization: Bearer atl_…`."},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key: `X-API-Key: atl_…`."},
}


def is_public(path: str) -> bool:
    """Whether a path needs no key."""
    return path in PUBLIC or path.startswith(PUBLIC_FILES)


def admit(app: ASGIApp, settings: Settings, known: Keys) -> ASGIApp:
    """Answers 401 to requests without a valid key and 403 to keys without the scope, before the body is read."""
    anonymous = LOCAL if settings.is_local else ANONYMOUS if settings.is_open else None
    check = partial(known.admit, anonymous=anonymous)

    async def admitted(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_public(scope["path"]):
            return await app(scope, receive, send)
        try:
            key, rate = await ADMITTING.run(lambda: check(_sent_key(Headers(scope=scope))))
            scope[KEY] = key  # for the log also where the request is refused
            if rate:
                send = _with_headers(send, rate)
            if rate and rate.wait_s:
                message = f"The API key's limit of requests_per_minute is {rate.limit}; wait {rate.wait_s} s."
                raise LimitReached(
                    "rate_limited", message, rate.wait_s, limit="requests_per_minute", allowed=rate.limit
                )
            require(key, needed_scope(scope["method"], scope["path"]))
        except AtelierError as error:
            return await atelier_error(error)(scope, receive, send)
        except RedisError as error:
            return await redis_error(error)(scope, receive, send)
        await app(scope, receive, send)

    return admitted


def _with_headers(send: Send, rate: Rate) -> Send:
    """Adds the headers of draft-ietf-httpapi-ratelimit-headers to the response."""
    policy, state = f'"requests";q={rate.limit};w=60', f'"requests";r={rate.remaining};t={rate.reset_s}'

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] += [(b"ratelimit-policy", policy.encode()), (b"ratelimit", state.encode())]
        await send(message)

    return sent


def _sent_key(headers: Headers) -> str | None:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else headers.get("x-api-key")


def needed_scope(method: str, path: str) -> keys.Scope:
    """The scope that a request needs."""
    if path.startswith("/v1/keys") or (path.startswith("/v1/models/") and path.endswith("/unload")):
        return "admin"
    if method == "POST" and path == "/v1/models":
        return "admin"
    if method in ("GET", "HEAD"):
        return "read"
    return "train" if path == "/v1/trainings" else "submit"


def require(key: Key, needed: keys.Scope) -> None:
    """Raises `Forbidden` for a key without a scope."""
    if needed not in key.scopes:
        whose = f"the key {key.name!r} has {', '.join(key.scopes)}" if key.id else "a request without a key has not"
        raise Forbidden("forbidden", f"This needs the scope `{needed}`; {whose}.", needed=needed)
