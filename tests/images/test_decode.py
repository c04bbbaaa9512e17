"""S1: hostile image bytes cannot hurt, and what is no attack is shown as a browser shows it."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from images.decode import decode
from images.errors import ImageError
from images.sniff import FORMATS
from tests.images.crafted import (
    ALPHA,
    CASES,
    GOOD,
    MAX_PIXELS,
    PALETTE,
    RGB,
    WIDE,
    decoded,
    exif,
    outcome,
    pixels,
    png,
    save,
    save_two,
    srgb_profile,
    tiff,
)

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # pytest undoes the filter that images.decode sets


@pytest.mark.parametrize("name", CASES)
def test_crafted(name: str) -> None:
    data, expected = CASES[name]
    assert outcome(data) == expected


def test_there_are_forty_crafted_files() -> None:
    assert len(CASES) >= 40


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("percent", range(5, 100, 5))
def test_truncated(format: str, percent: int) -> None:
    """A cut file is refused, or gives all its pixels when only its trailer was cut; never half an image."""
    data = save(RGB, format)
    cut = data[: len(data) * percent // 100]
    if outcome(cut) == GOOD:
        assert percent == 95 and (decoded(cut) == decoded(data)).all()
    else:
        allowed = {"image_truncated", "image_unreadable"}
        assert outcome(cut) in (allowed if len(cut) >= 16 else {"image_format_unsupported"})


def test_refusal_says_what_is_allowed() -> None:
    with pytest.raises(ImageError) as large:
        decode(png(6_000, 5_000), max_pixels=MAX_PIXELS)
    assert large.value.code == "image_too_large"
    assert large.value.details == {"width": 6_000, "height": 5_000, "max_pixels": MAX_PIXELS}
    with pytest.raises(ImageError) as unknown:
        decode(b"%PDF-1.7", max_pixels=MAX_PIXELS)
    allowed = ["png", "jpeg", "webp", "gif", "bmp", "tiff", "heic", "avif"]
    assert unknown.value.details == {"allowed": allowed, "found": "a PDF document"}
    assert unknown.value.message.startswith("The file is a PDF document, not an image in one of: png, jpeg")


# The image itself


def as_stored(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The rows and columns a camera stores for an image, by EXIF's own words: where row 0 and column 0 are."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1] if orientation in (3, 4) else image[:, ::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1] if orientation in (2, 3) else image[::-1]
    return np.ascontiguousarray(image)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(format: str, orientation: int) -> None:
    stored = Image.fromarray(as_stored(pixels(), orientation))
    options = {"lossless": True} if format == "WEBP" else {}
    assert (decoded(save(stored, format, exif=exif(orientation), **options)) == pixels()).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_a_jpeg(orientation: int) -> None:
    flat = np.zeros((32, 48, 3), np.uint8)
    flat[:16, :16] = 255  # one corner, on the borders of JPEG's blocks
    data = save(Image.fromarray(as_stored(flat, orientation)), "JPEG", exif=exif(orientation), subsampling=0)
    assert (decoded(data) == flat).all()


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_laid_over_white(format: str) -> None:
    color, alpha = np.asarray(ALPHA, np.float64)[..., :3], np.asarray(ALPHA, np.float64)[..., 3:]
    expected = np.floor((color * alpha + 255 * (255 - alpha)) / 255 + 0.5)
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    assert (decoded(save(ALPHA, format, **options)) == expected).all()


def test_transparent_palette_entry_is_white() -> None:
    index = np.asarray(PALETTE)
    expected = np.asarray(PALETTE.convert("RGB")).copy()
    expected[index == 3] = 255
    for format in ("PNG", "GIF"):
        assert (decoded(save(PALETTE, format, transparency=3)) == expected).all()


def test_palette_entries_with_alpha() -> None:
    alpha = bytes(range(0, 256, 8))
    expected = decoded(save(PALETTE.convert("RGB"), "PNG")).astype(np.float64)
    share = np.frombuffer(alpha, np.uint8)[np.asarray(PALETTE)][..., None] / 255
    assert np.abs(decoded(save(PALETTE, "PNG", transparency=alpha)) - (expected * share + 255 * (1 - share))).max() <= 1


def gray(levels: NDArray[Any]) -> NDArray[np.uint8]:
    return np.repeat(levels.astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_gray_keeps_its_top_byte(format: str) -> None:
    assert (decoded(save(Image.fromarray(WIDE), format)) == gray(WIDE >> 8)).all()


def test_16_bit_big_endian_tiff() -> None:
    body = WIDE.astype(">u2").tobytes()
    data = tiff(48, 32, (258, 3, 1, 16), (279, 4, 1, len(body)))
    swapped = b"MM\0*" + struct.pack(">I", 8 + len(body)) + body + _big_endian(data[8 + 48 * 32 :])
    assert (decoded(swapped) == gray(WIDE >> 8)).all()


def _big_endian(directory: bytes) -> bytes:
    count = struct.unpack_from("<H", directory)[0]
    entries = [struct.unpack_from("<HHII", directory, 2 + 12 * n) for n in range(count)]
    packed = [
        struct.pack(">HHI", *e[:3]) + struct.pack(">HH" if e[1] == 3 else ">I", e[3], *([0] * (e[1] == 3)))
        for e in entries
    ]
    return struct.pack(">H", count) + b"".join(packed) + bytes(4)


def test_16_bit_color_png() -> None:
    wide = np.stack([WIDE, WIDE[::-1], WIDE[:, ::-1]], axis=2)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in wide)
    assert (decoded(png(48, 32, depth=16, raw=rows)) == wide >> 8).all()


def test_32_bit_gray_tiff_is_clipped_to_16_bits() -> None:
    levels = np.where(WIDE > 60_000, 70_000, WIDE).astype(np.int32)
    assert (decoded(save(Image.fromarray(levels), "TIFF")) == gray(np.minimum(levels, 65_535) >> 8)).all()


def test_float_tiff_runs_from_0_to_1() -> None:
    levels = np.linspace(-0.5, 1.5, 48 * 32, dtype=np.float32).reshape(32, 48)
    expected = np.floor(np.clip(levels, 0, 1) * 255 + 0.5)
    assert np.abs(decoded(save(Image.fromarray(levels), "TIFF")).astype(int) - gray(expected)).max() <= 1
    assert decoded(save(Image.fromarray(np.full((32, 48), np.nan, np.float32)), "TIFF")).shape == (32, 48, 3)


def test_one_bit() -> None:
    bits = np.asarray(RGB.convert("1"))
    for format in ("PNG", "TIFF", "BMP"):
        assert (decoded(save(Image.fromarray(bits), format)) == gray(bits * 255)).all()


def test_cmyk() -> None:
    """C = 1 - R and so on with no black ink: a plain inversion, exact in TIFF and close in JPEG."""
    inks = Image.merge("CMYK", [*Image.fromarray(255 - pixels()).split(), Image.new("L", RGB.size)])
    assert (decoded(save(inks, "TIFF")) == pixels()).all()
    assert np.abs(decoded(save(inks, "JPEG", quality=100, subsampling=0)).astype(int) - pixels()).max() <= 6


def test_lab_tiff() -> None:
    lab = Image.merge("LAB", [Image.new("L", (32, 32), level) for level in (255, 128, 128)])
    assert (decoded(save(lab, "TIFF")) >= 254).all()


def test_first_frame_is_taken() -> None:
    for format in ("GIF", "WEBP", "PNG", "TIFF"):
        options = {"lossless": True} if format == "WEBP" else {}
        first = PALETTE.convert("RGB") if format == "GIF" else RGB
        assert (decoded(save_two(format, first, **options)) == np.asarray(first)).all()


def test_rgb_profile_is_converted() -> None:
    """In sRGB with its red and blue primaries exchanged, what is stored as red is seen as blue."""
    profile = srgb_profile()
    exchanged = profile.replace(b"rXYZ", b"?XYZ").replace(b"bXYZ", b"rXYZ").replace(b"?XYZ", b"bXYZ")
    data = save(RGB, "PNG", icc_profile=exchanged)
    assert np.abs(decoded(data).astype(int) - pixels()[..., ::-1]).max() <= 2
    assert np.abs(decoded(save(RGB, "PNG", icc_profile=profile)).astype(int) - pixels()).max() <= 1


@pytest.mark.slow
def test_fuzz() -> None:
    """The crafted and 5,000 damaged files: only 4xx responses, and the process stays under 512 MB."""
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root)}
    script = root / "tests/images/crafted.py"
    run = subprocess.run([sys.executable, str(script)], cwd=root, env=env, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr[-2_000:]
    result = json.loads(run.stdout)
    print(
        f"S1: {len(CASES)} crafted files and 5,000 mutations: {result['refused']} refused with 4xx, no other error,"
        f" peak {result['peak_mb']} MB"
    )
    assert result["peak_mb"] < 512
    assert 2_000 < result["refused"] < 5_000  # damage is met, and some of it only changes pixels
