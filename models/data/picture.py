"""One picture of a stranger, made square, upright and 8-bit.

The same limits hold as at the API's door (jobs/images.py), which this package must not import.
"""

import io
import re
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from models.data.dataset import DataError

MAX_PIXELS = 50_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TOP_BYTE = [value >> 8 for value in range(65536)]

# A progressive JPEG may hold any number of scans of 42 bytes, each a pass over all its pixels; encoders write about
# ten. A header may be cut into millions of pieces, some of which Pillow joins in quadratic time: reads are counted.
_SCAN_MARKER = re.compile(rb"\xff\xda\0[\x06-\x0e]")
_MAX_SCANS = 100
_HEADER_READS = 4_000

# Damaged files make Pillow warn, in texts of the attacker's choosing; Python would remember every one of them.
warnings.filterwarnings("ignore", module=r"PIL\.")


def read_picture(data: bytes, size: int, channels: int, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """The centre square of one picture as (size, size, channels), upright and over white; the first frame of several.

    Raises DataError for what is no picture in one of `FORMATS`, is damaged, or declares more than `max_pixels`.
    """
    try:
        return _decode(data, size, channels, max_pixels)
    except DataError:
        raise
    except Image.DecompressionBombError as error:  # Pillow's own limit, which it checks before the size can be asked
        raise DataError(f"far too many pixels; {max_pixels} in all are allowed") from error
    except Exception as error:  # Pillow's decoders raise nearly all that Python has; here it speaks of the bytes
        raise DataError(f"not a whole picture in one of {', '.join(FORMATS)}") from error


class _CountedReads(io.BytesIO):
    reads_left = _HEADER_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise OSError("the file is cut into too many pieces")
        return super().read(size)


def _decode(data: bytes, size: int, channels: int, max_pixels: int) -> NDArray[np.uint8]:
    file = _CountedReads(data)
    with Image.open(file, formats=FORMATS) as image:
        _check_header(image, data, max_pixels)
        file.reads_left = 1_000 + len(data) // 100
        # A JPEG of a camera is decoded at a half, quarter or eighth, still at least four times the size wanted.
        image.draft(None, (4 * size, 4 * size))
        image.load()
        orientation = image.getexif().get(ExifTags.Base.Orientation)
        small = _square(_over_white(_eight_bits(image)), size)
    if orientation in _UPRIGHT:
        small = small.transpose(_UPRIGHT[orientation])
    pixels = np.asarray(small.convert("L" if channels == 1 else "RGB"))
    return pixels.reshape(size, size, channels)


def _check_header(image: Image.Image, data: bytes, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise DataError(f"{width} x {height} pixels; {max_pixels} in all are allowed")
    if image.format == "JPEG" and sum(1 for _ in _SCAN_MARKER.finditer(data)) > _MAX_SCANS:
        raise DataError(f"a JPEG of more than {_MAX_SCANS} scans")


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey keeps its top byte, as Pillow does for colour; float grey runs from 0 to 1; both are clipped."""
    if image.mode.startswith("I"):
        return image.convert("I").point(_TOP_BYTE, "L")
    if image.mode == "F":
        return image.point(lambda value: value * 255 + 0.5).convert("L")
    return image


def _over_white(image: Image.Image) -> Image.Image:
    """As L where it is grey without alpha, so that grey stays exact, and RGB otherwise."""
    if not image.has_transparency_data:
        return image.convert("L" if image.mode in ("1", "L") else "RGB")
    rgba = image.convert("RGBA")
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(rgba, mask=rgba)
    return canvas


def _square(image: Image.Image, size: int) -> Image.Image:
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.LANCZOS)
