"""Image files made for tests, good and hostile. Run as a script, this file is the fuzz that `test_fuzz` starts."""

import io
import json
import random
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from images.decode import decode, over_white
from images.errors import ImageError
from jobs.errors import AtelierError
from jobs.images import decode_image, read_recipe

Array = NDArray[Any]
MAX_PIXELS = 25_000_000
Tag = tuple[int, int, int, int]
Expected = str | tuple[int, int]


def pixels(width: int = 48, height: int = 32) -> NDArray[np.uint8]:
    """Smooth colors with a little noise: every decoder has something to do."""
    y, x = np.mgrid[0:height, 0:width]
    ramp = np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], axis=2)
    noise = np.random.default_rng(0).integers(0, 8, ramp.shape)
    return np.clip(ramp + noise, 0, 255).astype(np.uint8)


def save(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    if format == "HEIC":
        pillow_heif.from_pillow(image).save(file, **{"quality": 90, "chroma": 444, **options})
        return file.getvalue()
    image.copy().save(file, format, **options)  # a copy, for saving leaves its traces on an image
    return file.getvalue()


def save_two(format: str, first: Image.Image | None = None, **options: Any) -> bytes:
    """A file of two frames or pages."""
    return save(first or RGB, format, save_all=True, append_images=[TURNED.copy()], **options)


def srgb_profile() -> bytes:
    """An sRGB profile without the time it was made at."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + struct.pack(">6H", 2026, 11, 22, 0, 0, 0) + profile[36:]


RGB = Image.fromarray(pixels())
ALPHA = Image.merge("RGBA", (*RGB.split(), Image.linear_gradient("L").resize(RGB.size)))
PALETTE = RGB.quantize(32)
TURNED = RGB.transpose(Image.Transpose.ROTATE_180)
WIDE = np.arange(48 * 32, dtype=np.uint16).reshape(32, 48) * 42


def decoded(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(over_white(decode(data).image))


def outcome(data: bytes) -> Expected:
    try:
        return decode(data, max_pixels=MAX_PIXELS, min_side=16).image.size
    except ImageError as error:
        return error.code


# Files made by hand


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *, depth: int = 8, color: int = 2, raw: bytes = b"", chunks: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunks + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")


def in_small_chunks(image: NDArray[np.uint8], size: int) -> bytes:
    """A valid PNG that spreads its pixels over very many chunks."""
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in image))
    pieces = [chunk(b"IDAT", body[at : at + size]) for at in range(0, len(body), size)]
    return png(image.shape[1], image.shape[0])[:33] + b"".join(pieces) + chunk(b"IEND", b"")


def with_chunks(chunks: bytes, data: bytes | None = None) -> bytes:
    """A valid PNG with `chunks` after its header."""
    data = data or save(RGB, "PNG")
    return data[:33] + chunks + data[33:]


def with_segments(segments: bytes, data: bytes | None = None) -> bytes:
    """A valid JPEG with `segments` at its start."""
    data = data or save(RGB, "JPEG")
    return data[:2] + segments + data[2:]


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def tiff(width: int, height: int, *extra: Tag, count: int | None = None) -> bytes:
    """A gray TIFF of one strip; a tag in `extra` takes the place of the usual one."""
    usual: list[Tag] = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (278, 4, 1, height),
        (279, 4, 1, 48 * 32),
    ]
    tags = {tag[0]: tag for tag in (*usual, *extra)}
    body = b"".join(struct.pack("<HHII", *tags[number]) for number in sorted(tags))
    entries = struct.pack("<H", count or len(tags)) + body + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", 8 + 48 * 32) + bytes(48 * 32) + entries


def webp(width: int, height: int) -> bytes:
    """An animation of small frames on a canvas of this size."""
    data = save_two("WEBP")
    return data[:24] + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little") + data[30:]


def bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + save(PALETTE, "GIF")[10:]


def scans(extra: int) -> bytes:
    """A progressive JPEG whose last scan comes `extra` more times."""
    data = save(RGB, "JPEG", progressive=True)
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * extra + data[-2:]


def exif(orientation: int, size: int = 0) -> bytes:
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    tags[ExifTags.Base.ImageDescription] = "x" * size
    return tags.tobytes()


GOOD = (48, 32)
ZIP = b"PK\3\4" + bytes(26) + b"payload" + b"PK\5\6" + bytes(18)
TEXT_BOMB = zlib.compress(bytes(50_000_000), 9)
CASES: dict[str, tuple[bytes, Expected]] = {
    "no bytes": (b"", "image_empty"),
    "one byte": (b"\x89", "image_format_unsupported"),
    "text": (b"hello, world" * 9, "image_format_unsupported"),
    "psd": (b"8BPS\0\1" + bytes(60), "image_format_unsupported"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "image_format_unsupported"),
    "pdf": (b"%PDF-1.7\n", "image_format_unsupported"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg' width='99' height='99'/>", "image_format_unsupported"),
    "fits": (b"SIMPLE  =                    T" + bytes(2880), "image_format_unsupported"),
    "ico": (save(RGB, "ICO", sizes=[(32, 32)]), "image_format_unsupported"),
    "avif": (b"\0\0\0\x20ftypavif" + bytes(40), "image_unreadable"),
    "bomb: png header": (png(50_000, 50_000), "image_too_large"),
    "bomb: bmp header": (bmp(50_000, 50_000), "image_too_large"),
    "bomb: tiff header": (tiff(50_000, 50_000), "image_too_large"),
    "bomb: gif screen": (gif(50_000, 50_000), "image_too_large"),
    "bomb: webp canvas": (webp(50_000, 50_000), "image_too_large"),
    "bomb: webp canvas within Pillow's limit": (webp(12_000, 12_000), "image_too_large"),
    "bomb: real png of 169 megapixels": (
        png(13_000, 13_000, depth=1, color=0, raw=bytes(13_000 * 1626)),
        "image_too_large",
    ),
    "bomb: one row more than allowed": (png(5_000, 5_001), "image_too_large"),
    "bomb: iTXt": (with_chunks(chunk(b"iTXt", b"a\0\1\0\0\0" + TEXT_BOMB)), "image_unreadable"),
    "bomb: zTXt": (with_chunks(chunk(b"zTXt", b"a\0\0" + TEXT_BOMB)), "image_unreadable"),
    "bomb: iCCP": (with_chunks(chunk(b"iCCP", b"a\0\0" + TEXT_BOMB)), "image_unreadable"),
    "bomb: many texts": (
        with_chunks(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000), 9)) * 20),
        "image_unreadable",
    ),
    "bomb: a million png chunks": (with_chunks(chunk(b"prVt", b"") * 1_000_000), "image_unreadable"),
    "bomb: a million png chunks at the end": (
        save(RGB, "PNG")[:-12] + chunk(b"prVt", b"") * 1_000_000,
        "image_truncated",
    ),
    "bomb: a million jpeg comments": (with_segments(segment(0xFE, b"") * 1_000_000), "image_unreadable"),
    "bomb: exif in a million pieces": (with_segments(segment(0xE1, b"Exif\0\0abcd") * 1_000_000), "image_unreadable"),
    "bomb: jpeg scans": (scans(1_000), "image_unreadable"),
    "bomb: tiff tags": (tiff(48, 32, count=65_535) + struct.pack("<HHII", 700, 1, 4, 0) * 65_535, "image_unreadable"),
    "jpeg: some more scans": (scans(20), GOOD),
    "jpeg: exif of 60 kB": (save(RGB, "JPEG", exif=exif(1, 60_000)), GOOD),
    "jpeg: exif that is cut off": (save(RGB, "JPEG", exif=exif(1, 100)[:30]), GOOD),
    "jpeg: exif without such an orientation": (save(RGB, "JPEG", exif=exif(99)), GOOD),
    "jpeg: exif that is noise": (with_segments(segment(0xE1, b"Exif\0\0" + bytes(range(256)))), GOOD),
    "jpeg: icc of 5 MB": (save(RGB, "JPEG", icc_profile=bytes(5_000_000)), GOOD),
    "png: exif of 5 MB": (with_chunks(chunk(b"eXIf", b"II*\0\x08\0\0\0\0\0" + bytes(5_000_000))), GOOD),
    "png: icc that is noise": (save(RGB, "PNG", icc_profile=bytes(16) + b"RGB " + bytes(200)), GOOD),
    "png: pixels in chunks of one byte": (in_small_chunks(pixels(), 1), "image_truncated"),
    "png: pixels in chunks of 512 bytes": (in_small_chunks(pixels(480, 320), 512), (480, 320)),
    "png: nothing behind the header": (save(RGB, "PNG")[:33], "image_unreadable"),
    "png: pixels that are noise": (
        with_chunks(chunk(b"IDAT", bytes(range(256))), png(48, 32)),
        "image_truncated",
    ),
    "png: too few pixels": (png(48, 32, raw=bytes(100)), "image_truncated"),
    "png: unknown color type": (png(48, 32, color=5, raw=bytes(9_999)), "image_unreadable"),
    "png: no width": (png(0, 32), "image_unreadable"),
    "1 x N": (png(1, 5_000, raw=bytes(20_000)), "image_too_small"),
    "N x 1": (png(5_000, 1, raw=bytes(15_001)), "image_too_small"),
    "15 x 16": (save(RGB.resize((15, 16)), "PNG"), "image_too_small"),
    "16 x 16": (save(RGB.resize((16, 16)), "PNG"), (16, 16)),
    "16 x 20,000": (save(RGB.resize((16, 20_000)), "PNG"), (16, 20_000)),
    "polyglot: gif and zip": (save(PALETTE, "GIF") + ZIP, GOOD),
    "polyglot: jpeg and zip": (save(RGB, "JPEG") + ZIP, GOOD),
    "polyglot: png and html": (save(RGB, "PNG") + b"<script>alert(1)</script>", GOOD),
    "polyglot: zip first": (ZIP + save(RGB, "PNG"), "image_format_unsupported"),
    "gif: animated": (save_two("GIF"), GOOD),
    "webp: animated": (save_two("WEBP"), GOOD),
    "png: animated": (save_two("PNG"), GOOD),
    "tiff: two pages": (save_two("TIFF"), GOOD),
    "mpo: two images": (save_two("MPO"), GOOD),
    "tiff: plain": (tiff(48, 32), GOOD),
    "tiff: strip behind the end": (tiff(48, 32, (273, 4, 1, 2**32 - 1)), "image_truncated"),
    "tiff: strips without number": (tiff(48, 32, (273, 4, 2**32 - 1, 8)), "image_unreadable"),
    "tiff: tile of 2^31 pixels": (
        tiff(48, 32, (259, 3, 1, 8), (322, 4, 1, 2**31), (323, 4, 1, 2**31), (324, 4, 1, 8), (325, 4, 1, 99)),
        "image_truncated",
    ),
    "tiff: samples without number": (tiff(48, 32, (277, 3, 1, 65_535)), "image_unreadable"),
    "tiff: unknown compression": (tiff(48, 32, (259, 3, 1, 60_000)), "image_unreadable"),
    "tiff: no tags": (b"II*\0\x08\0\0\0\0\0\0\0\0\0", "image_unreadable"),
    "tiff: directory that is itself": (b"II*\0\0\0\0\0" + bytes(64), "image_unreadable"),
    "bmp: negative width": (bmp(-48, 32), "image_too_large"),
    "bmp: no pixels": (bmp(48, 32), "image_truncated"),
    "gif: no frame": (save(PALETTE, "GIF")[:13] + b"\x3b", "image_unreadable"),
    "webp: riff length wrong": (b"RIFF\xff\xff\xff\xff" + save(RGB, "WEBP")[8:], "image_unreadable"),
}


# The fuzz


def seeds() -> list[bytes]:
    """Small valid files of every format and of the ways they store pixels and metadata."""
    profile = srgb_profile()
    stored: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (RGB, "PNG", {"icc_profile": profile, "exif": exif(6)}),
        (PALETTE, "PNG", {"transparency": bytes(range(32))}),
        (Image.fromarray(WIDE), "PNG", {}),
        (RGB, "JPEG", {"exif": exif(6, 40), "icc_profile": profile}),
        (RGB, "JPEG", {"progressive": True}),
        (RGB.convert("CMYK"), "JPEG", {}),
        (RGB, "WEBP", {"exif": exif(6), "icc_profile": profile}),
        (ALPHA, "WEBP", {"lossless": True}),
        (PALETTE, "GIF", {"transparency": 3, "comment": b"hello"}),
        (RGB, "BMP", {}),
        (PALETTE, "BMP", {}),
        (Image.fromarray(WIDE.astype(np.float32)), "TIFF", {}),
        (RGB.convert("CMYK"), "TIFF", {}),
        (Image.merge("LAB", RGB.split()), "TIFF", {}),
    ]
    ways = ["tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits", "zstd", "lzma"]
    stored += [(RGB, "TIFF", {"compression": way, "exif": exif(6), "icc_profile": profile}) for way in ways]
    stored.append((RGB.convert("1"), "TIFF", {"compression": "group4"}))
    stored += [(RGB, "HEIC", {}), (ALPHA, "HEIC", {}), (RGB, "AVIF", {"exif": exif(6)}), (ALPHA, "AVIF", {})]
    several = [save_two(format) for format in ("PNG", "MPO", "WEBP", "GIF", "TIFF")]
    return several + [save(image, format, **options) for image, format, options in stored]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """One to eight small damages: bytes, extreme numbers, cuts, doubled and moved pieces."""
    body = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 8])):
        at = rng.randrange(min(len(body), 200) if rng.random() < 0.5 else len(body)) if body else 0
        length = rng.randrange(1, 40)
        kind = rng.randrange(6)
        if kind < 2:
            body[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 2:
            body[at : at + 4] = rng.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\1"])
        elif kind == 3:
            del body[at : at + length]
        elif kind == 4:
            body[at:at] = body[at : at + length] * rng.randrange(1, 20)
        else:
            body[at : at + length] = rng.randbytes(length)
    return bytes(body)


def with_right_checksums(data: bytes) -> bytes:
    """A PNG's chunks as far as they go, with their checksums made right, so that damage gets past them."""
    out, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        length = struct.unpack_from(">I", data, at)[0]
        out += chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + length])
        at += 12 + length
    return bytes(out)


def fuzz(count: int) -> dict[str, Any]:
    """What became of the crafted files and of `count` mutations; any error but a 4xx AtelierError ends it."""
    rng, files = random.Random(20_261_122), seeds()
    started, refused = time.monotonic(), 0
    for data, _ in CASES.values():
        outcome(data)  # counts towards the peak of memory
    for number in range(count):
        data = mutate(files[number % len(files)], rng)
        if data.startswith(b"\x89PNG") and rng.random() < 0.7:
            data = with_right_checksums(data)
        try:
            decode_image(data, max_pixels=MAX_PIXELS)
            read_recipe(data)
        except AtelierError as error:
            assert 400 <= error.status < 500
            refused += 1
    # Not getrusage: its figure starts with what the process that started this one had in memory.
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024
    return {"refused": refused, "seconds": time.monotonic() - started, "peak_mb": peak}


if __name__ == "__main__":
    print(json.dumps(fuzz(5_000)))
