"""Untrusted bytes in, upright 8-bit pixels in sRGB out, with bounded time and memory.

Metadata is taken out before a decoder sees the file, so that it cannot decide whether the image is accepted. What is
needed of it, the orientation and the color profile, is read apart and ignored where it is broken.
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

BAND_PIXELS = 1 << 18  # what is converted at once, so that no conversion holds a second copy of the image

# A header may be cut into millions of pieces, each of which takes a few reads and may copy what it likes of the file.
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
PngImagePlugin.MAX_TEXT_MEMORY = 8 * PngImagePlugin.MAX_TEXT_CHUNK  # text may grow fourfold when it becomes a str
# Damaged files make Pillow warn, in texts of the attacker's choosing; Python would remember every one of them.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True)
class Decoded:
    """An image made safe: upright, 8-bit sRGB, without metadata; RGBA where a pixel is not opaque, else RGB.

    source_format: png, jpeg, webp, gif, bmp, tiff, heic or avif. source_size: the upright width and height that the
    file declares, larger than the image's own where it was reduced.
    """

    image: Image.Image
    source_format: str
    source_size: tuple[int, int]


@dataclass(frozen=True)
class _Pixels:
    """Decoded pixels: a function from a first and last row to the rows between, and what is left to divide by."""

    size: tuple[int, int]
    rows: Callable[[int, int], Image.Image]
    left: int


@dataclass(frozen=True)
class _Opened:
    """A file whose header is read: what it declares, and a function that decodes it for a wanted division by 1 to 8."""

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
    """The image in `data`; of several frames or pages the first.

    EXIF orientation is applied and a color profile converted to sRGB. 16-bit samples keep their top byte, floats run
    from 0 (black) to 1 (white). Above `kept_pixels` the sides are divided by 2, 4 or 8; a JPEG already where its
    shorter side keeps at least `enough` pixels.

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
    """The image as RGB, what is transparent laid over white."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image, mask=image)
    return canvas


# --- headers ---------------------------------------------------------------------------------------------------------


class CountedReads(io.BytesIO):
    """A file in memory that refuses to be read more than `reads_left` times, or more bytes than `bytes_left`."""

    reads_left = _HEADER_READS
    bytes_left = 1 << 20

    def read(self, size: int | None = -1, /) -> bytes:
        """Reads as any file does; raises OSError past a limit."""
        data = super().read(size)
        self.reads_left -= 1
        self.bytes_left -= len(data)
        if self.reads_left < 0 or self.bytes_left < 0:
            raise OSError("the file is cut into too many pieces")
        return data


def open_header(data: bytes, image_format: str) -> ImageFile.ImageFile:
    """An image of Pillow with its header read, in few reads, and no pixel decoded; raises whatever Pillow does."""
    file = CountedReads(data)
    file.bytes_left += 2 * len(data)
    image = Image.open(file, formats=(image_format,))
    file.reads_left, file.bytes_left = 1_000 + len(data) // 100, 1 << 62
    return image


def _open(data: bytes, image_format: str, max_pixels: int) -> _Opened:
    if image_format == "AVIF":
        check_avif(data, min(max_pixels, KEPT_PIXELS))
        if data[8:12] == b"avis":
            data = data[:8] + b"avif" + data[12:]  # of a sequence, the still image that it also has
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
    """Without its EXIF where that is broken, since Pillow reads it to add the container's own rotation."""
    try:
        return open_header(data, image_format)
    except Exception:  # whatever Pillow's reader of EXIF raises; what is wrong with the pixels is raised again
        return open_header(data.replace(b"Exif", b"none"), image_format)


def _most_pixels(image_format: str, source: Source) -> int:
    """What 400 MB allow: these take 9 to 16 bytes a pixel; 16-bit color with a transparent color is decoded twice."""
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
    """What the sides are divided by."""
    factor = 1
    while (size[0] // factor) * (size[1] // factor) > kept_pixels:
        factor *= 2
    if enough is not None:
        factor = max([factor, *(halved for halved in (2, 4, 8) if min(size) // halved >= enough)])
    return factor


@contextmanager
def _decoding(error: ImageError, max_pixels: int) -> Iterator[None]:
    """Turns whatever a decoder raises into `error`.

    Every exception is meant: over the years Pillow's decoders have raised nearly all that Python has, MemoryError and
    AssertionError included, and what they raise on untrusted bytes says something about the bytes.
    """
    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError as bomb:  # Pillow's own limit, which it checks before the size can be asked
        message = f"The image has far too many pixels; {max_pixels} in all are allowed."
        raise ImageError("image_too_large", message, max_pixels=max_pixels) from bomb
    except Exception as unexpected:
        raise error from unexpected


# --- pixels ----------------------------------------------------------------------------------------------------------


def _load(image: Image.Image, source: Source, factor: int) -> _Pixels:
    image.load()
    return _Pixels(image.size, lambda top, bottom: image.crop((0, top, image.width, bottom)), factor)


def _load_jpeg(image: ImageFile.ImageFile, source: Source, factor: int) -> _Pixels:
    """Decodes at the fraction; a file without end marker twice, to see whether bytes that are no pixels matter."""
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
    """Decodes 16-bit color with a transparent color twice, since Pillow keeps the high bytes of samples alone."""
    key = source.key
    if source.depth < 16 or key is None or image.mode != "RGB":
        return _load(image, source, factor)
    low = open_header(source.data, "PNG")
    low.tile = [tile._replace(args="RGB;16L") for tile in low.tile]  # of big-endian samples, the low bytes
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
    """The pixels of a file, a band at a time: to 8 bits, to sRGB, reduced."""
    pixels = opened.load(factor)
    (width, height), left = pixels.size, pixels.left
    mode = "RGBA" if opened.may_be_transparent else "RGB"
    made = Image.new(mode, (-(-width // left), -(-height // left)))
    convert = to_srgb(opened.source.profile, _stored_as(opened.mode))
    step = max(left, BAND_PIXELS // width // left * left)
    for top in range(0, height, step):
        band = _srgb(pixels.rows(top, min(top + step, height)), opened.source, convert)
        if left > 1:  # premultiplied, so that colors of transparent pixels do not count
            band = band.convert("RGBa").reduce(left).convert("RGBA") if band.mode == "RGBA" else band.reduce(left)
        made.paste(band, (0, top // left))
    return made


def _stored_as(mode: str) -> str:
    """The kind of color of a mode: L, CMYK or RGB."""
    if mode in ("1", "L", "LA", "La", "I", "F") or mode.startswith("I;16"):
        return "L"
    return "CMYK" if mode == "CMYK" else "RGB"


def _srgb(band: Image.Image, source: Source, convert: ToRGB) -> Image.Image:
    """A band as 8-bit RGB or RGBA in sRGB."""
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
        rgb.paste("white", mask=alpha.point(lambda value: 255 * (value == 0)))  # so that equal looks are equal bytes
        rgb.putalpha(alpha)
    return rgb


def _eight_bits(image: Image.Image, depth: int) -> Image.Image:
    """16-bit gray keeps its top byte, as Pillow does for color; float gray runs from 0 to 1; both are clipped."""
    if image.mode.startswith("I"):
        levels = np.clip(np.asarray(image), 0, 65_535).astype(np.uint16) >> (depth - 8 if depth == 12 else 8)
        return Image.fromarray(levels.astype(np.uint8))
    if image.mode == "F":
        shares = np.clip(np.nan_to_num(np.asarray(image), nan=0.0), 0, 1)
        return Image.fromarray((shares * 255 + 0.5).astype(np.uint8))
    return image.convert("L") if image.mode == "1" else image


def _alpha_of_key(band: Image.Image, source: Source) -> Image.Image | None:
    """0 where all samples are the transparent color's, at the file's depth, else 255; None without such a color."""
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
