"""Every depth, color and transparency that files have, by pixel values worked out by hand."""

import io
import struct
from typing import Any, Literal

import numpy as np
import pytest
import tifffile
from PIL import Image

from images.decode import decode
from tests.images.crafted import Array, chunk, decoded, png, save


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
