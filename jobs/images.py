"""Images at the door: hostile bytes in, one clean PNG out; and output files that carry their recipe.

Six formats are opened, told apart by content. The size is read from the header and refused before a pixel is decoded.
Whatever the decoders make of damaged bytes becomes one of these, each a 4xx:

BadInput    image_empty, image_format_unsupported, image_unreadable, image_truncated, image_too_small, data_url_invalid
TooLarge    image_too_large, body_too_large
"""

import binascii
import io
import json
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageFile, PngImagePlugin

from jobs.errors import AtelierError, BadInput, TooLarge
from jobs.schemas import ImageFormat

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MIN_SIDE = 16
RECIPE_KEY = "atelier"
MAX_JPEG_RECIPE_BYTES = 65_000  # a JPEG holds its EXIF in one segment of 65,533 bytes

_MAGIC = re.compile(
    rb"(?P<PNG>\x89PNG\r\n\x1a\n)|(?P<JPEG>\xff\xd8\xff)|(?P<WEBP>RIFF....WEBP)|(?P<GIF>GIF8[79]a)|(?P<BMP>BM)"
    rb"|(?P<TIFF>II[*+]\0|MM\0[*+])",
    re.DOTALL,
)
_DATA_URL = re.compile(r"data:image/[a-z0-9.+-]+;base64,", re.IGNORECASE)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SRGB = ImageCms.createProfile("sRGB")
_TOP_BYTE = [value >> 8 for value in range(65536)]

# A progressive JPEG may hold any number of scans of 42 bytes, each a pass over all its pixels (16 ms at 25 megapixels:
# hours in one upload). Encoders write about ten. A marker cannot occur within the coded data, so counting is exact.
_SCAN_MARKER = re.compile(rb"\xff\xda\0[\x06-\x0e]")
_MAX_SCANS = 100

# Millions of empty segments or tags cost memory, and Pillow joins some kinds in quadratic time. Each takes a few
# reads of the file, so reads are counted: so many until the header is known, then 1,000 and one per 100 bytes.
_HEADER_READS = 4_000

# Display P3 and Adobe RGB take some 600 bytes. A profile may be a program for LittleCMS: length bounds its run time.
_MAX_ICC_BYTES = 65_536

ImageFile.LOAD_TRUNCATED_IMAGES = False
PngImagePlugin.MAX_TEXT_MEMORY = 8 * PngImagePlugin.MAX_TEXT_CHUNK  # text may grow fourfold when it becomes a str
# Damaged files make Pillow warn, in texts of the attacker's choosing; Python would remember every one of them.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True)
class DecodedImage:
    """An image made safe: upright, 8-bit RGB, no metadata; equal pictures give equal `png` bytes.

    `source_format` is the format of the bytes it came from: png, jpeg, webp, gif, bmp or tiff.
    """

    png: bytes
    width: int
    height: int
    source_format: str


class _CountedReads(io.BytesIO):
    """A file in memory that refuses to be read more than `reads_left` times."""

    reads_left = _HEADER_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise OSError("the file is cut into too many pieces")
        return super().read(size)


def decode_image(data: bytes, *, max_pixels: int) -> DecodedImage:
    """The picture in `data`, decoded once and written anew as PNG.

    Of an animation or a file of several pages the first frame is taken. EXIF orientation is applied; alpha is laid
    over white; 16-bit samples keep their top byte and floats run from 0 (black) to 1 (white). A small RGB colour
    profile is converted to sRGB; any other profile is ignored, so CMYK is converted by the plain formula.

    Raises BadInput for what is no image, is damaged or has a side under 16 pixels; TooLarge above `max_pixels`.
    """
    source_format = _sniff(data)
    image = _load(data, source_format, max_pixels)
    return DecodedImage(_encode(image, "PNG", compress_level=1), *image.size, source_format.lower())


def decode_data_url(url: str, *, max_bytes: int) -> bytes:
    """The bytes of a `data:image/…;base64,…` URL, whose base64 must be strict and padded.

    Raises BadInput `data_url_invalid`, and TooLarge `body_too_large` before anything is decoded.
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
    """The output file of a job: `pixels`, with `recipe` inside as compact JSON; equal arguments give equal bytes.

    pixels: uint8 array of shape (h, w, 3), or an image, which is converted to RGB.
    PNG keeps the recipe in an iTXt chunk `atelier`, JPEG and WebP in EXIF UserComment. Raises ValueError for another
    shape or type, and for a JPEG recipe above 65,000 bytes.
    """
    image = _rgb(pixels)
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    if format == "png":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt(RECIPE_KEY, text)
        return _encode(image, "PNG", pnginfo=chunks)
    comment = b"\0" * 8 + text.encode()  # eight zero bytes: EXIF's mark for a charset it has no name for
    if format == "jpeg" and len(comment) > MAX_JPEG_RECIPE_BYTES:
        raise ValueError(f"recipe must take at most {MAX_JPEG_RECIPE_BYTES} bytes in a JPEG, got {len(comment)}")
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    return _encode(image, format.upper(), quality=95, exif=exif)


def read_recipe(data: bytes) -> dict[str, Any] | None:
    """The recipe that `encode_image` put into a file, or None where there is none.

    Raises BadInput for what is no image.
    """
    source_format = _sniff(data)
    with _open(data, source_format) as image, _decoding("image_unreadable", source_format, "metadata is damaged"):
        if source_format == "PNG":
            text = image.info.get(RECIPE_KEY, "")
        else:
            comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment, b"")
            text = comment[8:] if isinstance(comment, bytes) else ""
    try:
        recipe = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return recipe if isinstance(recipe, dict) else None


def _sniff(data: bytes) -> str:
    """The one of FORMATS that the first bytes name."""
    if not data:
        raise BadInput("image_empty", "The image has no bytes.")
    magic = _MAGIC.match(data)
    if magic is None or magic.lastgroup is None:
        allowed = [name.lower() for name in FORMATS]
        raise BadInput(
            "image_format_unsupported", f"The file is not an image in one of: {', '.join(allowed)}.", allowed=allowed
        )
    return magic.lastgroup


def _load(data: bytes, source_format: str, max_pixels: int) -> Image.Image:
    with _open(data, source_format) as image:
        _check_size(image.size, max_pixels)
        with _decoding("image_truncated", source_format, "image data is damaged or cut off"):
            image.load()
            return _normalise(image)


@contextmanager
def _open(data: bytes, source_format: str) -> Iterator[ImageFile.ImageFile]:
    """The image with its header read and no pixel decoded."""
    if source_format == "JPEG" and sum(1 for _ in _SCAN_MARKER.finditer(data)) > _MAX_SCANS:
        raise BadInput("image_unreadable", f"The JPEG has more than {_MAX_SCANS} scans.", format="jpeg")
    file = _CountedReads(data)
    with _decoding("image_unreadable", source_format, "header cannot be read"):
        image = Image.open(file, formats=(source_format,))
    file.reads_left = 1_000 + len(data) // 100
    with image:
        yield image


@contextmanager
def _decoding(code: str, source_format: str, problem: str) -> Iterator[None]:
    """Turns whatever a decoder raises into a 4xx.

    Every exception is meant: over the years Pillow's decoders have raised nearly all that Python has, MemoryError and
    AssertionError included, and what they raise on a stranger's bytes says something about the bytes.
    """
    try:
        yield
    except AtelierError:
        raise
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise TooLarge("image_too_large", f"The image declares more than {limit} pixels.", limit=limit) from error
    except Exception as error:
        name = source_format.lower()
        raise BadInput(code, f"The {name.upper()} file's {problem}.", format=name) from error


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise TooLarge(
            "image_too_large",
            f"The image has {width} x {height} pixels; {max_pixels} in all are allowed.",
            width=width,
            height=height,
            max_pixels=max_pixels,
        )
    if min(size) < MIN_SIDE:
        raise BadInput(
            "image_too_small",
            f"The image has {width} x {height} pixels; each side needs at least {MIN_SIDE}.",
            width=width,
            height=height,
            min_side=MIN_SIDE,
        )


def _normalise(image: Image.Image) -> Image.Image:
    """A loaded image as 8-bit RGB, upright and in sRGB, without metadata."""
    orientation = image.getexif().get(ExifTags.Base.Orientation)
    profile = image.info.get("icc_profile") or b""
    rgb = _over_white(_eight_bits(image))
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
    if len(profile) <= _MAX_ICC_BYTES and profile[16:20] == b"RGB ":
        _to_srgb(rgb, profile)
    rgb.info = {}
    return rgb


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey keeps its top byte, as Pillow does for colour; float grey runs from 0 to 1; both are clipped."""
    if image.mode.startswith("I"):
        return image.convert("I").point(_TOP_BYTE, "L")
    if image.mode == "F":
        return image.point(lambda value: value * 255 + 0.5).convert("L")
    return image


def _over_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(rgba, mask=rgba)
    return canvas


def _to_srgb(image: Image.Image, profile: bytes) -> None:
    """Converts in place; a profile that cannot be read is ignored, as browsers do."""
    try:
        ImageCms.profileToProfile(image, io.BytesIO(profile), _SRGB, inPlace=True)
    except ImageCms.PyCMSError:
        return


def _rgb(pixels: NDArray[np.uint8] | Image.Image) -> Image.Image:
    if isinstance(pixels, Image.Image):
        image = pixels.convert("RGB")  # always a copy, so the caller's metadata stays
        image.info = {}
        return image
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"pixels must be uint8 of shape (h, w, 3), got {pixels.dtype} of shape {pixels.shape}")
    return Image.fromarray(pixels)


def _encode(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()
