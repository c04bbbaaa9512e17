"""Error responses of one shape, and their documentation in OpenAPI."""

import logging
import re
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from redis import RedisError
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from api.openai.errors import PATHS, openai_error, openai_status
from api.openai.fields import SIZE
from jobs.errors import AtelierError, Unavailable
from jobs.logs import field
from jobs.requests.base import HTTPS_URL, IMAGE_REF, MODEL_ID
from jobs.requests.collection import COLLECTION_ID
from jobs.requests.datasets import DATA, SETS
from jobs.requests.styles import BUILTIN_STYLE, TRAINED_STYLE
from jobs.requests.text_to_image import NOT_BLANK
from jobs.schemas import ARCHIVE_ID, IMAGE_ID, JOB_ID, ErrorAnswer
from jobs.store.keys import KEY_ID, TENANT
from jobs.store.webhooks import DELIVERY_ID, ENDPOINT_ID

log = logging.getLogger("atelier.api")

MEANINGS: dict[int, tuple[str, str, str]] = {  # status: when, example code, example message
    400: ("The body is not JSON, or not a form.", "invalid_json", "The body is not valid JSON: Expecting value."),
    401: (
        "No valid API key was sent, and one is needed: keys were made, or the address is not loopback.",
        "unauthorized",
        "The API key is unknown, has expired or was revoked.",
    ),
    403: (
        "The API key lacks a scope.",
        "forbidden",
        "This needs the scope `submit`; the key 'Dashboard' has read.",
    ),
    404: (
        "The resource does not exist.",
        "job_not_found",
        "There is no such job; it may have been deleted or have expired.",
    ),
    409: (
        "The current state of the resource does not allow the request.",
        "job_not_finished",
        "The job has not finished; cancel it first.",
    ),
    408: (
        "The body did not arrive in time.",
        "request_timeout",
        "The body did not arrive in time.",
    ),
    413: ("Too many bytes or pixels.", "body_too_large", "The body is larger than 25000000 bytes."),
    415: (
        "The content type is not supported by this endpoint.",
        "unsupported_media_type",
        "Send a JSON object with Content-Type: application/json.",
    ),
    416: ("The image has no such range of bytes.", "range_not_satisfiable", "The image has 1024 bytes."),
    422: (
        "A field is invalid; the message names the field and the rule.",
        "invalid_request",
        "`size` must be at most 2048.",
    ),
    429: (
        "The queue is full, or the service is at its limit; try again after `Retry-After` seconds.",
        "queue_full",
        "The queue 'gpu' is full; try again.",
    ),
    500: (
        "The stored bytes are damaged.",
        "object_damaged",
        "The stored bytes are damaged: they do not match their sha256. Upload the file or run the job again.",
    ),
    503: (
        "Redis, storage or every worker is unavailable; try again after `Retry-After` seconds.",
        "redis_unavailable",
        "The job store does not respond; try again shortly.",
    ),
}
HTTP_CODES = {
    400: "invalid_form",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "body_too_large",
    415: "unsupported_media_type",
    429: "busy",
}
EVENT_ID = r"^[0-9]{1,15}-[0-9]{1,15}$"
VISIBLE_ASCII = r"^[\x21-\x7e]+$"
WEBHOOK_URL = "a public https URL, such as https://example.com/hooks/atelier"
PATTERNS = {  # in words, for error messages
    IMAGE_REF: "an img_… id of an upload, a member such as col_…/17, a data:image/…;base64,… URL or an https: URL",
    IMAGE_ID: "img_ and 64 of the digits 0-9 and a-f",
    ARCHIVE_ID: "zip_ and 64 of the digits 0-9 and a-f",
    COLLECTION_ID: "col_ and 24 of the digits 0-9 and a-f",
    KEY_ID: "12 of the digits 0-9 and a-f: the id of a key",
    TENANT: "a tenant: 1 to 40 of the characters a-z, 0-9 and -",
    ENDPOINT_ID: "whk_ and 12 of the digits 0-9 and a-f",
    DELIVERY_ID: "msg_ and 36 of the digits 0-9 and a-f",
    JOB_ID: "job_ and 24 of the digits 0-9 and a-f",
    HTTPS_URL: WEBHOOK_URL,
    BUILTIN_STYLE: "builtin:0 to builtin:25, or a name such as builtin:starry-blue; GET /v1/styles lists them",
    TRAINED_STYLE: "style- and 12 of the digits 0-9 and a-f: the id of a model of recipe style",
    DATA: f"{', '.join(SETS)} or the zip_… id of an uploaded archive",
    MODEL_ID: "the id of a model: 2 to 80 of the characters a-z, 0-9, . and -",
    EVENT_ID: "the id of an event, such as 1767225600000-0",
    SIZE: "`auto` or WIDTHxHEIGHT, such as 1024x1024",
    NOT_BLANK: "a text that is not blank",
    VISIBLE_ASCII: "visible ASCII characters without spaces",
}
WORDS = {  # pydantic's words -> ours
    r"^\w+ should (?=be |have |match )": "must ",
    r"^Field required": "is required",
    r"less than or equal to": "at most",
    r"greater than or equal to": "at least",
}
MAX_PROBLEMS = 20  # a body may have a million invalid fields; the response names the first ones

Responses = dict[int | str, dict[str, Any]]


def error_responses(*statuses: int, also: Responses | None = None) -> Responses:
    """Returns the OpenAPI `responses` of a route for these statuses, and those of `also`."""
    return {**(also or {}), **{status: _documented(status) for status in statuses}}


def _documented(status: int) -> dict[str, Any]:
    when, code, message = MEANINGS[status]
    example = {"error": {"code": code, "message": message, "details": {}, "request_id": "9f86d081884c7d65"}}
    answer: dict[str, Any] = {
        "model": ErrorAnswer,
        "description": when,
        "content": {"application/json": {"example": example}},
    }
    if status in (429, 503):
        answer["headers"] = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
    if status == 401:
        answer["headers"] = {"WWW-Authenticate": {"description": "`Bearer`.", "schema": {"type": "string"}}}
    return answer


def install_error_handlers(app: FastAPI) -> None:
    """Converts the known exceptions of endpoints to error responses; `watch` handles unexpected ones."""
    app.exception_handler(AtelierError)(lambda request, error: atelier_error(error))
    app.exception_handler(RequestValidationError)(_validation_error)
    app.exception_handler(HTTPException)(_http_error)
    app.exception_handler(RedisError)(lambda request, error: redis_error(error))


def answer(status: int, code: str, message: str, headers: dict[str, str] | None = None, **details: Any) -> JSONResponse:
    """Builds an error response."""
    return ErrorResponse(status, {"code": code, "message": message, "details": details}, headers)


class ErrorResponse(JSONResponse):
    """An error, on the paths of OpenAI's API in its shape."""

    def __init__(self, status: int, error: dict[str, Any], headers: dict[str, str] | None) -> None:
        # Headers that are refused before they are complete have no request id.
        request_id = field("request_id")
        content = error | ({"request_id": request_id} if request_id else {})
        super().__init__({"error": content}, status_code=status, headers=headers)
        self.error, self.added = error, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the response."""
        if not scope["path"].startswith(PATHS):
            return await super().__call__(scope, receive, send)
        body = openai_error(self.status_code, self.error)
        await JSONResponse(body, openai_status(self.status_code), self.added)(scope, receive, send)


def atelier_error(error: AtelierError) -> JSONResponse:
    """Builds the response of an error of ours."""
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
    headers |= {"WWW-Authenticate": 'Bearer realm="atelier"'} if error.status == 401 else {}
    return ErrorResponse(error.status, error.as_dict(), headers)


def _validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
    fields: dict[str, list[str]] = {}
    # A default that depends on another field is not computed while that field is invalid; only the other is at fault.
    problems_found = [problem for problem in error.errors() if problem["type"] != "default_factory_not_called"]
    for problem in problems_found[:MAX_PROBLEMS]:
        messages = fields.setdefault(_field(problem), [])
        message = _message(problem)
        messages += [message] if message not in messages else []
    problems = [{"field": field, "message": ", or ".join(messages)} for field, messages in fields.items()]
    first = problems[0]
    message = _sentence(first["field"], first["message"])
    return answer(422, "invalid_request", message, field=first["field"], errors=problems)


def _sentence(field: str, message: str) -> str:
    separator = f"`{field}` " if message.startswith(("must ", "is ")) else f"{field}: "
    return f"{separator}{message.rstrip('.')}."


def _message(problem: dict[str, Any]) -> str:
    """Returns the rule that a field violates: "must be at most 2048"."""
    match problem["type"]:
        case "string_pattern_mismatch":
            pattern = problem["ctx"]["pattern"]
            return f"must be {PATTERNS.get(pattern, f'of the form {pattern}')}"
        case "missing" if problem["loc"] == ("body",):
            return "must be a JSON object"
        case "extra_forbidden":
            return "is not a field of this request, or the method or mode does not use it"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "must be a JSON object"
        case "int_parsing_size":
            return "must be an integer of fewer digits"
        case "value_error" if problem["loc"][-1] == "file":
            return "must be a file, sent as multipart/form-data"
        case _:
            message = str(problem["msg"]).removeprefix("Value error, ").replace(" after validation", "")
            for pydantic_words, words in WORDS.items():
                message = re.sub(pydantic_words, words, message)
            return message


def _field(problem: dict[str, Any]) -> str:
    """Returns the path of a field in the request, without the tags of union branches, which look like <fast>."""
    where, *path = (str(part) for part in problem["loc"])
    path += [problem["ctx"]["field"]] if "field" in problem.get("ctx", {}) else []
    named = ".".join(part for part in path if not part.startswith(("<", "[key]")))[:100]
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in named) or where


def _http_error(request: Request, error: HTTPException) -> JSONResponse:
    if error.status_code == 404:
        return answer(404, "not_found", "There is no such path; see /docs for the list of paths.")
    if error.status_code == 405:
        allowed = _methods(request, error)
        message = f"The path does not support {request.method}; it supports {allowed}."
        return answer(405, "method_not_allowed", message, {"Allow": allowed})
    code = HTTP_CODES.get(error.status_code, "bad_request")
    return answer(error.status_code, code, f"{error.detail.rstrip('.')}.", dict(error.headers or {}) or None)


def _methods(request: Request, error: HTTPException) -> str:
    """Returns every method of the path; Starlette names only those of its first route."""
    operations = request.app.openapi()["paths"].get(getattr(request.scope.get("route"), "path", None))
    methods = operations or (error.headers or {}).get("Allow", "GET").split(", ")
    return ", ".join(sorted(methods)).upper()


def redis_error(error: Exception) -> JSONResponse:
    """Builds the response while Redis does not respond."""
    log.warning("Redis is unavailable: %s", type(error).__name__)
    unavailable = Unavailable("redis_unavailable", "The job store does not respond; try again shortly.")
    return atelier_error(unavailable)


def internal_error(error: Exception) -> JSONResponse:
    """Logs an unexpected error and builds the response, whose X-Request-ID finds it in the log."""
    log.error("unexpected error", exc_info=error)
    return answer(500, "internal", "Unexpected error; see the API log under the X-Request-ID of this response.")
