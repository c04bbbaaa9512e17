"""Routes that take a JSON body: parsed and validated in a thread, and of an endless list of errors only the first."""

import email.message
import hashlib
import json
from collections.abc import Callable, Coroutine
from functools import partial
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
MAX_FIELDS = 100  # an object with more has unknown ones, of which MAX_PROBLEMS are looked at
MAX_NESTED = 10_000  # lists and objects: empty ones take 2 bytes each, and 60 once parsed
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_parsing = CapacityLimiter(1)  # parsing holds the interpreter: more at once would only delay everything else


class ParsedRequest(Request):
    """A request whose body is validated: `json()` is the model, and `digest` identifies path and body.

    The bytes of the body are not kept.
    """

    value: Any
    digest: str

    async def body(self) -> bytes:
        """Stands for the body that was parsed."""
        return b"{}"

    async def json(self) -> Any:
        """The validated model."""
        return self.value


class JsonRoute(APIRoute):
    """A route whose JSON body does not occupy the event loop."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, which finds the body already validated."""
        handle = super().get_route_handler()
        if self.body_field is None or isinstance(self.body_field.field_info, Form):
            return handle
        adapter = TypeAdapter(get_type_hints(self.endpoint, include_extras=True)[self.body_field.name])
        names = _field_names(adapter.json_schema())

        async def handle_parsed(request: Request) -> Response:
            body = bytearray()  # grows in place: parts and their sum would take twice the memory
            async for part in request.stream():
                body += part
            if body and not _is_json(request.headers.get("content-type", "")):
                raise HTTPException(415, "Send a JSON object with Content-Type: application/json.")
            parsed = ParsedRequest(request.scope, request.receive)
            if not body:
                raise RequestValidationError([{"type": "missing", "loc": ("body",), "msg": "Field required"}])
            salt = request.url.path if "idempotency-key" in request.headers else None
            read = partial(_read, adapter, names, body, salt)
            del body
            parsed.value, parsed.digest = await to_thread.run_sync(read, limiter=_parsing)
            del read
            return await handle(parsed)

        return handle_parsed


def _is_json(content_type: str) -> bool:
    message = email.message.Message()
    message["content-type"] = content_type
    subtype = message.get_content_subtype()
    return message.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))


def _read(adapter: TypeAdapter[Any], names: frozenset[str], body: bytearray, salt: str | None) -> tuple[Any, str]:
    """The model in a body, and with a salt the digest of both.

    Raises RequestValidationError, Malformed and TooLarge.
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
        found = error.errors(include_url=False, include_input=False)[:MAX_PROBLEMS]
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in found]) from error
    assert not is_cut, "an object of a request takes fields of any name: its schema needs a bound"
    return model, hashlib.sha256(f"{salt}\n{text}".encode()).hexdigest()


def _check_nesting(body: bytearray) -> None:
    """Raises TooLarge or Malformed before anything is parsed: brackets of texts count too, and are far fewer."""
    if body.count(b"[") + body.count(b"{") <= MAX_NESTED:
        return
    brackets = body.translate(None, _NO_BRACKETS)[:MAX_NESTED]
    if max(accumulate(1 if bracket in b"[{" else -1 for bracket in brackets)) > MAX_DEPTH:
        raise Malformed("invalid_json", NOT_JSON)
    raise TooLarge("body_too_large", f"The body has more than {MAX_NESTED} lists and objects.")


def _cut_surplus(value: Any, names: frozenset[str]) -> bool:
    """Leaves at most MAX_PROBLEMS unknown fields in any object that has more than MAX_FIELDS; returns whether it did.

    A body may have a hundred thousand of them, and pydantic would describe each. Raises Malformed for a body nested
    more than MAX_DEPTH deep.
    """
    is_cut, level = False, [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                if len(node) > MAX_FIELDS:
                    is_cut = True
                    for name in [name for name in node if name not in names][MAX_PROBLEMS:]:
                        del node[name]
                below.extend(node.values())
            else:
                below.extend(node)
        level = [node for node in below if isinstance(node, dict | list)]
        if not level:
            return is_cut
    raise Malformed("invalid_json", NOT_JSON)


def _field_names(schema: Any) -> frozenset[str]:
    """Every name of a field in a JSON schema."""
    if isinstance(schema, list):
        return frozenset().union(*map(_field_names, schema))
    if not isinstance(schema, dict):
        return frozenset()
    own = frozenset(schema["properties"]) if isinstance(schema.get("properties"), dict) else frozenset()
    return own.union(*map(_field_names, schema.values()))
