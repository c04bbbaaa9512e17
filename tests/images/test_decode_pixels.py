"""Every depth, color and transparency that files have, by pixel values worked out by hand."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from images.decode import decode, over_white
from images.errors import ImageError
from tests.images.crafted import RGB, chunk, decoded, pixels, png, save, srgb_profile, tiff, webp
from tests.images.profiles import DISPLAY_P3, LINEAR_GRAY, press
from tests.stack import ROOT

Array = NDArray[Any]


def alpha_of(data: bytes) -> Array:
    image = decode(data).image
    return np.asarray(image.getchannel("A")) if image.mode == "RGBA" else np.full((image.height, image.width), 255)


def gray(levels: Array) -> Array:
    return np.repeat(np.asarray(levels, np.int64)[..., None], 3, axis=2)


# PNG


def packed(samples: Array, depth: int) -> bytes:
    """The rows of a PNG without filter, from samples of shape (h, w) or (h, w, channels)."""
    rows = samples.reshape(len(samples), -1)
    if depth == 16:
        return b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    bits = np.unpackbits(rows.astype(np.uint8)[..., None], axis=2)[..., 8 - depth :].reshape(len(rows), -1)
    return b"".join(b"\0" + np.packbits(row).tobytes() for row in bits)


def ramp(depth: int) -> Array:
    """Every level that a depth has, or 1024 of its 65,536, in 32 rows."""
    levels = np.arange(1024) % 2**depth if depth < 16 else np.arange(1024) * 64 + np.arange(1024) % 64
    return levels.reshape(32, 32)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_gray_png_and_its_transparent_level(depth: int) -> None:
    samples = ramp(depth)
    expected = samples >> 8 if depth == 16 else samples * 255 // (2**depth - 1)
    assert (decoded(png(32, 32, depth=depth, color=0, raw=packed(samples, depth))) == gray(expected)).all()
    key = int(samples[3, 5])
    marked = png(
        32, 32, depth=depth, color=0, raw=packed(samples, depth), chunks=chunk(b"tRNS", struct.pack(">H", key))
    )
    assert (alpha_of(marked) == np.where(samples == key, 0, 255)).all()
    assert (decoded(marked) == gray(np.where(samples == key, 255, expected))).all()


@pytest.mark.parametrize("depth", [8, 16])
def test_color_png_and_its_transparent_color(depth: int) -> None:
    """Of 16 bits many colors have the same top bytes; only the one itself is transparent."""
    levels = ramp(depth)
    samples = np.stack([levels, levels[::-1], levels.T], axis=2)
    if depth == 16:
        samples[0, :, :] = [[0x1234, 0x5678, 0x9ABC + n] for n in range(32)]
    key = samples[0, 7]
    tag = chunk(b"tRNS", struct.pack(">3H", *map(int, key)))
    found = png(32, 32, depth=depth, color=2, raw=packed(samples, depth), chunks=tag)
    transparent = (samples == key).all(axis=2)
    assert transparent.sum() == 1 or depth == 8
    assert (alpha_of(found) == np.where(transparent, 0, 255)).all()
    expected = samples >> (depth - 8)
    expected[transparent] = 255
    assert (decoded(found) == expected).all()


def test_bits_of_a_key_above_its_depth_do_not_count() -> None:
    samples = ramp(4)
    tag = chunk(b"tRNS", struct.pack(">H", 0xFF00 | 5))
    found = png(32, 32, depth=4, color=0, raw=packed(samples, 4), chunks=tag)
    assert (alpha_of(found) == np.where(samples == 5, 0, 255)).all()


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palette_png_with_alpha(depth: int) -> None:
    n = 2**depth
    colors = np.random.default_rng(depth).integers(0, 256, (n, 3), np.uint8)
    alpha = np.linspace(0, 255, n).astype(np.uint8)
    chunks = chunk(b"PLTE", colors.tobytes()) + chunk(b"tRNS", alpha.tobytes())
    found = png(32, 32, depth=depth, color=3, raw=packed(ramp(depth), depth), chunks=chunks)
    share = alpha[ramp(depth)][..., None] / 255
    assert (alpha_of(found) == alpha[ramp(depth)]).all()
    assert np.abs(decoded(found) - (colors[ramp(depth)] * share + 255 * (1 - share))).max() <= 1


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("color_type", [4, 6])
def test_png_with_an_alpha_channel(depth: int, color_type: int) -> None:
    samples = np.random.default_rng(0).integers(0, 2**depth, (32, 32, 2 if color_type == 4 else 4))
    found = png(32, 32, depth=depth, color=color_type, raw=packed(samples, depth))
    eight = samples >> (depth - 8)
    assert (alpha_of(found) == eight[..., -1]).all()
    color = gray(eight[..., 0]) if color_type == 4 else eight[..., :3]
    visible = eight[..., -1] > 0
    stored = np.asarray(decode(found).image.convert("RGBA"))[..., :3]
    assert (stored[visible] == color[visible]).all()


def test_what_is_transparent_has_no_color_that_is_kept() -> None:
    """Two images that look alike are equal, whatever a program left below the transparency."""
    one, two = (Image.new("RGBA", (32, 32), (level, 0, level, 0)) for level in (10, 200))
    assert decode(save(one, "PNG")).image.tobytes() == decode(save(two, "PNG")).image.tobytes()


# TIFF

ORDERS: dict[str, Literal["<", ">"]] = {"II": "<", "MM": ">"}


def tiff_file(order: str, samples: bytes, size: tuple[int, int], depth: int, white_is_0: bool, *more: Any) -> bytes:
    """A gray TIFF of one strip, its samples packed already; `more` are further tags of short integers."""
    sign = ORDERS[order]
    tags = {256: size[0], 257: size[1], 258: depth, 259: 1, 262: int(not white_is_0), 273: 8, 277: 1, 278: size[1]}
    tags |= {279: len(samples)} | dict(more)
    body = struct.pack(sign + "H", len(tags))
    for tag, value in sorted(tags.items()):
        long = tag in (273, 279)
        body += struct.pack(sign + "HHI", tag, 4 if long else 3, 1)
        body += struct.pack(sign + ("I" if long else "HH"), *([value] if long else [value, 0]))
    return order.encode() + struct.pack(sign + "HI", 42, 8 + len(samples)) + samples + body + bytes(4)


@pytest.mark.parametrize("white_is_0", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16, 32])
@pytest.mark.parametrize("order", ORDERS)
def test_gray_tiff(order: str, depth: int, white_is_0: bool) -> None:
    if depth == 32:
        shares = np.linspace(-0.25, 1.25, 1024).reshape(32, 32)
        raw, more = shares.astype(ORDERS[order] + "f4").tobytes(), [(339, 3)]
        expected = np.floor(np.clip(shares, 0, 1) * 255 + 0.5)
    else:
        samples, more = ramp(depth), []
        raw = packed(samples, depth) if depth < 16 else samples.astype(ORDERS[order] + "u2").tobytes()
        raw = (
            raw
            if depth == 16
            else b"".join(raw[at + 1 : at + 1 + 4 * depth] for at in range(0, len(raw), 4 * depth + 1))
        )
        expected = samples >> 8 if depth == 16 else samples * 255 // (2**depth - 1)
    found = decoded(tiff_file(order, raw, (32, 32), depth, white_is_0, *more)).astype(int)
    assert np.abs(found - gray(255 - expected if white_is_0 else expected)).max() <= (1 if depth == 32 else 0)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("order", ORDERS)
def test_16_bit_gray_tiff_of_another_program(order: str, photometric: str, compression: str | None) -> None:
    """Written by tifffile; little-endian ones also as BigTIFF."""
    samples = ramp(16).astype(np.uint16)
    for big in (False, True)[: 1 + (order == "II")]:
        file = io.BytesIO()
        options: dict[str, Any] = {"photometric": photometric, "compression": compression}
        tifffile.imwrite(file, samples, byteorder=ORDERS[order], bigtiff=big, **options)
        expected = samples >> 8
        found = decoded(file.getvalue())
        assert (found == gray(255 - expected if photometric == "miniswhite" else expected)).all()


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("extra", ["assocalpha", "unassalpha", "unspecified"])
@pytest.mark.parametrize("order", ORDERS)
def test_color_tiff_with_a_fourth_sample(order: str, extra: str, depth: int) -> None:
    """Alpha whose color is multiplied already, alpha whose color is not, and something that is no alpha."""
    rng = np.random.default_rng(0)
    color, alpha = rng.integers(0, 256, (32, 32, 3)), rng.integers(1, 256, (32, 32, 1))
    stored = color * alpha // 255 if extra == "assocalpha" else color
    samples = np.concatenate([stored, alpha], axis=2).astype(np.uint8)
    file = io.BytesIO()
    wide = samples.astype(np.uint16) * 257 if depth == 16 else samples
    tifffile.imwrite(file, wide, byteorder=ORDERS[order], photometric="rgb", extrasamples=[extra])
    share = alpha / 255
    expected = color if extra == "unspecified" else color * share + 255 * (1 - share)
    assert np.abs(decoded(file.getvalue()) - expected).max() <= (3 if extra == "assocalpha" else 1)


def test_12_bit_tiff() -> None:
    levels = np.arange(1024).reshape(32, 32) * 4
    bits = ((levels[..., None] >> np.arange(11, -1, -1)) & 1).reshape(32, -1).astype(np.uint8)
    found = decoded(tiff_file("II", np.packbits(bits, axis=1).tobytes(), (32, 32), 12, False))
    assert (found == gray(levels >> 4)).all()


# CMYK


def stored_components(samples: Array, transform: int | None) -> bytes:
    """A JPEG that stores these four components, with Adobe's marker of this transform or without."""
    data = save(Image.fromarray(255 - samples.astype(np.uint8), "CMYK"), "JPEG", quality=100, subsampling=0)
    at = data.index(b"\xff\xee")
    end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
    if transform is None:
        return data[:at] + data[end:]
    return data[: end - 1] + bytes([transform]) + data[end:]


def inks() -> Array:
    """Eight patches of cyan, magenta, yellow and black from 0 to 255, (32, 32, 4)."""
    patches = np.array(
        [[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 0, 0], [0, 0, 255, 0], [0, 0, 0, 255], [40, 200, 90, 60]]
    )
    return patches[np.arange(32) * 6 // 32][None].repeat(32, axis=0)


def plain(cmyk: Array) -> Array:
    share = 1 - cmyk / 255
    return 255.0 * share[..., :3] * share[..., 3:]


@pytest.mark.parametrize("transform", [None, 0])
def test_cmyk_jpeg_is_stored_inverted(transform: int | None) -> None:
    found = decoded(stored_components(255 - inks(), transform)).astype(int)
    columns = [2, 8, 13, 18, 24, 29]
    assert np.abs(found[:, columns] - plain(inks())[:, columns]).max() <= 6


def test_ycck_jpeg_is_what_adobes_marker_says() -> None:
    """libjpeg takes R, G and B of YCC for the complements of the stored C, M and Y, which are complements of inks."""
    ycc = np.asarray(Image.fromarray(inks()[..., :3].astype(np.uint8)).convert("YCbCr"))
    samples = np.concatenate([ycc, 255 - inks()[..., 3:]], axis=2)
    columns = [2, 8, 13, 18, 24, 29]
    found = decoded(stored_components(samples, 2)).astype(int)
    assert np.abs(found[:, columns] - plain(inks())[:, columns]).max() <= 8
    # Without the marker nothing says that it is YCCK: browsers and libjpeg show the components as inks.
    unmarked = decoded(stored_components(samples, None)).astype(int)
    assert np.abs(unmarked[:, columns] - plain(255 - samples)[:, columns]).max() <= 6


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("order", ORDERS)
def test_cmyk_tiff(order: str, depth: int) -> None:
    file = io.BytesIO()
    samples = inks().astype(np.uint16) * 257 if depth == 16 else inks().astype(np.uint8)
    tifffile.imwrite(file, samples, byteorder=ORDERS[order], photometric="separated")
    assert np.abs(decoded(file.getvalue()) - plain(inks())).max() <= 1


# Profiles


def in_srgb_of_p3(color: tuple[int, int, int]) -> Array:
    """Display P3 of gamma 2.2 in sRGB, by the matrices of CSS Color 4."""
    to_srgb = np.array([[1.2249, -0.2249, 0], [-0.0420, 1.0420, 0], [-0.0196, -0.0786, 1.0982]])
    linear = np.clip(to_srgb @ (np.array(color) / 255) ** 2.2, 0, 1)
    curve: Array = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (255 * curve).round()


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF", "HEIC"])
def test_a_wide_profile_is_converted_in_every_format(format: str) -> None:
    color = (200, 90, 60)
    qualities: dict[str, dict[str, Any]] = {
        "WEBP": {"lossless": True},
        "JPEG": {"quality": 100},
        "AVIF": {"quality": 100},
    }
    options = qualities.get(format, {})
    data = save(Image.new("RGB", (32, 32), color), format, icc_profile=DISPLAY_P3, **options)
    assert np.abs(decoded(data)[16, 16] - in_srgb_of_p3(color)).max() <= 3


@pytest.mark.parametrize("mode", ["P", "RGBA", "L"])
def test_a_profile_of_rgb_holds_for_palettes_alpha_and_gray(mode: str) -> None:
    color = (128, 128, 128) if mode == "L" else (200, 90, 60)
    image = Image.new("RGB", (32, 32), color)
    image = image.quantize(2) if mode == "P" else image.convert(mode)
    if mode == "RGBA":
        image.putalpha(100)
    found = np.asarray(decode(save(image, "PNG", icc_profile=DISPLAY_P3)).image)[16, 16]
    assert np.abs(found[:3] - in_srgb_of_p3(color)).max() <= 2
    assert mode != "RGBA" or found[3] == 100


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF"])
def test_a_gray_profile_is_converted(format: str) -> None:
    """Half of the light is 188 of 255 in sRGB; 64 of 255 are 137."""
    for level, expected in ((128, 188), (64, 137), (0, 0), (255, 255)):
        data = save(Image.new("L", (32, 32), level), format, icc_profile=LINEAR_GRAY)
        assert np.abs(decoded(data)[16, 16].astype(int) - expected).max() <= 2


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_a_profile_of_a_press_is_converted(format: str) -> None:
    """L = 50 is 119 of 255 in sRGB, 60 is 145, 70 is 171; the plain formula would give pure cyan and so on."""
    for ink, expected in ((0, 119), (1, 145), (2, 171), (3, 0)):
        samples = np.zeros((32, 32, 4), np.uint8)
        samples[..., ink] = 255
        data = save(Image.fromarray(samples, "CMYK"), format, icc_profile=press())
        assert np.abs(decoded(data)[16, 16].astype(int) - expected).max() <= 4


def test_profiles_that_cannot_be_used_are_ignored() -> None:
    noise = bytes(16) + b"RGB " + bytes(200)
    programs = srgb_profile() + b"mpet" + bytes(100_000)  # elements that are programs, too long
    for profile in (noise, press(), LINEAR_GRAY, DISPLAY_P3[:140], programs, DISPLAY_P3 + bytes(5 << 20)):
        assert (
            np.abs(
                decoded(save(RGB, "JPEG", quality=100, subsampling=0, icc_profile=profile)).astype(int) - pixels()
            ).max()
            <= 4
        )


# Large images


def test_a_large_image_is_reduced_and_says_so() -> None:
    y, x = np.mgrid[:120, :160]
    image = Image.fromarray(np.stack([x, y, (x + y) // 2], axis=2).astype(np.uint8))
    for format in ("PNG", "JPEG", "BMP", "TIFF", "HEIC"):
        whole = over_white(decode(save(image, format)).image)
        found = decode(save(image, format), kept_pixels=120 * 160 // 3)
        assert (found.image.size, found.source_size) == ((80, 60), (160, 120))
        assert np.abs(np.asarray(found.image).astype(int) - np.asarray(whole.reduce(2))).max() <= (
            0 if format in ("PNG", "BMP", "TIFF") else 6
        )


def test_what_is_transparent_does_not_color_what_is_reduced() -> None:
    image = Image.new("RGBA", (64, 64), (200, 0, 0, 255))
    image.paste((0, 255, 0, 0), (1, 0, 64, 64))
    found = decode(save(image, "PNG"), kept_pixels=32 * 32).image.getpixel((0, 9))
    assert isinstance(found, tuple) and abs(found[3] - 128) <= 1 and found[0] >= 198 and found[1] <= 1


def test_an_orientation_holds_for_the_size_of_the_source() -> None:
    from tests.images.crafted import exif

    found = decode(save(RGB, "JPEG", exif=exif(6)), kept_pixels=400)
    assert (found.source_size, found.image.size) == ((32, 48), (16, 24))


def test_formats_whose_decoders_take_more_memory_have_a_lower_limit() -> None:
    avif = save(RGB, "AVIF").replace(struct.pack(">II", 48, 32), struct.pack(">II", 5008, 5008))
    for data in (webp(5008, 5008), avif, tiff(5008, 5008)):
        with pytest.raises(ImageError) as error:
            decode(data)
        assert (error.value.code, error.value.details["max_pixels"]) == ("image_too_large", 25_000_000)


def test_an_avif_may_not_hold_a_larger_frame_than_is_allowed_whatever_it_declares() -> None:
    data = save(Image.new("RGB", (640, 480)), "AVIF")
    small = data.replace(struct.pack(">II", 640, 480), struct.pack(">II", 64, 64))
    assert small != data
    with pytest.raises(ImageError, match="The image has 640 x 480 pixels; 10000 in all are allowed"):
        decode(small, max_pixels=10_000)


def test_a_progressive_jpeg_must_fit_into_memory_whole() -> None:
    """8192 x 8192 at 4:4:4 takes 400 MB as coefficients. Only its header and scans are written here."""
    data = bytearray(save(Image.new("RGB", (64, 64)), "JPEG", progressive=True, subsampling=0))
    at = data.index(b"\xff\xc2")
    data[at + 5 : at + 9] = struct.pack(">HH", 8192, 8192)
    with pytest.raises(ImageError, match="baseline, not progressive") as error:
        decode(bytes(data))
    assert error.value.code == "image_too_large"


LARGEST = """
import sys
from pathlib import Path
from images.decode import decode
for path in sys.argv[1:]:
    found = decode(Path(path).read_bytes())
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024
    print(*found.source_size, *found.image.size, peak)
"""


def test_the_largest_images_are_decoded_within_bounded_memory(tmp_path: Path) -> None:
    """A phone's photo of 48 megapixels, and the largest PNG with alpha and WebP that are taken."""
    packer, row = zlib.compressobj(1), b"\0" + bytes((90, 120, 60, 200)) * 8192
    raw = b"".join(packer.compress(row) for _ in range(8192)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8192, 8192, 8, 6, 0, 0, 0))
    rgba = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", raw) + chunk(b"IEND", b"")
    photo = save(Image.new("RGB", (8064, 6048), (90, 120, 60)), "JPEG")
    webp = save(Image.new("RGB", (5000, 5000), (90, 120, 60)), "WEBP", lossless=True, quality=0, method=0)
    sizes = [(8064, 6048, 4032, 3024), (8192, 8192, 4096, 4096), (5000, 5000, 5000, 5000)]
    for number, data in enumerate((photo, rgba, webp)):
        (tmp_path / str(number)).write_bytes(data)
    command = [sys.executable, "-c", LARGEST, *(str(tmp_path / str(number)) for number in range(3))]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    lines = [tuple(map(int, line.split())) for line in run.stdout.splitlines()]
    print(run.stdout)
    assert [line[:4] for line in lines] == sizes
    assert lines[0][4] < 200 and lines[-1][4] < 505  # of which Python and its libraries have 50
