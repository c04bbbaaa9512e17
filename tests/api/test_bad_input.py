"""Bad input gets a 4xx in the one error shape; nothing is stored and every process stays up."""

import json
import pickle
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

from api.style_transfers import CAT
from images.sniff import FORMATS
from jobs.requests.styles import LAYERS
from models.catalogue import cards
from tests.api.conftest import FAST, GATYS, MAX_BYTES, data_url, elsewhere, field_and_rule, image_file, stored
from tests.stack import Stack

UNKNOWN = "img_" + "0" * 64
IMAGE = "must be an img_… id of an upload, a member such as col_…/17, a data:image/…;base64,… URL or an https: URL."
REFUSED_URL = "The URL could not be fetched: it must be a public https URL that returns an image in time."
NO_FIELD = "is not a field of this request, or the method or mode does not use it."
NOT_JSON = "The body is not valid JSON: it is not UTF-8, is nested too deeply or has a number with too many digits."
NOT_AN_IMAGE = f"The file is not an image in one of: {', '.join(FORMATS).lower()}."
BUILTIN = "must be builtin:0 to builtin:25, or a name such as builtin:starry-blue; GET /v1/styles lists them."
ANY_STYLE = "must be a built-in style, an image, or a list of these with weights."


@pytest.fixture(autouse=True)
def nothing_happens(stack: Stack) -> Iterator[None]:
    """Checks that objects, records and queues did not change and that every process still works."""
    before, files = stored(stack), elsewhere(stack.folder)
    yield
    assert stored(stack) == before
    assert elsewhere(stack.folder) == files
    assert stack.client.get("/readyz").status_code == 200
    assert all(process.poll() is None for process in stack.processes.values())


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """Checks the shape of an error and returns it."""
    body = answer.json()
    assert list(body) == ["error"]
    assert list(body["error"]) == ["code", "message", "details"]
    assert answer.headers["x-request-id"]
    assert answer.headers["content-type"] == "application/json"
    message = body["error"]["message"]
    assert message.endswith((".", "…")) and "\n" not in message and "Traceback" not in message
    return dict(body["error"])


def refused(answer: httpx.Response, status: int, code: str, message: str) -> None:
    error = error_of(answer)
    assert (answer.status_code, error["code"], error["message"]) == (status, code, message)


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


FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "words for an image": (FAST | {"content": "hello"}, f"`content` {IMAGE}"),
    "malformed id": (FAST | {"content": "img_12"}, f"`content` {IMAGE}"),
    "id in capitals": (FAST | {"content": "img_" + "A" * 64}, f"`content` {IMAGE}"),
    "http URL": (FAST | {"content": "http://example.com/a.png"}, f"`content` {IMAGE}"),
    "http URL for a style": (FAST | {"style": "http://example.com/a.png"}, f"`style` {IMAGE}"),
    "number for an image": (FAST | {"content": 3}, "`content` must be a valid string."),
    "null for an image": (FAST | {"content": None}, "`content` must be a valid string."),
    "no content": ({"style": "builtin:1"}, "`content` is required."),
    "nothing": ({}, "`content` is required."),
    "style of no sort": (FAST | {"style": 3}, f"`style` {ANY_STYLE}"),
    "null style": (FAST | {"style": None}, f"`style` {ANY_STYLE}"),
    "27th built-in": (FAST | {"style": "builtin:26"}, f"`style` {BUILTIN}"),
    "built-in path": (FAST | {"style": "builtin:../1"}, f"`style` {BUILTIN}"),
    "built-in for gatys": (
        GATYS | {"style": [{"image": "builtin:1"}]},
        "`style` must be an image, or a list of images with weights and masks; built-in styles are for method fast.",
    ),
    "no styles": (FAST | {"style": []}, "`style` must have at least 1 item, not 0."),
    "nine styles": (
        FAST | {"style": [{"image": "builtin:1"}] * 9},
        "`style` must have at most 8 items, not 9.",
    ),
    "a mapping that is none": (
        GATYS | {"style_losses": [1]},
        "`style_losses` must be a JSON object.",
    ),
    "a number of thirty digits": (FAST | {"size": 10**30}, "`size` must be at most 2048."),
    "a blank prompt": (
        {"method": "diffusion", "model": "ddpm-digits", "style": CAT, "prompt": " "},
        "`prompt` must be a text that is not blank.",
    ),
    "no such name": (FAST | {"style": "builtin:starry"}, f"`style` {BUILTIN}"),
    "no such name in a list": (
        FAST | {"style": [{"image": CAT}, {"image": "builtin:x"}]},
        f"`style.1.image` {BUILTIN}",
    ),
    "no image in a list": (FAST | {"style": [{"image": "builtin:1"}, {"image": "x"}]}, f"`style.1.image` {IMAGE}"),
    "two sizes of a texture": (
        {"mode": "texture", "style": CAT, "size": 64, "width": 64},
        "size: Give `size`, or `width` and `height`.",
    ),
    "one scale in words": (
        {"method": "diffusion", "model": "ddpm-digits", "style": CAT, "style_guidance_scale": "0.1"},
        "`style_guidance_scale` must be a valid number.",
    ),
    "a list of scales in words": (
        {"method": "diffusion", "model": "ddpm-digits", "style": CAT, "style_guidance_scale": [0.1, "x"]},
        "`style_guidance_scale.1` must be a valid number.",
    ),
    "strings in a list": (FAST | {"style": ["builtin:1"]}, "`style.0` must be a JSON object."),
    "negative weight": (
        FAST | {"style": [{"image": "builtin:1", "weight": -1}]},
        "`style.0.weight` must be at least 0.001.",
    ),
    "weight beyond all": (
        FAST | {"style": [{"image": CAT, "weight": 1001}]},
        "`style.0.weight` must be at most 1000.",
    ),
    "weight in words": (
        FAST | {"style": [{"image": CAT, "weight": "1"}]},
        "`style.0.weight` must be a valid number.",
    ),
    "negative style weight": (
        GATYS | {"style_weight": -1},
        "`style_weight` must be at least 0.",
    ),
    "unknown field of a style": (FAST | {"style": [{"image": CAT, "w": 1}]}, f"`style.0.w` {NO_FIELD}"),
    "size over the limit": (FAST | {"size": 2049}, "`size` must be at most 2048."),
    "size under the limit": (FAST | {"size": 63}, "`size` must be at least 64."),
    "size in words": (FAST | {"size": "64"}, "`size` must be a valid integer."),
    "size of a fraction": (FAST | {"size": 64.5}, "`size` must be a valid integer."),
    "size true": (FAST | {"size": True}, "`size` must be a valid integer."),
    "size null": (FAST | {"size": None}, "`size` must be a valid integer."),
    "too many steps": (GATYS | {"num_steps": 2001}, "`num_steps` must be at most 2000."),
    "unknown layer": (
        GATYS | {"style_layers": ["conv9"]},
        "`style_layers.0` must be " + ", ".join(map(repr, LAYERS["vgg19"][:-1])) + f" or {LAYERS['vgg19'][-1]!r}.",
    ),
    "a layer twice": (
        GATYS | {"style_layers": ["relu1_1", "relu1_1"]},
        "style_layers: Each may be named once.",
    ),
    "unknown model": (GATYS | {"model": "resnet"}, "`model` must be 'vgg16' or 'vgg19'."),
    "unknown method": (FAST | {"method": "magic"}, "`method` must be 'fast', 'gatys' or 'diffusion'."),
    "method of another type": (FAST | {"method": {"a": []}}, "`method` must be 'fast', 'gatys' or 'diffusion'."),
    "method null": (FAST | {"method": None}, "`method` must be 'fast', 'gatys' or 'diffusion'."),
    "unknown mode": (FAST | {"mode": "dream"}, "`mode` must be 'transfer', 'texture' or 'inversion'."),
    "a field textures do not use": (
        {"mode": "texture", "style": CAT, "content_weight": 1.0},
        f"`content_weight` {NO_FIELD}",
    ),
    "an inversion of nothing": ({"mode": "inversion"}, "`content` is required."),
    "no steps": (GATYS | {"num_steps": 0}, "`num_steps` must be at least 1."),
    "unknown style loss": (
        GATYS | {"style_losses": {"cosine": 1}},
        "`style_losses.cosine` must be 'gram', 'mean-std', 'covariance', 'sliced-wasserstein' or 'histogram'.",
    ),
    "no style loss": (
        GATYS | {"style_losses": {}},
        "`style_losses` must have at least 1 item, not 0.",
    ),
    "init image without its file": (GATYS | {"init": "image"}, "init_image: `init: image` needs it."),
    "init image without its mode": (GATYS | {"init_image": CAT}, "init_image: It is for `init: image`."),
    "a mask for fast": (FAST | {"style": [{"image": CAT, "mask": CAT}]}, f"`style.0.mask` {NO_FIELD}"),
    "a layer twice in a ladder": (
        {"mode": "inversion", "content": CAT, "layers": ["relu1_1", "relu1_1"]},
        "layers: Each may be named once.",
    ),
    "unknown format": (FAST | {"format": "gif"}, "`format` must be 'png', 'jpeg' or 'webp'."),
    "unknown field": (FAST | {"stlye": "builtin:1"}, f"`stlye` {NO_FIELD}"),
    "unknown field of a strange name": (FAST | {"\0<../é": 1}, f"`\N{REPLACEMENT CHARACTER}<../é` {NO_FIELD}"),
    "a field fast does not use": (FAST | {"num_steps": 10}, f"`num_steps` {NO_FIELD}"),
    "a field gatys does not use": (GATYS | {"strength": 0.5}, f"`strength` {NO_FIELD}"),
    "negative seed": (FAST | {"seed": -1}, "`seed` must be at least 0."),
    "seed past 53 bits": (FAST | {"seed": 2**53}, "`seed` must be at most 9007199254740991."),
    "priority": (FAST | {"priority": 11}, "`priority` must be at most 10."),
    "expiry": (FAST | {"expires_in": 0}, "`expires_in` must be at least 1."),
    "http webhook": (
        FAST | {"webhook_url": "http://example.com/"},
        "`webhook_url` must be a public https URL, such as https://example.com/hooks/atelier.",
    ),
    "webhook to loopback": (
        FAST | {"webhook_url": "https://127.0.0.1/"},
        "`webhook_url` must be a public https URL, such as https://example.com/hooks/atelier.",
    ),
}


@pytest.mark.parametrize("name", FIELDS)
def test_field(stack: Stack, name: str) -> None:
    body, message = FIELDS[name]
    answer = stack.client.post("/v1/style-transfers", json=body)
    refused(answer, 422, "invalid_request", message)
    details = answer.json()["error"]["details"]
    field, rule = field_and_rule(message)
    assert details["field"] == field
    assert {"field": field, "message": rule.removesuffix(".")} in details["errors"]


BLACK = BytesIO()
Image.new("RGB", (64, 43)).save(BLACK, "PNG")
MEANINGS: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "unknown id": (
        FAST | {"content": UNKNOWN},
        404,
        "image_not_found",
        f"content: No image {UNKNOWN} is stored here; upload it first.",
    ),
    "unknown id among good ones": (
        FAST | {"style": [{"image": data_url(image_file(seed=9))}, {"image": UNKNOWN}]},
        404,
        "image_not_found",
        f"style.1.image: No image {UNKNOWN} is stored here; upload it first.",
    ),
    "bad base64": (
        FAST | {"content": "data:image/png;base64,###"},
        422,
        "data_url_invalid",
        "content: The data URL is not valid base64.",
    ),
    "no base64": (
        FAST | {"content": "data:image/png,abc"},
        422,
        "data_url_invalid",
        "content: A data URL must look like data:image/png;base64,iVBORw0…",
    ),
    "a layer vgg16 lacks": (
        GATYS | {"model": "vgg16", "style_layers": ["relu1_1", "relu3_4"]},
        422,
        "unknown_layer",
        f"style_layers: 'relu3_4' is no layer of vgg16, which has {', '.join(LAYERS['vgg16'])}.",
    ),
    "a ladder of layers vgg16 lacks": (
        {"mode": "inversion", "content": data_url(image_file()), "model": "vgg16", "layers": ["relu5_4"]},
        422,
        "unknown_layer",
        f"layers: 'relu5_4' is no layer of vgg16, which has {', '.join(LAYERS['vgg16'])}.",
    ),
    "a mask of another size": (
        GATYS | {"style": [{"image": data_url(image_file()), "mask": data_url(image_file(size=(63, 64)))}]},
        422,
        "size_mismatch",
        "style.0.mask: The mask is 63 x 64; it must have its image's size, 64 x 43.",
    ),
    "a mask of a style of another size": (
        GATYS | {"style": [{"image": data_url(image_file()), "style_mask": data_url(image_file(size=(63, 64)))}]},
        422,
        "size_mismatch",
        "style.0.style_mask: The mask is 63 x 64; it must have its image's size, 48 x 32.",
    ),
    "an empty mask": (
        GATYS | {"style": [{"image": data_url(image_file()), "mask": data_url(BLACK.getvalue())}]},
        422,
        "empty_mask",
        "style.0.mask: Nothing of it is white: its luminance is at most 0 of 255, and 128 are needed. A mask is "
        "white on the part that counts.",
    ),
    "too narrow": (
        FAST | {"content": data_url(image_file(size=(640, 20)))},
        422,
        "content_too_narrow",
        "size: At 64 the shorter side would have 2 pixels; at least 32 are needed.",
    ),
}


@pytest.mark.parametrize("name", MEANINGS)
def test_what_a_field_means(stack: Stack, name: str) -> None:
    body, status, code, message = MEANINGS[name]
    answer = stack.client.post("/v1/style-transfers", json=body)
    refused(answer, status, code, message)
    assert answer.json()["error"]["details"]["field"] == field_and_rule(message)[0]


PRIVATE = (
    *("127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"),
    *("10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "[fe80::1]", "[fd00::1]", "0.0.0.0", "100.64.0.1"),
    *("user:pass@127.0.0.1", "127.0.0.1:22", "no-such-host.invalid"),
)


@pytest.mark.parametrize("host", PRIVATE)
def test_address_inside(stack: Stack, host: str) -> None:
    answer = stack.client.post("/v1/style-transfers", json=FAST | {"content": f"https://{host}/a.png"})
    refused(answer, 422, "url_not_allowed", f"content: {REFUSED_URL}")


def test_port_of_our_own(stack: Stack) -> None:
    """Gives the same answer for an open and a closed port."""
    for port in (stack.redis_port, stack.api_port, 1025):
        answer = stack.client.post("/v1/style-transfers", json=FAST | {"content": f"https://127.0.0.1:{port}/"})
        refused(answer, 422, "url_not_allowed", f"content: {REFUSED_URL}")


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
        "`kind` must be 'style-transfer', 'generation', 'training', 'collection', 'collection-plots', 'pc-steering' or "
        "'cluster-sampling'.",
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
