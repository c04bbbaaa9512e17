"""Decodes untrusted bytes to upright 8-bit pixels in sRGB, with bounded time and memory.

Metadata is removed before a decoder reads the file, so that it has no effect on whether the image is accepted. The
orientation and the color profile are read separately, and ignored where they are broken.
"""

import io
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFile, PngImagePlugin

from images import jpeg, png, tiff
from images.boxes import check_avif, check_heic
from images.color import ToRGB, to_srgb
from images.errors import ImageError, truncated, unreadable
from images.heif import HeifImage
from images.limits import KEPT_PIXELS, MAX_PIXELS
from images.sniff import sniff
from images.source import Source, orientation_of

BAND_PIXELS = 1 << 18  # converted at a time, so that no conversion needs a second copy of the image

# A header may be split into millions of pieces, each of which costs a few reads and may copy any part of the file.
_HEADER_READS = 4_000

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

ImageFile.LOAD_TRUNCATED_IMAGES = False
PngImagePlugin.MAX_TEXT_MEMORY = 8 * PngImagePlugin.MAX_TEXT_CHUNK  # text may take four times the memory as a str
# Pillow warns of damaged files in texts that the file determines; Python would store every one of them.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True)
class Decoded:
    """A decoded image: upright, 8-bit sRGB, without metadata; RGBA if a pixel is not opaque, otherwise RGB.

    source_format: png, jpeg, webp, gif, bmp, tiff, heic or avif. source_size: the upright width and height that the
    file declares, larger than the image's own where it was reduced.
    """

    image: Image.Image
    source_format: str
    source_size: tuple[int, int]


@dataclass(frozen=True)
class _Pixels:
    """Decoded pixels: a function that returns a range of rows, and the factor by which they are still to be reduced."""

    size: tuple[int, int]
    rows: Callable[[int, int], Image.Image]
    left: int


@dataclass(frozen=True)
class _Opened:
    """A file whose header is read: the facts it declares, and a function that decodes it reduced by 1, 2, 4 or 8."""

    size: tuple[int, int]
    mode: str
    source: Source
    load: Callable[[int], _Pixels]
    may_be_transparent: bool
    most_pixels: int


def decode(
    data: bytes,
    *,
    max_pixels: int = MAX_PIXELS,
    kept_pixels: int = KEPT_PIXELS,
    min_side: int = 1,
    enough: int | None = None,
) -> Decoded:
    """Decodes the image in `data`; the first of several frames or pages.

    The EXIF orientation is applied and a color profile converted to sRGB. 16-bit samples keep their high byte; floats
    range from 0 (black) to 1 (white). Above `kept_pixels` the sides are divided by 2, 4 or 8; those of a JPEG whenever
    its shorter side keeps at least `enough` pixels.

    Raises ImageError: image_empty, image_format_unsupported, image_unreadable, image_truncated, image_too_small below
    `min_side`, image_too_large above `max_pixels`.
    """
    image_format = sniff(data)
    with _decoding(unreadable(image_format), max_pixels):
        opened = _open(data, image_format, max_pixels)
    _check_size(opened.size, min(max_pixels, opened.most_pixels), min_side)
    factor = _factor(opened.size, kept_pixels, enough if image_format == "JPEG" else None)
    with _decoding(truncated(image_format), max_pixels):
        image = _upright(opened, factor)
    turned = opened.source.orientation >= 5
    return Decoded(image, image_format.lower(), opened.size[::-1] if turned else opened.size)


def over_white(image: Image.Image) -> Image.Image:
    """Composites the image over white; returns RGB."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image, mask=image)
    return canvas


# --- headers ---------------------------------------------------------------------------------------------------------


class CountedReads(io.BytesIO):
    """A file in memory that allows `reads_left` more reads, of `bytes_left` bytes in all."""

    reads_left = _HEADER_READS
    bytes_left = 1 << 20

    def read(self, size: int | None = -1, /) -> bytes:
        """Reads up to `size` bytes; raises OSError past a limit."""
        data = super().read(size)
        self.reads_left -= 1
        self.bytes_left -= len(data)
        if self.reads_left < 0 or self.bytes_left < 0:
            raise OSError("the file is split into too many pieces")
        return data


def open_header(data: bytes, image_format: str) -> ImageFile.ImageFile:
    """Opens an image with Pillow and reads its header only, within limits; raises whatever Pillow raises."""
    file = CountedReads(data)
    file.bytes_left += 2 * len(data)
    image = Image.open(file, formats=(image_format,))
    file.reads_left, file.bytes_left = 1_000 + len(data) // 100, 1 << 62
    return image


def _open(data: bytes, image_format: str, max_pixels: int) -> _Opened:
    if image_format == "AVIF":
        check_avif(data, min(max_pixels, KEPT_PIXELS))
        if data[8:12] == b"avis":
            data = data[:8] + b"avif" + data[12:]  # the still image of a sequence
    if image_format == "HEIC":
        check_heic(data, max_pixels)
        heif = HeifImage(data)
        source, transparent = Source(b"", profile=heif.profile), heif.mode in ("RGBA", "RGBa")
        most = MAX_PIXELS if heif.is_plain else KEPT_PIXELS
        return _Opened(heif.size, heif.mode, source, lambda f: _Pixels(heif.size, heif.load(), f), transparent, most)
    strip = {"JPEG": jpeg.strip, "PNG": png.strip, "TIFF": tiff.strip}.get(image_format)
    source = strip(data) if strip else Source(data)
    image = (_open_avif if image_format == "AVIF" else open_header)(source.data, image_format)
    if strip is None:
        exif, profile = image.info.get("exif") or b"", image.info.get("icc_profile") or b""
        source = replace(source, orientation=orientation_of(exif), profile=profile)
    load = {"JPEG": _load_jpeg, "PNG": _load_png}.get(image_format, _load)
    transparent = source.key is not None or image.has_transparency_data
    most = _most_pixels(image_format, source)
    return _Opened(image.size, image.mode, source, lambda factor: load(image, source, factor), transparent, most)


def _open_avif(data: bytes, image_format: str) -> ImageFile.ImageFile:
    """Opens an AVIF, without its EXIF where that is broken: Pillow reads it to add the container's own rotation."""
    try:
        return open_header(data, image_format)
    except Exception:  # any error of Pillow's EXIF reader; an error of the pixels is raised again
        return open_header(data.replace(b"Exif", b"none"), image_format)


def _most_pixels(image_format: str, source: Source) -> int:
    """The most pixels that 400 MB allow: these formats need 9 to 16 bytes per pixel; some are decoded twice."""
    read_twice = source.depth == 16 and source.key is not None and len(source.key) == 3
    return KEPT_PIXELS if image_format in ("WEBP", "AVIF", "TIFF") or read_twice else sys.maxsize


def _check_size(size: tuple[int, int], max_pixels: int, min_side: int) -> None:
    width, height = size
    if width * height > max_pixels:
        message = f"The image has {width} x {height} pixels; {max_pixels} in all are allowed."
        raise ImageError("image_too_large", message, width=width, height=height, max_pixels=max_pixels)
    if min(size) < min_side:
        message = f"The image has {width} x {height} pixels; each side needs at least {min_side}."
        raise ImageError("image_too_small", message, width=width, height=height, min_side=min_side)


def _factor(size: tuple[int, int], kept_pixels: int, enough: int | None) -> int:
    """The factor that the sides are divided by: 1, 2, 4 or 8."""
    factor = 1
    while (size[0] // factor) * (size[1] // factor) > kept_pixels:
        factor *= 2
    if enough is not None:
        factor = max([factor, *(halved for halved in (2, 4, 8) if min(size) // halved >= enough)])
    return factor


@contextmanager
def _decoding(error: ImageError, max_pixels: int) -> Iterator[None]:
    """Raises `error` for any exception of a decoder.

    Every class of exceptions is caught: Pillow's decoders have raised nearly all that Python has, MemoryError and
    AssertionError included, and on untrusted bytes the cause is the bytes.
    """
    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError as bomb:  # Pillow's own limit, which it checks before the size can be read
        message = f"The image has far too many pixels; {max_pixels} in all are allowed."
        raise ImageError("image_too_large", message, max_pixels=max_pixels) from bomb
    except Exception as unexpected:
        raise error from unexpected


# --- pixels ----------------------------------------------------------------------------------------------------------


def _load(image: Image.Image, source: Source, factor: int) -> _Pixels:
    image.load()
    return _Pixels(image.size, lambda top, bottom: image.crop((0, top, image.width, bottom)), factor)


def _load_jpeg(image: ImageFile.ImageFile, source: Source, factor: int) -> _Pixels:
    """Decodes at the reduced size; a file without end marker twice, to detect pixels that are missing."""
    width, height = image.size
    image.draft(None, (width // factor, height // factor))
    pixels = _load(image, source, 1)
    if not source.complete:
        again = open_header(jpeg.padded(source), "JPEG")
        again.draft(None, (width // factor, height // factor))
        again.load()
        if ImageChops.difference(image.convert("RGB"), again.convert("RGB")).getbbox():
            raise truncated("JPEG")
    return pixels


def _load_png(image: ImageFile.ImageFile, source: Source, factor: int) -> _Pixels:
    """Decodes 16-bit color with a transparent color twice, since Pillow keeps only the high bytes of samples."""
    key = source.key
    if source.depth < 16 or key is None or image.mode != "RGB":
        return _load(image, source, factor)
    low = open_header(source.data, "PNG")
    low.tile = [tile._replace(args="RGB;16L") for tile in low.tile]  # the low bytes of big-endian samples
    high_rows, low_rows = _load(image, source, factor).rows, _load(low, source, factor).rows

    def rows(top: int, bottom: int) -> Image.Image:
        high, lower = high_rows(top, bottom), low_rows(top, bottom)
        samples = np.asarray(high).astype(np.uint16) << 8 | np.asarray(lower)
        high.putalpha(_alpha((samples == np.array(key)).all(axis=2)))
        return high

    return _Pixels(image.size, rows, factor)


def _upright(opened: _Opened, factor: int) -> Image.Image:
    image = _converted(opened, factor)
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255):
        image = image.convert("RGB")
    turn = _UPRIGHT.get(opened.source.orientation)
    return image.transpose(turn) if turn is not None else image


def _converted(opened: _Opened, factor: int) -> Image.Image:
    """Converts the pixels of a file to 8 bits and sRGB and reduces them, a band of rows at a time."""
    pixels = opened.load(factor)
    (width, height), left = pixels.size, pixels.left
    mode = "RGBA" if opened.may_be_transparent else "RGB"
    made = Image.new(mode, (-(-width // left), -(-height // left)))
    convert = to_srgb(opened.source.profile, _stored_as(opened.mode))
    step = max(left, BAND_PIXELS // width // left * left)
    for top in range(0, height, step):
        band = _srgb(pixels.rows(top, min(top + step, height)), opened.source, convert)
        if left > 1:  # premultiplied, so that the colors of transparent pixels have no weight
            band = band.convert("RGBa").reduce(left).convert("RGBA") if band.mode == "RGBA" else band.reduce(left)
        made.paste(band, (0, top // left))
    return made


def _stored_as(mode: str) -> str:
    """The color model of a Pillow mode: L, CMYK or RGB."""
    if mode in ("1", "L", "LA", "La", "I", "F") or mode.startswith("I;16"):
        return "L"
    return "CMYK" if mode == "CMYK" else "RGB"


def _srgb(band: Image.Image, source: Source, convert: ToRGB) -> Image.Image:
    """Converts a band of rows to 8-bit RGB or RGBA in sRGB."""
    alpha = _alpha_of_key(band, source)
    if alpha is None and band.has_transparency_data:
        if band.mode == "La":
            band = band.convert("LA")
        if band.mode not in ("LA", "RGBA"):
            band = band.convert("RGBA")
        alpha, band = band.getchannel("A"), band.convert("L" if band.mode == "LA" else "RGB")
    levels = _eight_bits(band, source.depth)
    rgb = convert(ImageChops.invert(levels) if source.inverted else levels)
    if alpha is not None:
        # White, so that images that look the same have the same bytes.
        rgb.paste("white", mask=alpha.point(lambda value: 255 * (value == 0)))
        rgb.putalpha(alpha)
    return rgb


def _eight_bits(image: Image.Image, depth: int) -> Image.Image:
    """Converts 16-bit gray by its high byte, as Pillow does for color, and float gray from [0, 1], clipped."""
    if image.mode.startswith("I"):
        levels = np.clip(np.asarray(image), 0, 65_535).astype(np.uint16) >> (depth - 8 if depth == 12 else 8)
        return Image.fromarray(levels.astype(np.uint8))
    if image.mode == "F":
        shares = np.clip(np.nan_to_num(np.asarray(image), nan=0.0), 0, 1)
        return Image.fromarray((shares * 255 + 0.5).astype(np.uint8))
    return image.convert("L") if image.mode == "1" else image


def _alpha_of_key(band: Image.Image, source: Source) -> Image.Image | None:
    """Alpha: 0 where all samples equal the transparent color at the file's depth, else 255; None without one."""
    if source.key is None:
        return None
    if band.mode in ("1", "L"):
        return _alpha(np.asarray(band.convert("L")) == source.key[0] * 255 // (2**source.depth - 1))
    if band.mode.startswith("I"):
        return _alpha(np.asarray(band) == source.key[0])
    if band.mode == "RGB":
        return _alpha((np.asarray(band) == np.array(source.key)).all(axis=2))
    return None


def _alpha(transparent: NDArray[np.bool_]) -> Image.Image:
    return Image.fromarray(np.where(transparent, 0, 255).astype(np.uint8))
