"""Broken metadata is passed over; orientations are applied."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from images.decode import decode
from models.data.image import read_image
from tests.images.crafted import (
    RGB,
    chunk,
    decoded,
    exif,
    pixels,
    save,
    segment,
    with_chunks,
    with_segments,
)

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

# Metadata

JUNK = {
    "junk": b"junkjunkjunk",
    "empty": b"",
    "short tiff": b"MM\0*",
    "directory behind the end": b"II*\0\xff\xff\xff\x7f",
    "directory cut off": b"II*\0\x08\0\0\0\xff\0" + struct.pack("<HHI", 0x112, 3, 1),
    "orientation as text": b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHI4s", 0x112, 2, 4, b"abc\0") + bytes(4),
    "orientation 99": exif(99)[6:],
    "two orientations": b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHIHH", 0x112, 3, 2, 6, 6) + bytes(4),
    "65,535 tags of 5 MB each": b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 700, 7, 5 << 20, 0) * 4_000,
}

XMP = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta <<< not XML \xff\xfe"


@pytest.mark.parametrize("name", JUNK)
def test_broken_exif_is_no_orientation(name: str) -> None:
    body = JUNK[name]
    jpeg_data, webp_data = save(RGB, "JPEG"), save(RGB, "WEBP", lossless=True)
    short = body[:60_000]
    files = {
        "jpeg": with_segments(segment(0xE1, b"Exif\0\0" + short), jpeg_data),
        "jpeg twice": with_segments(segment(0xE1, b"Exif\0\0" + short) * 2, jpeg_data),
        "png": with_chunks(chunk(b"eXIf", body)),
        "png text": with_chunks(
            chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n9\n" + body.hex().encode()))
        ),
        "webp": save(RGB, "WEBP", lossless=True, exif=body) if body else webp_data,
        "heic": _with_exif(save(RGB, "HEIC", exif=exif(1, 200)), short),
        "avif": _with_exif(save(RGB, "AVIF", exif=exif(1, 200)), short),
    }
    for kind, data in files.items():
        image = decode(data)
        assert image.image.size == (48, 32), kind
        read_image(data, 16, 3)


def _with_exif(data: bytes, body: bytes) -> bytes:
    """A file whose EXIF of about 230 bytes is overwritten by other bytes."""
    at = data.index(b"MM\0*")
    body = body[:200].ljust(200, b"\xaa")
    return data[:at] + body + data[at + 200 :]


def test_a_broken_first_exif_does_not_hide_a_good_second_one() -> None:
    data = with_segments(segment(0xE1, b"Exif\0\0bad!") + segment(0xE1, b"Exif\0\0" + exif(6)[6:]), save(RGB, "JPEG"))
    assert decode(data).image.size == (32, 48)


def test_broken_metadata_of_every_other_kind() -> None:
    whole, jpeg_data = save(RGB, "PNG"), save(RGB, "JPEG")
    bad_sum = chunk(b"tEXt", b"Author\0me")[:-1] + b"\0"
    ancillary = [
        bad_sum,
        chunk(b"pHYs", b"\0"),
        chunk(b"gAMA", b""),
        chunk(b"cHRM", b"\0" * 5),
        chunk(b"sRGB", b""),
        chunk(b"iCCP", b""),
        chunk(b"iCCP", b"name\0\7" + bytes(9)),
        chunk(b"iCCP", b"name\0\0not zlib"),
        chunk(b"zTXt", b"key\0\7text"),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0not zlib"),
        chunk(b"acTL", b"\0"),
        chunk(b"fcTL", b"\0" * 26),
        chunk(b"tIME", b"\0"),
        chunk(b"tRNS", b"")[:-1] + b"\0",
    ]
    for extra in ancillary:
        assert (decoded(with_chunks(extra)) == pixels()).all(), extra
        assert (decoded(whole[:-12] + extra + whole[-12:]) == pixels()).all(), extra
    segments = [
        segment(0xE1, XMP),
        segment(0xE2, b"ICC_PROFILE\0"),
        segment(0xE2, b"ICC_PROFILE\0\1\2half of it"),
        segment(0xE2, b"MPF\0"),
        segment(0xED, b"Photoshop 3.0\0008BIM\4\4"),
        segment(0xFE, b""),
        b"\xff\xff\xff",
    ]
    for extra in segments:
        assert (decoded(with_segments(extra)) == decoded(jpeg_data)).all(), extra


@pytest.mark.parametrize("tag", [282, 296, 305, 306, 700, 33432, 34377, 34675, 34665, 34853, 274])
@pytest.mark.parametrize("kind", [0, 2, 3, 5, 7, 13, 99])
def test_broken_tags_of_a_tiff_do_not_matter(tag: int, kind: int) -> None:
    """Resolutions, programs, XMP, EXIF and so on, of wrong types and pointing behind the end."""
    data = save(RGB, "TIFF", exif=exif(1), dpi=(72, 72))
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    entries = [data[at + 2 + 12 * n : at + 14 + 12 * n] for n in range(count)]
    broken = struct.pack("<HHII", tag, kind, 5, 0xFFFFFF)
    entries = sorted([e for e in entries if e[:2] != broken[:2]] + [broken], key=lambda e: struct.unpack("<H", e[:2]))
    body = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    moved = data[:4] + struct.pack("<I", len(data)) + data[8:] + body
    assert (decoded(moved) == pixels()).all()


def test_xmp_gives_a_png_its_orientation_where_exif_gives_none() -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    text = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    assert decode(with_chunks(text)).image.size == (32, 48)
    assert decode(with_chunks(text + chunk(b"eXIf", exif(1)[6:]))).image.size == (48, 32)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["HEIC", "AVIF"])
def test_orientation_of_phone_files(format: str, orientation: int) -> None:
    """Both store the turn in their container; EXIF says it again and must not turn the image twice."""
    flat = np.zeros((32, 48, 3), np.uint8)
    flat[:16, :16] = 255
    turned = {5, 6, 7, 8}
    stored = Image.fromarray(flat)
    found = decoded(save(stored, format, exif=exif(orientation))).astype(int)
    assert found.shape == ((48, 32, 3) if orientation in turned else (32, 48, 3))
    corners = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}
    row, column = corners[orientation]
    for y in (0, -1):
        for x in (0, -1):
            assert abs(found[y, x].mean() - (255 if (y, x) == (row, column) else 0)) < 40
