"""Decoded images, `data:` URLs, and output files that contain their recipe."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from jobs.errors import BadInput, TooLarge
from jobs.images import decode_data_url, decode_image, encode_image, read_recipe
from jobs.schemas import ImageFormat
from tests.images.crafted import MAX_PIXELS, RGB, exif, pixels, save

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # pytest undoes the filter that images.decode sets


def test_same_image_same_bytes_and_no_metadata() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "someone")
    marked = save(RGB, "PNG", pnginfo=info, exif=exif(1), dpi=(72, 72), icc_profile=b"not a profile")
    one = decode_image(marked, max_pixels=MAX_PIXELS)
    two = decode_image(save(RGB, "BMP"), max_pixels=MAX_PIXELS)
    again = decode_image(one.png, max_pixels=MAX_PIXELS)
    assert one.png == two.png == again.png
    assert (one.source_format, two.source_format) == ("png", "bmp")
    assert set(Image.open(io.BytesIO(one.png)).info) == set()


# data: URLs


def test_data_url() -> None:
    data = save(RGB, "PNG")
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    assert decode_data_url(url, max_bytes=len(data)) == data
    with pytest.raises(TooLarge) as large:
        decode_data_url(url, max_bytes=len(data) - 1)
    assert (large.value.code, large.value.details["size"]) == ("body_too_large", len(data))


@pytest.mark.parametrize(
    "url",
    [
        "data:text/html;base64,aGVsbG8=",
        "data:image/png,aGVsbG8=",
        "data:image/png;base64",
        "data:image/png;base64,aGVsbG8",
        "data:image/png;base64,aGVs bG8=",
        "data:image/png;base64,aGVsbG8=\n",
        "data:image/png;base64,aGVs_-8=",
        "data:image/png;base64,aGVsbG8==",
        "data:image/png;base64,aGVsbG8=aGVs",
        "data:image/png;base64,aGVsbG8ä",
        " data:image/png;base64,aGVsbG8=",
    ],
)
def test_data_url_refused(url: str) -> None:
    with pytest.raises(BadInput) as error:
        decode_data_url(url, max_bytes=1_000)
    assert error.value.code == "data_url_invalid"


# Output files

RECIPE: dict[str, Any] = {
    "seed": 7,
    "prompt": "une forêt — 森の中で 🌲\n" * 200,
    "model": {"id": "mini", "sha256": "0" * 64},
}


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_recipe_survives(format: ImageFormat) -> None:
    data = encode_image(pixels(), format, RECIPE)
    assert read_recipe(data) == RECIPE
    assert encode_image(RGB, format, dict(reversed(RECIPE.items()))) == data
    stored = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert stored.shape == (32, 48, 3) and np.abs(stored - pixels()).mean() < (1 if format == "png" else 8)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF"])
def test_no_recipe(format: str) -> None:
    assert read_recipe(save(RGB, format)) is None


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000, "7"])
def test_a_recipe_that_is_none(text: str) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("atelier", text)
    assert read_recipe(save(RGB, "PNG", pnginfo=info)) is None


def test_encode_refuses() -> None:
    with pytest.raises(ValueError, match="uint8 of shape"):
        encode_image(np.zeros((4, 4), np.uint8), "png", {})
    with pytest.raises(ValueError, match="65000 bytes"):
        encode_image(pixels(), "jpeg", {"prompt": "x" * 70_000})
