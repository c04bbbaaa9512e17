"""Removes the metadata of PNG files and keeps the transparent color at its depth."""

import re
import struct
import zlib
from collections.abc import Iterator

from images.errors import truncated, unreadable
from images.source import Source, orientation_of

_MAGIC = b"\x89PNG\r\n\x1a\n"
_GRAY, _RGB, _PALETTE = 0, 2, 3
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_MAX_UNPACKED = 4 << 20
_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


def strip(data: bytes) -> Source:
    """Returns the default image of a file without metadata, its pixels in one chunk.

    Raises ImageError `image_unreadable` for a file without pixels, with too many chunks, or whose profile or texts
    are too large uncompressed, and `image_truncated` for pixels in too many chunks.
    """
    kept: list[bytes] = []
    pixels: list[memoryview] = []
    chunks: dict[bytes, bytes] = {}
    unpacked = 0
    for count, (kind, view, checksum) in enumerate(_chunks(data)):
        if count >= 4_000 + len(data) // 100:
            raise (truncated if pixels else unreadable)("PNG", " is split into too many pieces")
        if kind == b"IEND":
            break
        if kind == b"IDAT":
            pixels.append(view)
            continue
        body = bytes(view)
        whole = checksum == zlib.crc32(kind + body)
        if kind[0] & 32 == 0:  # critical
            kept.append(_chunk(kind, body))
            chunks[kind] = body
        elif whole and kind in (b"tRNS", b"eXIf", b"iCCP", *_TEXTS):
            chunks[kind] = body
            unpacked += _unpacked(kind, body, chunks)
            if unpacked > _MAX_UNPACKED:
                raise unreadable("PNG", f" has metadata of more than {_MAX_UNPACKED} bytes")
    if not pixels:
        raise unreadable("PNG")
    return _source(kept, pixels, chunks)


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, int]]:
    """Yields each chunk's kind, the part of its body that the file has, and its checksum or -1."""
    at = len(_MAGIC)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        checksum = struct.unpack_from(">I", data, end)[0] if end + 4 <= len(data) else -1
        yield kind, memoryview(data)[at + 8 : end], checksum
        at = end + 4


def _unpacked(kind: bytes, body: bytes, chunks: dict[bytes, bytes]) -> int:
    """Uncompressed size of a chunk of metadata; stores a profile and an orientation in `chunks`."""
    name, _, rest = body.partition(b"\0")
    packed = rest[1:] if kind in (b"zTXt", b"iCCP") and rest[:1] == b"\0" else b""
    if kind == b"iTXt" and rest[:2] == b"\1\0":
        packed = rest[2:].split(b"\0", 2)[-1]
    try:
        text = zlib.decompressobj().decompress(packed, _MAX_UNPACKED + 1) if packed else rest
    except zlib.error:
        return 0
    if kind == b"iCCP":
        chunks[b"profile"] = text
    elif name == b"XML:com.adobe.xmp" and (orientation := _ORIENTATION.search(text)):
        chunks[b"xmp"] = orientation[1]
    elif name == b"Raw profile type exif":
        chunks[b"raw"] = text
    return len(text) if packed else 0


def _source(kept: list[bytes], pixels: list[memoryview], chunks: dict[bytes, bytes]) -> Source:
    header = chunks.get(b"IHDR", b"")
    if len(header) != 13:
        raise unreadable("PNG")
    depth, color = header[8], header[9]
    key = _key(chunks.get(b"tRNS", b""), depth, color)
    if color == _PALETTE and b"tRNS" in chunks:
        kept.append(_chunk(b"tRNS", chunks[b"tRNS"]))
    size, checksum = sum(len(piece) for piece in pixels), zlib.crc32(b"IDAT")
    for piece in pixels:
        checksum = zlib.crc32(piece, checksum)
    idat: list[bytes | memoryview] = [struct.pack(">I", size), b"IDAT", *pixels, struct.pack(">I", checksum)]
    data = b"".join([_MAGIC, *kept, *idat, _chunk(b"IEND", b"")])
    return Source(data, _orientation(chunks), chunks.get(b"profile", b""), depth, key)


def _key(body: bytes, depth: int, color: int) -> tuple[int, ...] | None:
    """Samples of the transparent color; bits above `depth` are ignored."""
    samples = {_GRAY: 1, _RGB: 3}.get(color)
    if samples is None or len(body) < 2 * samples:
        return None
    return tuple(value & (2**depth - 1) for value in struct.unpack_from(f">{samples}H", body))


def _orientation(chunks: dict[bytes, bytes]) -> int:
    if b"eXIf" in chunks:
        return orientation_of(chunks[b"eXIf"])
    if b"raw" in chunks:  # as ImageMagick writes it: three lines of a header, then hexadecimal digits
        try:
            return orientation_of(bytes.fromhex("".join(chunks[b"raw"].decode("latin-1").split("\n")[3:])))
        except ValueError:
            return 1
    return int(chunks.get(b"xmp", b"1"))


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
