"""Bad files, forms and lengths get a 4xx in the one error shape; nothing is stored and every process stays up."""

import pickle
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.api import bad_input
from tests.api.bad_input import NO_FIELD, NOT_AN_IMAGE, refused
from tests.api.conftest import FAST, MAX_BYTES, data_url, image_file
from tests.stack import Stack

nothing_happens = bad_input.nothing_happens  # a fixture of every test


def bomb(side: int) -> bytes:
    """A PNG of a few hundred bytes that declares side x side pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


class Payload:
    """Pickle that writes a file when it is loaded."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return (open, ("pickled", "w"))


FILES: dict[str, tuple[bytes, int, str, str]] = {
    "text": (b"hello", 422, "image_format_unsupported", NOT_AN_IMAGE),
    "pickle": (pickle.dumps(Payload()), 422, "image_format_unsupported", NOT_AN_IMAGE),
    "svg": (
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        422,
        "image_format_unsupported",
        NOT_AN_IMAGE.replace("not an image", "an SVG drawing, not an image"),
    ),
    "truncated": (image_file()[:-1000], 422, "image_truncated", "The PNG file's image data is damaged or cut off."),
    "header only": (image_file()[:20], 422, "image_unreadable", "The PNG file's header cannot be read."),
    "bomb": (
        bomb(10_000),
        413,
        "image_too_large",
        "The image has 10000 x 10000 pixels; 67108864 in all are allowed.",
    ),
    "large bomb": (
        bomb(50_000),
        413,
        "image_too_large",
        "The image has far too many pixels; 67108864 in all are allowed.",
    ),
    "too small": (
        image_file(size=(15, 200)),
        422,
        "image_too_small",
        "The image has 15 x 200 pixels; each side needs at least 16.",
    ),
    "no bytes": (b"", 422, "image_empty", "The image has no bytes."),
}


@pytest.mark.parametrize("name", FILES)
def test_uploaded_file(stack: Stack, name: str) -> None:
    data, status, code, message = FILES[name]
    refused(stack.client.post("/v1/images", files={"file": ("photo.png", data)}), status, code, f"file: {message}")


@pytest.mark.parametrize("name", [name for name in FILES if name != "no bytes"])
@pytest.mark.parametrize("field", ["content", "style"])
def test_file_in_a_data_url(stack: Stack, name: str, field: str) -> None:
    data, status, code, message = FILES[name]
    answer = stack.client.post("/v1/style-transfers", json=FAST | {field: data_url(data)})
    refused(answer, status, code, f"{field}: {message}")


FORMS: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "nothing": ({}, 422, "invalid_request", "`file` is required."),
    "other field": ({"files": {"image": ("a.png", image_file())}}, 422, "invalid_request", "`file` is required."),
    "one field more": (
        {"files": {"file": ("a.png", image_file()), "size": (None, "64")}},
        422,
        "invalid_request",
        f"`size` {NO_FIELD}",
    ),
    "text for a file": (
        {"data": {"file": "../../etc/passwd"}},
        422,
        "invalid_request",
        "`file` must be a file, sent as multipart/form-data.",
    ),
    "json": ({"json": {"file": "x"}}, 422, "invalid_request", "`file` is required."),
    "no boundary": (
        {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
        400,
        "invalid_form",
        "Missing boundary in multipart.",
    ),
    "not a form": (
        {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=y"}},
        400,
        "invalid_form",
        "Invalid multipart data.",
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_form(stack: Stack, name: str) -> None:
    request, status, code, message = FORMS[name]
    refused(stack.client.post("/v1/images", **request), status, code, message)


def chunks(start: bytes) -> Iterator[bytes]:
    """A body without a length."""
    yield start
    for _ in range(2 * MAX_BYTES // 65536 + 10):
        yield b"A" * 65536


PART = b'--y\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'

URL = b'{"style": "builtin:1", "content": "data:image/png;base64,'

MAX_JSON, MAX_URLS = 1_000_000, MAX_BYTES * 4 // 3 + 1_000_000

OUTSIDE = f"The body has more than {MAX_JSON} bytes outside its `data:` URLs."

LARGE: dict[str, tuple[str, Callable[[], Any], str, str]] = {
    "form by its length": ("/v1/images", lambda: PART + bytes(MAX_BYTES), "multipart/form-data; boundary=y", ""),
    "form as a stream": ("/v1/images", lambda: chunks(PART), "multipart/form-data; boundary=y", ""),
    "JSON by its length": ("/v1/style-transfers", lambda: b" " * (MAX_JSON + 1), "application/json", OUTSIDE),
    "JSON as a stream": ("/v1/style-transfers", lambda: chunks(b'{"content": "'), "application/json", OUTSIDE),
    "data URL by its length": (
        "/v1/style-transfers",
        lambda: URL + b"A" * MAX_URLS,
        "application/json",
        f"The body is larger than {MAX_URLS} bytes.",
    ),
    "data URL as a stream": (
        "/v1/style-transfers",
        lambda: chunks(URL),
        "application/json",
        f"The body is larger than {MAX_URLS} bytes.",
    ),
    "where no body is wanted": (
        "/v1/jobs/job_" + "0" * 24 + "/cancel",
        lambda: bytes(MAX_JSON + 1),
        "text/plain",
        f"The body is larger than {MAX_JSON} bytes.",
    ),
}


@pytest.mark.parametrize("name", LARGE)
def test_too_many_bytes(stack: Stack, name: str) -> None:
    path, body, content_type, message = LARGE[name]
    answer = stack.client.post(path, content=body(), headers={"content-type": content_type})
    refused(answer, 413, "body_too_large", message or f"The body is larger than {MAX_BYTES} bytes.")


def test_data_url_as_large_as_an_upload(stack: Stack) -> None:
    """The bound of JSON does not count it: what is refused is what it holds."""
    answer = stack.client.post("/v1/style-transfers", json=FAST | {"content": data_url(b"BM" + bytes(MAX_BYTES - 2))})
    refused(answer, 422, "image_unreadable", "content: The BMP file's header cannot be read.")


def test_length_that_lies(stack: Stack) -> None:
    """Refused by its declared length, before a byte is received."""
    with socket.create_connection(("127.0.0.1", stack.api_port), timeout=10) as client:
        client.sendall(b"POST /v1/images HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 413 ")
