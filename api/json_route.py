"""Routes with a JSON body, which is parsed and validated, if large in a thread; only the first errors are reported."""

import email.message
import hashlib
import json
from collections.abc import Callable, Coroutine
from functools import cache, partial
from itertools import accumulate
from typing import Any, get_type_hints

from anyio import CapacityLimiter, to_thread
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.params import Form
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException

from api.errors import MAX_PROBLEMS
from jobs.errors import Malformed, TooLarge

NOT_JSON = "The body is not valid JSON: it is not UTF-8, is nested too deeply or has a number with too many digits."
MAX_DEPTH = 32  # of nested lists and objects
MAX_FIELDS = 100  # an object with more has unknown fields, of which MAX_PROBLEMS are validated
MAX_NESTED = 10_000  # lists and objects: an empty one has 2 bytes, and 60 when parsed
SMALL = 4096  # bytes of a body that is parsed in the event loop
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_parsing = CapacityLimiter(1)  # parsing blocks the interpreter: more at once would only delay other requests


class ParsedRequest(Request):
    """A request with a validated body: `json()` returns the model; `digest` identifies path and body.

    The bytes of the body are freed.
    """

    value: Any
    digest: str

    async def body(self) -> bytes:
        """Returns a placeholder for the parsed body."""
        return b"{}"

    async def json(self) -> Any:
        """Returns the validated model."""
        return self.value


class JsonRoute(APIRoute):
    """A route that parses its JSON body outside the event loop."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Returns FastAPI's handler, called with a validated body."""
        handle = super().get_route_handler()
        if self.body_field is None or isinstance(self.body_field.field_info, Form):
            return handle
        adapter = TypeAdapter(get_type_hints(self.endpoint, include_extras=True)[self.body_field.name])

        @cache  # computed for the first body with many fields: it would take a fifth of the API's start
        def names() -> frozenset[str]:
            return _field_names(adapter.json_schema())

        async def handle_parsed(request: Request) -> Response:
            body = bytearray()  # grows in place: joining parts would use twice the memory
            async for part in request.stream():
                body += part
            if body and not _is_json(request.headers.get("content-type", "")):
                raise HTTPException(415, "Send a JSON object with Content-Type: application/json.")
            parsed = ParsedRequest(request.scope, request.receive)
            if not body:
                raise RequestValidationError([{"type": "missing", "loc": ("body",), "msg": "Field required"}])
            salt = request.url.path if "idempotency-key" in request.headers else None
            read = partial(_read, adapter, names, body, salt)
            # A thread takes longer than to parse a small body.
            is_small = len(body) <= SMALL
            del body
            parsed.value, parsed.digest = read() if is_small else await to_thread.run_sync(read, limiter=_parsing)
            del read
            return await handle(parsed)

        return handle_parsed


def _is_json(content_type: str) -> bool:
    message = email.message.Message()
    message["content-type"] = content_type
    subtype = message.get_content_subtype()
    return message.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))


def _read(
    adapter: TypeAdapter[Any], names: Callable[[], frozenset[str]], body: bytearray, salt: str | None
) -> tuple[Any, str]:
    """Parses and validates a body; returns the model and the digest of salt and body.

    The digest is meaningless without a salt. Raises RequestValidationError, Malformed and TooLarge.
    """
    _check_nesting(body)
    try:
        value = json.loads(body)
    except json.JSONDecodeError as error:
        raise Malformed("invalid_json", f"The body is not valid JSON: {error.msg}.") from error
    except (ValueError, RecursionError) as error:
        raise Malformed("invalid_json", NOT_JSON) from error
    is_cut = _cut_surplus(value, names)
    text = json.dumps(value, sort_keys=True) if salt is not None else ""
    try:
        model = adapter.validate_python(value)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)[:MAX_PROBLEMS]
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in problems]) from error
    if is_cut:
        message = f"Value error, An object of the body has more than {MAX_FIELDS} fields"
        raise RequestValidationError([{"type": "value_error", "loc": ("body",), "msg": message}])
    return model, hashlib.sha256(f"{salt}\n{text}".encode()).hexdigest()


def _check_nesting(body: bytearray) -> None:
    """Raises TooLarge or Malformed before parsing. Brackets in strings count too, but texts have far fewer."""
    if body.count(b"[") + body.count(b"{") <= MAX_NESTED:
        return
    brackets = body.translate(None, _NO_BRACKETS)[:MAX_NESTED]
    if max(accumulate(1 if bracket in b"[{" else -1 for bracket in brackets)) > MAX_DEPTH:
        raise Malformed("invalid_json", NOT_JSON)
    raise TooLarge("body_too_large", f"The body has more than {MAX_NESTED} lists and objects.")


def _cut_surplus(value: Any, names: Callable[[], frozenset[str]]) -> bool:
    """Removes all but MAX_PROBLEMS unknown fields of objects with more than MAX_FIELDS; returns whether it removed any.

    A body may have a hundred thousand unknown fields, and pydantic would report each. Raises Malformed for a body
    nested more than MAX_DEPTH deep.
    """
    is_cut, level = False, [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                if len(node) > MAX_FIELDS:
                    is_cut = True
                    for name in [name for name in node if name not in names()][MAX_PROBLEMS:]:
                        del node[name]
                below.extend(node.values())
            else:
                below.extend(node)
        level = [node for node in below if isinstance(node, dict | list)]
        if not level:
            return is_cut
    raise Malformed("invalid_json", NOT_JSON)


def _field_names(schema: Any) -> frozenset[str]:
    """Returns every field name in a JSON schema."""
    if isinstance(schema, list):
        return frozenset().union(*map(_field_names, schema))
    if not isinstance(schema, dict):
        return frozenset()
    own = frozenset(schema["properties"]) if isinstance(schema.get("properties"), dict) else frozenset()
    return own.union(*map(_field_names, schema.values()))
