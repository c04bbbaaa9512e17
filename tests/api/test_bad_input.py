"""Bad bodies, paths and headers get a 4xx in the one error shape; nothing is stored and every process stays up."""

import json

import httpx
import pytest

from models.catalogue import cards
from tests.api import bad_input
from tests.api.bad_input import NO_FIELD, NOT_AN_IMAGE, UNKNOWN, error_of, refused
from tests.api.conftest import FAST, GATYS
from tests.stack import Stack

nothing_happens = bad_input.nothing_happens  # a fixture of every test

NOT_JSON = "The body is not valid JSON: it is not UTF-8, is nested too deeply or has a number with too many digits."

OBJECT = "`body` must be a JSON object."

BODIES: dict[str, tuple[bytes, int, str, str]] = {
    "half": (
        b"{",
        400,
        "invalid_json",
        "The body is not valid JSON: Expecting property name enclosed in double quotes.",
    ),
    "words": (b"hello", 400, "invalid_json", "The body is not valid JSON: Expecting value."),
    "invalid UTF-8": (b'{"content": "\xff\xfe"}', 400, "invalid_json", NOT_JSON),
    "deep arrays": (b"[" * 100_000, 400, "invalid_json", NOT_JSON),
    "deep objects": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 400, "invalid_json", NOT_JSON),
    "ten thousand digits": (b'{"size": ' + b"9" * 10_000 + b"}", 400, "invalid_json", NOT_JSON),
    "array": (b"[]", 422, "invalid_request", OBJECT),
    "string": (b'"abc"', 422, "invalid_request", OBJECT),
    "number": (b"3", 422, "invalid_request", OBJECT),
    "null": (b"null", 422, "invalid_request", OBJECT),
    "no bytes": (b"", 422, "invalid_request", "`body` must be a JSON object."),
    "half a character": (
        json.dumps(FAST | {"content": "\ud800"}).encode(),
        422,
        "invalid_request",
        "`content` must be a valid string, unable to parse raw data as a unicode string.",
    ),
    "NaN": (
        json.dumps(GATYS | {"style_weight": float("nan")}).encode(),
        422,
        "invalid_request",
        "`style_weight` must be a finite number.",
    ),
    "infinity": (
        json.dumps(FAST | {"strength": float("inf")}).encode(),
        422,
        "invalid_request",
        "`strength` must be a finite number.",
    ),
    "1e999 for an integer": (
        json.dumps(FAST).replace("64}", "1e999}").encode(),
        422,
        "invalid_request",
        "`size` must be a valid integer.",
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_body(stack: Stack, name: str) -> None:
    body, status, code, message = BODIES[name]
    answer = stack.client.post("/v1/style-transfers", content=body, headers={"content-type": "application/json"})
    refused(answer, status, code, message)


def test_half_a_character_in_a_name(stack: Stack) -> None:
    body = json.dumps(FAST | {"\ud800": 1}).encode()
    answer = stack.client.post("/v1/style-transfers", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, error_of(answer)["code"]) == (422, "invalid_request")


def test_many_wrong_fields_get_a_short_answer(stack: Stack) -> None:
    answer = stack.client.post("/v1/style-transfers", json=FAST | {f"{i}" * 20: i for i in range(10_000)})
    assert answer.status_code == 422
    assert len(error_of(answer)["details"]["errors"]) == 20
    assert len(answer.content) < 10_000


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/xml"])
def test_body_of_another_type(stack: Stack, content_type: str | None) -> None:
    headers = {"content-type": content_type} if content_type else {}
    answer = stack.client.post("/v1/style-transfers", content=json.dumps(FAST), headers=headers)
    refused(answer, 415, "unsupported_media_type", "Send a JSON object with Content-Type: application/json.")


JOB = "/v1/jobs/job_" + "0" * 24

JOB_ID = "must be job_ and 24 of the digits 0-9 and a-f."

STATES = "'queued', 'running', 'canceling', 'succeeded', 'failed', 'canceled' or 'expired'"

NO_PATH = "There is no such path; see /docs for the list of paths."

NO_JOB = "There is no such job; it may have been deleted or have expired."

PATHS: dict[str, tuple[str, str, int, str, str]] = {
    "cursor": ("GET", "/v1/jobs?cursor=abc", 422, "invalid_request", f"`cursor` {JOB_ID}"),
    "status": ("GET", "/v1/jobs?status=done", 422, "invalid_request", f"`status` must be {STATES}."),
    "kind": (
        *("GET", "/v1/jobs?kind=dance", 422, "invalid_request"),
        "`kind` must be 'style-transfer', 'generation', 'training', 'collection', 'collection-plots', "
        "'collection-search', 'pc-steering', 'cluster-sampling', 'pc-animation' or 'model'.",
    ),
    "limit": ("GET", "/v1/jobs?limit=101", 422, "invalid_request", "`limit` must be at most 100."),
    "parameter": ("GET", "/v1/jobs?state=failed", 422, "invalid_request", f"`state` {NO_FIELD}"),
    "malformed job": ("GET", "/v1/jobs/job_1", 422, "invalid_request", f"`job_id` {JOB_ID}"),
    "unknown job": ("GET", JOB, 404, "job_not_found", NO_JOB),
    "unknown job's events": ("GET", f"{JOB}/events", 404, "job_not_found", NO_JOB),
    "unknown job's output": ("GET", f"{JOB}/outputs/0", 404, "job_not_found", NO_JOB),
    "unknown job's preview": ("GET", f"{JOB}/preview", 404, "job_not_found", NO_JOB),
    "cancel an unknown job": ("POST", f"{JOB}/cancel", 404, "job_not_found", NO_JOB),
    "retry an unknown job": ("POST", f"{JOB}/retry", 404, "job_not_found", NO_JOB),
    "delete an unknown job": ("DELETE", JOB, 404, "job_not_found", NO_JOB),
    "output's number": (
        "GET",
        f"{JOB}/outputs/-1",
        422,
        "invalid_request",
        "`index` must be at least 0.",
    ),
    "malformed image": (
        "GET",
        "/v1/images/img_1",
        422,
        "invalid_request",
        "`image_id` must be img_ and 64 of the digits 0-9 and a-f.",
    ),
    "unknown image": (
        "GET",
        f"/v1/images/{UNKNOWN}",
        404,
        "image_not_found",
        f"No image {UNKNOWN} is stored here; upload it first.",
    ),
    "unknown model": (
        "GET",
        "/v1/models/vgg99",
        404,
        "model_not_found",
        f"There is no such model; the models are {', '.join(cards())}.",
    ),
    "unknown path": ("GET", "/v2/jobs", 404, "not_found", NO_PATH),
    "slash at the end": ("GET", "/v1/jobs/", 404, "not_found", NO_PATH),
    "two slashes": ("GET", "//v1/jobs", 404, "not_found", NO_PATH),
    "put": ("PUT", "/v1/jobs", 405, "method_not_allowed", "The path does not support PUT; it supports GET."),
    "patch": ("PATCH", JOB, 405, "method_not_allowed", "The path does not support PATCH; it supports DELETE, GET."),
    "get": ("GET", "/v1/images", 405, "method_not_allowed", "The path does not support GET; it supports POST."),
    "post to the docs": (
        "POST",
        "/openapi.json",
        405,
        "method_not_allowed",
        "The path does not support POST; it supports GET, HEAD.",
    ),
}


@pytest.mark.parametrize("name", PATHS)
def test_path(stack: Stack, name: str) -> None:
    method, path, status, code, message = PATHS[name]
    answer = stack.client.request(method, path)
    refused(answer, status, code, message)
    if status == 405:
        assert answer.headers["allow"] == message.rpartition("it supports ")[2].removesuffix(".")


HEADERS: dict[str, tuple[str, bytes, str]] = {
    "no key": ("Idempotency-Key", b"", "must have at least 1 character."),
    "long key": ("Idempotency-Key", b"k" * 201, "must have at most 200 characters."),
    "key with a space": ("Idempotency-Key", b"a b", "must be visible ASCII characters without spaces."),
    "key beyond ASCII": ("Idempotency-Key", b"\xc3\xa9", "must be visible ASCII characters without spaces."),
}


@pytest.mark.parametrize("name", HEADERS)
def test_header(stack: Stack, name: str) -> None:
    header, value, message = HEADERS[name]
    answer = stack.client.post("/v1/style-transfers", json=FAST, headers=[(header.encode(), value)])
    refused(answer, 422, "invalid_request", f"`{header}` {message}")


@pytest.mark.parametrize("value", ["abc", "0", "-1-0", "1-", "9" * 16 + "-0", "1-0\t2"])
def test_last_event_id(stack: Stack, value: str) -> None:
    answer = stack.client.get(f"{JOB}/events", headers={"Last-Event-ID": value})
    message = "`Last-Event-ID` must be the id of an event, such as 1767225600000-0."
    refused(answer, 422, "invalid_request", message)


@pytest.mark.parametrize("value", ["x" * 129, "a b", "a\tb", "<script>", "é", ""])
def test_request_id_that_cannot_be_echoed_is_replaced(stack: Stack, value: str) -> None:
    answer = stack.client.get("/nowhere", headers=[(b"X-Request-ID", value.encode())])
    assert error_of(answer)["code"] == "not_found"
    assert len(answer.headers["x-request-id"]) == 16


def _prefer(stack: Stack, value: str) -> httpx.Response:
    return stack.client.post(f"{JOB}/retry", headers=[(b"Prefer", value.encode())])


@pytest.mark.parametrize("value", ["wait", "wait=", "wait=-1", "wait=99999", "w" * 5000, "wait=é", "wait=1;wait=x"])
def test_preference_not_understood_is_ignored(stack: Stack, value: str) -> None:
    """RFC 7240: the request is handled as without the header."""
    refused(_prefer(stack, value), 404, "job_not_found", NO_JOB)


TRAVERSAL = (
    *("../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e%2f%2e%2e%2fetc", "/etc/passwd", "file:///etc/passwd"),
    *(
        "s3://bucket/key",
        "img_../../../etc/passwd",
        "img_" + "0" * 63 + "/",
        "img_" + "0" * 64 + "\0",
        "\0",
        "..\\..\\x",
    ),
    *(
        "．．／．．／etc",
        "img_" + "０" * 64,
        "‥/‥/etc",
        "builtin:../../x",
        "job_" + "0" * 24 + "/../x",
        "~/x",
        "${HOME}",
    ),
    *("img_" + "0" * 64 + "\n", "C:\\windows\\win.ini", "objects/x"),
)


@pytest.mark.parametrize("text", TRAVERSAL)
def test_strings_reach_no_path(stack: Stack, text: str) -> None:
    """Every string field of every endpoint."""
    fields = ("method", "mode", "content", "style", "format", "webhook_url", "model", "optimizer", "init")
    bodies = [base | {field: text} for base in (FAST, GATYS) for field in fields]
    bodies += [
        FAST | {"style": [{"image": text}]},
        GATYS | {"style_layers": [text]},
        GATYS | {"content_layers": [text]},
    ]
    bodies += [FAST | {text: text}]
    print(f"S4: {text!r} in {len(bodies)} bodies, 5 parameters and 9 paths refused")
    for body in bodies:
        answer = stack.client.post("/v1/style-transfers", json=body)
        assert answer.status_code == 422, (body, answer.text)
        error_of(answer)
    for name in ("kind", "status", "limit", "cursor", text):
        assert stack.client.get("/v1/jobs", params={name: text}).status_code == 422
    quoted = "".join(f"%{byte:02X}" for byte in text.encode())
    for spelling in (quoted, quoted.replace("%2E", ".").replace("%2F", "/")):
        for path in ("/v1/images/{}", "/v1/images/{}/content", "/v1/jobs/{}", "/v1/jobs/{}/events", "/v1/models/{}"):
            assert stack.client.get(path.format(spelling)).status_code in (404, 405, 422)
        assert stack.client.get(f"{JOB}/outputs/{spelling}").status_code in (404, 405, 422)
        for path in ("/v1/jobs/{}/cancel", "/v1/jobs/{}/retry"):
            assert stack.client.post(path.format(spelling)).status_code in (404, 405, 422)
        assert stack.client.delete(f"/v1/jobs/{spelling}").status_code in (404, 405, 422)


def test_file_name_is_not_used(stack: Stack) -> None:
    for name in ("../../x.png", "/etc/passwd", "．．／x", "x" * 255):
        answer = stack.client.post("/v1/images", files={"file": (name, b"hello")})
        assert error_of(answer)["message"] == f"file: {NOT_AN_IMAGE}"
