"""Bad values of fields get a 4xx in the one error shape; nothing is stored and every process stays up."""

from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from api.style_transfers import CAT
from jobs.requests.styles import LAYERS
from tests.api import bad_input
from tests.api.bad_input import NO_FIELD, UNKNOWN, refused
from tests.api.conftest import FAST, GATYS, data_url, field_and_rule, image_file
from tests.stack import Stack

nothing_happens = bad_input.nothing_happens  # a fixture of every test

IMAGE = "must be an img_… id of an upload, a member such as col_…/17, a data:image/…;base64,… URL or an https: URL."

REFUSED_URL = "The URL could not be fetched: it must be a public https URL that responds in time."

BUILTIN = "must be builtin:0 to builtin:25, or a name such as builtin:starry-blue; GET /v1/styles lists them."

ANY_STYLE = "must be a built-in style, an image, a kept or a trained style, or a list of these with weights."

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
        "`style` must be an image, a kept style, or a list of these with weights and masks; built-in and trained "
        "styles are for method fast.",
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
    "unknown mode": (FAST | {"mode": "dream"}, "`mode` must be 'transfer', 'texture', 'inversion', 'many' or 'film'."),
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
        "style.0.mask: No part of it is white: its luminance is at most 0 of 255, and 128 are needed. A mask is "
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
