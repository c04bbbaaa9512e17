"""Reads the size and the number of frames of an MP4 from its boxes (ISO/IEC 14496-12), without a decoder."""

import struct
from collections.abc import Iterator
from typing import IO

from images.boxes import boxes

MAX_HEADER = 32 << 20  # bytes of the tables: a film of hours has less
MAX_TOP = 10_000  # boxes of the file itself


def film_facts(file: IO[bytes]) -> tuple[int, int, int]:
    """Width, height and number of frames of the first video track, upright; raises ValueError for another file."""
    try:
        header = memoryview(_header(file))
        for track in _inside(header, b"trak"):
            media = next(_inside(track, b"mdia"))
            if bytes(next(_inside(media, b"hdlr"))[8:12]) == b"vide":
                table = next(_inside(next(_inside(media, b"minf")), b"stbl"))
                return *_upright_size(next(_inside(track, b"tkhd"))), _frames(next(_inside(table, b"stsz")))
    except (struct.error, StopIteration, RuntimeError, IndexError) as error:
        raise ValueError("its boxes cannot be read") from error
    raise ValueError("it has no video")


def _header(file: IO[bytes]) -> bytes:
    """The body of the box `moov`, which may stand at either end of the file."""
    at = 0
    for _ in range(MAX_TOP):
        file.seek(at)
        head = file.read(16)
        size, kind = struct.unpack_from(">I4s", head)
        start = 8
        if size == 1:
            (size,), start = struct.unpack_from(">Q", head, 8), 16
        if kind == b"moov" and start <= size <= MAX_HEADER:
            file.seek(at + start)
            return file.read(size - start)
        if size < start:
            break
        at += size
    raise ValueError("it has no header of a usable size")


def _inside(body: memoryview, wanted: bytes) -> Iterator[memoryview]:
    return (inner for kind, inner in boxes(body) if kind == wanted)


def _upright_size(box: memoryview) -> tuple[int, int]:
    """Width and height of a track header, exchanged where its matrix turns the frames by 90 degrees."""
    matrix, wide, high = struct.unpack(">36sII", box[-44:])
    size = wide >> 16, high >> 16
    return size[::-1] if matrix[:4] == bytes(4) else size


def _frames(box: memoryview) -> int:
    (count,) = struct.unpack_from(">I", box, 8)
    if not count:
        raise ValueError("it is in fragments")
    return int(count)
