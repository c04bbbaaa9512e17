"""Decodes untrusted images to PNG, and writes output files that contain their recipe.

Errors of the `images` package become one of these, each a 4xx:

BadInput    image_empty, image_format_unsupported, image_unreadable, image_truncated, image_too_small, data_url_invalid
TooLarge    image_too_large, body_too_large
"""

import binascii
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, PngImagePlugin

from images.decode import decode, open_header
from images.errors import ImageError, unreadable
from images.limits import MAX_PIXELS
from images.sniff import sniff
from jobs.errors import BadInput, TooLarge
from jobs.schemas import ImageFormat

MIN_UPLOAD_SIDE = 16
RECIPE_KEY = "atelier"
UNDEFINED = b"\0" * 8  # EXIF's code for an undefined character set
MAX_JPEG_RECIPE_BYTES = 65_000  # a JPEG holds its EXIF in one segment of 65,533 bytes

_DATA_URL = re.compile(r"data:image/[a-z0-9.+-]+;base64,", re.IGNORECASE)


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image: upright, 8-bit sRGB, with alpha if the source has it; equal images give equal `png` bytes.

    `source_format` is the format of the original file: png, jpeg, webp, gif, bmp, tiff, heic or avif;
    `source_width` and `source_height` are its upright size, which is larger if the image was reduced.
    """

    png: bytes
    width: int
    height: int
    source_format: str
    source_width: int
    source_height: int


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> DecodedImage:
    """Decodes an image file and encodes it as PNG.

    Raises BadInput if `data` is not an image, is damaged or has a side under 16 pixels; TooLarge above `max_pixels`.
    """
    with as_answers():
        decoded = decode(data, max_pixels=max_pixels, min_side=MIN_UPLOAD_SIDE)
    return stored(decoded.image, decoded.source_format, decoded.source_size)


def stored(image: Image.Image, source_format: str, source_size: tuple[int, int] | None = None) -> DecodedImage:
    """Encodes an RGB or RGBA image as it is stored; `source_size` is the size of `image` if absent."""
    png = _encode(image, "PNG", compress_level=1)
    return DecodedImage(png, *image.size, source_format, *(source_size or image.size))


@contextmanager
def as_answers() -> Iterator[None]:
    """Raises an `ImageError` as BadInput or TooLarge, with the same code, message and details."""
    try:
        yield
    except ImageError as error:
        answer = TooLarge if error.code == "image_too_large" else BadInput
        raise answer(error.code, error.message, **error.details) from error


def decode_data_url(url: str, *, max_bytes: int) -> bytes:
    """Decodes a `data:image/…;base64,…` URL; its base64 must be strict and padded.

    Raises BadInput `data_url_invalid`, and TooLarge `body_too_large` before decoding.
    """
    head = _DATA_URL.match(url)
    if head is None:
        raise BadInput("data_url_invalid", "A data URL must look like data:image/png;base64,iVBORw0…")
    payload = url[head.end() :]
    size = len(payload) * 3 // 4 - payload[-2:].count("=")
    if size > max_bytes:
        raise TooLarge(
            "body_too_large", f"The image has {size} bytes; {max_bytes} are allowed.", size=size, max_bytes=max_bytes
        )
    try:
        return binascii.a2b_base64(payload, strict_mode=True)
    except ValueError as error:
        raise BadInput("data_url_invalid", "The data URL is not valid base64.") from error


def encode_image(pixels: NDArray[np.uint8] | Image.Image, format: ImageFormat, recipe: dict[str, Any]) -> bytes:
    """Encodes the output file of a job, with `recipe` inside as compact JSON; equal arguments give equal bytes.

    pixels: uint8 array of shape (h, w, 3), or an image, which is converted to RGB.
    PNG keeps the recipe in an iTXt chunk `atelier`, JPEG and WebP in EXIF UserComment. Raises ValueError for another
    shape or type, and for a JPEG recipe above 65,000 bytes.
    """
    image = _rgb(pixels)
    text = recipe_text(recipe)
    if format == "png":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt(RECIPE_KEY, text)
        return _encode(image, "PNG", pnginfo=chunks)
    size = len(text.encode()) + len(UNDEFINED)
    if format == "jpeg" and size > MAX_JPEG_RECIPE_BYTES:
        raise ValueError(f"recipe must take at most {MAX_JPEG_RECIPE_BYTES} bytes in a JPEG, got {size}")
    return _encode(image, format.upper(), quality=95, exif=exif_of(text))


def recipe_text(recipe: dict[str, Any]) -> str:
    """A recipe as compact JSON; equal recipes give equal texts. Raises ValueError for NaN and infinity."""
    return json.dumps(recipe, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def exif_of(text: str) -> Image.Exif:
    """EXIF with a text as its UserComment, where `read_recipe` finds it."""
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = UNDEFINED + text.encode()
    return exif


def read_recipe(data: bytes) -> dict[str, Any] | None:
    """The recipe in an output file of a job, or None where there is none; an MP4 has it in the comment of its metadata.

    Raises BadInput for what is no image.
    """
    with as_answers():
        text = _recipe_text(data, sniff(data))
    try:
        recipe = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return recipe if isinstance(recipe, dict) else None


def _recipe_text(data: bytes, source_format: str) -> str:
    """Reads the text where `encode_image` writes recipes; raises ImageError for a damaged file."""
    if source_format not in ("PNG", "JPEG", "WEBP", "GIF"):
        return ""
    try:
        with open_header(data, source_format) as image:
            if source_format == "PNG":
                return str(image.info.get(RECIPE_KEY, ""))
            if source_format == "GIF":
                return bytes(image.info.get("comment", b"")).decode(errors="replace")
            comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment, b"")
            return comment[8:].decode(errors="replace") if isinstance(comment, bytes) else ""
    except Exception as error:  # Pillow's metadata readers raise nearly any exception
        raise unreadable(source_format, "'s metadata is damaged") from error


def _rgb(pixels: NDArray[np.uint8] | Image.Image) -> Image.Image:
    if isinstance(pixels, Image.Image):
        image = pixels.convert("RGB")  # always a copy, so the caller's image keeps its metadata
        image.info = {}
        return image
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"pixels must be uint8 of shape (h, w, 3), got {pixels.dtype} of shape {pixels.shape}")
    return Image.fromarray(pixels)


def _encode(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()
