"""Files around the pixels: ends that are missing, metadata that is broken, other images that follow, names of files."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from images.decode import decode
from images.errors import ImageError
from images.sniff import FORMATS, sniff
from models.data.image import read_image
from models.errors import DataError
from tests.images.crafted import (
    ALPHA,
    CASES,
    PALETTE,
    RGB,
    TURNED,
    chunk,
    decoded,
    exif,
    pixels,
    save,
    save_two,
    scans,
    segment,
    with_chunks,
    with_segments,
)

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

# Ends of JPEG files


def photo(side: int = 64) -> Image.Image:
    return Image.fromarray(pixels(side, side))


JPEGS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "4:4:4": {"subsampling": 0},
    "progressive": {"progressive": True},
    "restart markers": {"restart_marker_blocks": 2},
    "flat": {},
    "grey": {},
    "cmyk": {},
    "cmyk progressive": {"progressive": True},
}


def jpeg(kind: str) -> bytes:
    modes = {"grey": "L", "cmyk": "CMYK", "cmyk progressive": "CMYK"}
    image = Image.new("RGB", (64, 64), (90, 120, 60)) if kind == "flat" else photo()
    return save(image.convert(modes.get(kind, "RGB")), "JPEG", **JPEGS[kind])


@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_without_its_end_marker_is_whole(kind: str) -> None:
    data = jpeg(kind)
    assert data.endswith(b"\xff\xd9")
    ends = {"none": b"", "half": b"\xff", "filled": b"\xff\xff\xff", "garbage": b"\xff\xd9" + b"trailing" * 99}
    for end in ends.values():
        assert (decoded(data[:-2] + end) == decoded(data)).all()


@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_that_is_cut_is_refused_unless_no_pixel_is_missing(kind: str) -> None:
    data = jpeg(kind)
    first_scan = data.index(b"\xff\xda")
    cuts = [*range(first_scan, len(data) - 40, 37), *range(len(data) - 40, len(data))]
    refused = 0
    for cut in cuts:
        try:
            assert np.abs(decoded(data[:cut]).astype(int) - decoded(data)).max() <= 2, cut
        except ImageError as error:
            assert error.code == "image_truncated"
            refused += 1
    assert refused > 0.8 * len(cuts) or kind == "flat"


def test_a_progressive_jpeg_cut_between_two_scans_is_refused() -> None:
    data = jpeg("progressive")
    starts = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    for start in starts[1:]:
        with pytest.raises(ImageError) as error:
            decode(data[:start])
        assert error.value.code == "image_truncated"


def test_a_jpeg_cut_in_its_header_is_refused_as_cut() -> None:
    data = jpeg("baseline")
    for cut in range(4, data.index(b"\xff\xda"), 29):
        with pytest.raises(ImageError) as error:
            decode(data[:cut])
        assert error.value.code == "image_truncated"


@pytest.mark.parametrize("cut", [1, 4, 8, 12, 16, 20])
def test_a_png_without_its_last_bytes_is_whole(cut: int) -> None:
    """IEND has 12 bytes, the checksum before it 4, and that of the compressed pixels 4 more."""
    data = save(RGB, "PNG")
    assert (decoded(data[:-cut]) == pixels()).all()


# Several images in a file


def test_of_an_mpo_the_first_image_is_taken_and_the_second_does_not_matter() -> None:
    data = save_two("MPO", quality=95)
    second = data.index(b"\xff\xd8\xff", 10)
    assert Image.open(io.BytesIO(data)).format == "MPO"
    for variant in (
        data,
        data[:second],
        data[: second + 99],
        data[:second] + b"\xff\xd8\xff" + b"\xff\xda\0\x0c" * 999,
    ):
        assert np.abs(decoded(variant).astype(int) - decoded(save(RGB, "JPEG", quality=95))).max() == 0


def test_scans_are_counted_in_an_mpo_by_an_upload_and_in_a_zip_alike() -> None:
    mpf = segment(0xE2, b"MPF\0" + save_two("MPO").partition(b"MPF\0")[2][:82])
    bomb = with_segments(mpf, scans(1_000))
    assert Image.open(io.BytesIO(bomb)).format == "MPO"
    with pytest.raises(ImageError, match="more than 100 scans"):
        decode(bomb)
    with pytest.raises(DataError, match="more than 100 scans"):
        read_image(bomb, 16, 3)


def test_a_thumbnail_and_what_follows_are_no_scans() -> None:
    """A motion photo carries a film, a camera's file a preview: a hundred markers in them are not the image's."""
    inside = with_segments(segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\0\0" + b"\xff\xda\0\x08" * 500), jpeg("baseline"))
    assert (decoded(inside + b"\xff\xda\0\x08" * 500) == decoded(jpeg("baseline"))).all()


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


# Phone files


@pytest.mark.parametrize("format", ["HEIC", "AVIF"])
def test_phone_files_with_alpha(format: str) -> None:
    found = decode(save(ALPHA, format)).image
    assert found.mode == "RGBA"
    assert np.abs(np.asarray(found)[..., 3].astype(int) - np.asarray(ALPHA)[..., 3]).max() <= 6


def test_a_heic_of_ten_bits_and_of_tiles() -> None:
    wide = (np.asarray(RGB.resize((192, 128))).astype(np.uint16)) << 8
    file = io.BytesIO()
    pillow_heif.from_bytes("RGB;16", (192, 128), wide.tobytes()).save(file, quality=95, chroma=444)
    assert np.abs(decoded(file.getvalue()).astype(int) - (wide >> 8)).mean() < 3
    tiled = io.BytesIO()
    pillow_heif.from_pillow(RGB.resize((192, 128))).save(tiled, quality=95, chroma=444, tile_size=64)
    assert np.abs(decoded(tiled.getvalue()).astype(int) - np.asarray(RGB.resize((192, 128)))).mean() < 3


def test_a_heic_of_overlays_or_of_more_tiles_than_it_needs_is_refused() -> None:
    """They may decode one frame thousands of times."""
    file = io.BytesIO()
    pillow_heif.from_pillow(RGB.resize((256, 192))).save(file, quality=50, tile_size=64)
    data = file.getvalue()
    assert decode(data).image.size == (256, 192)
    overlaid = data.replace(b"grid", b"iovl", 1)
    with pytest.raises(ImageError, match="laid over other images"):
        decode(overlaid)
    many = data.replace(struct.pack(">II", 256, 192), struct.pack(">II", 64, 64), 1)
    with pytest.raises(ImageError, match="more tiles than its size needs"):
        decode(many)


@pytest.mark.parametrize("format", ["HEIC", "AVIF"])
def test_every_cut_of_the_boxes_is_refused(format: str) -> None:
    data = save(RGB, format)
    for cut in range(12, data.index(b"mdat"), 3):
        with pytest.raises(ImageError):
            decode(data[:cut])


def test_an_avif_sequence_gives_its_still_image() -> None:
    data = save_two("AVIF", quality=90)
    assert data[8:12] == b"avis"
    assert np.abs(decoded(data).astype(int) - pixels()).mean() < 4


# What a file is


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"%PDF-1.7", "a PDF document"),
        (b"8BPS\0\1", "a Photoshop file"),
        (b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg>", "an SVG drawing"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"PK\3\4", "a zip archive"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "a video"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0", "a video"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "a Canon raw photo"),
        (b"\xff\x0a", "a JPEG XL image"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
        (b"P6\n9 9\n255\n", "a Netpbm image"),
        (b'{"error": "expired"}', "a JSON document"),
    ],
)
def test_a_file_that_is_no_image_is_named(data: bytes, what: str) -> None:
    with pytest.raises(ImageError, match=f"The file is {what}, not an image in one of: png, jpeg") as error:
        decode(data)
    assert (error.value.code, error.value.details["found"]) == ("image_format_unsupported", what)


@pytest.mark.parametrize("format", FORMATS)
def test_formats_are_recognized_by_their_bytes(format: str) -> None:
    assert sniff(save(PALETTE if format == "GIF" else RGB, format)) == format


@pytest.mark.parametrize(
    ("brands", "format"),
    [
        (b"heic\0\0\0\0mif1heic", "HEIC"),
        (b"mif1\0\0\0\0mif1heic", "HEIC"),
        (b"mif1\0\0\0\0mif1avifmiaf", "AVIF"),
        (b"avif\0\0\0\0avifmif1miaf", "AVIF"),
        (b"heix\0\0\0\0heix", "HEIC"),
        (b"hevc\0\0\0\0msf1hevcheic", "HEIC"),
    ],
)
def test_phone_formats_are_recognized_by_their_brands(brands: bytes, format: str) -> None:
    assert sniff(struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands) == format


def test_a_heic_that_cannot_be_read_is_named() -> None:
    data = struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + struct.pack(">I", 8) + b"mdat" + bytes(500)
    with pytest.raises(ImageError, match="The HEIC file's header cannot be read"):
        decode(data)


# One decoder


@pytest.mark.parametrize("name", CASES)
def test_an_entry_of_a_zip_is_decoded_as_an_upload_is(name: str) -> None:
    """Refused for the same reason, or the same pixels; only small images are for data sets alone."""
    data, expected = CASES[name]
    if expected in ("image_too_small", "image_too_large"):
        return
    try:
        size = decode(data).image.size
    except ImageError as error:
        with pytest.raises(DataError) as refused:
            read_image(data, 8, 3)
        assert str(refused.value) == error.message
    else:
        assert size == expected
        assert read_image(data, 8, 3).shape == (8, 8, 3)


def test_frames_behind_the_first_are_not_decoded() -> None:
    """A broken second frame does not matter."""
    gif = save_two("GIF", PALETTE.convert("RGB"))
    assert (decoded(gif[:-30]) == decoded(gif)).all()
    tiff = save(RGB, "TIFF", save_all=True, append_images=[TURNED.copy()])
    assert (decoded(tiff) == pixels()).all()
    apng = save_two("PNG")
    assert (decoded(apng[: apng.index(b"fdAT") - 4]) == pixels()).all()
