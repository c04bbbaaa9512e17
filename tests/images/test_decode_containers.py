"""Files around the pixels: ends that are missing, metadata that is broken, other images that follow, names of files."""

import io
import struct

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from images.decode import decode
from images.errors import ImageError
from images.sniff import FORMATS, sniff
from models.data.image import read_image
from models.errors import DataError
from tests.images.containers import JPEGS, jpeg
from tests.images.crafted import (
    ALPHA,
    CASES,
    PALETTE,
    RGB,
    TURNED,
    decoded,
    pixels,
    save,
    save_two,
    scans,
    segment,
    with_segments,
)

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


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
    with pytest.raises(ImageError, match="an overlay of other images"):
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
