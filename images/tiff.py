"""Removes the metadata of TIFF files: the first directory keeps only the tags that define how pixels are stored."""

import struct
from dataclasses import dataclass, replace
from typing import NamedTuple

from images.errors import unreadable
from images.source import Source

_BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLES, _PROFILE = 258, 262, 274, 277, 34675
_PIXEL_TAGS = {
    *(
        256,
        257,
        258,
        259,
        262,
        266,
        273,
        277,
        278,
        279,
        284,
        292,
        293,
        317,
        320,
        322,
        323,
        324,
        325,
        332,
        338,
        339,
        347,
    ),
    *(322, 323, 324, 325, 332, 338, 339, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532),
}
_MAX_TAGS = 4_000


class _Layout(NamedTuple):
    """Layout of a directory: struct codes of the first offset, of the count and of an entry; the size of a value."""

    start: int
    offset: str
    number: str
    entry: str
    value_bytes: int


_LAYOUTS = {42: _Layout(4, "I", "H", "HHI4s", 4), 43: _Layout(8, "Q", "Q", "HHQ8s", 8)}  # TIFF, BigTIFF


@dataclass(frozen=True)
class _Entry:
    tag: int
    kind: int
    count: int
    value: bytes


def strip(data: bytes) -> Source:
    """Returns the first page of a file without metadata, or the whole file if its directory cannot be read.

    Gray with 0 as white is marked `inverted`, and its tag changed, where Pillow would not invert it.
    Raises ImageError `image_unreadable` for more than 4,000 tags.
    """
    order = "<" if data[:2] == b"II" else ">"
    layout = _LAYOUTS.get(*struct.unpack_from(order + "H", data, 2)) if len(data) >= 4 else None
    if layout is None:
        return Source(data)
    try:
        (at,) = struct.unpack_from(order + layout.offset, data, layout.start)
        entries = _entries(data, at, order, layout)
    except struct.error:
        return Source(data)
    tags = {entry.tag: entry for entry in entries}
    numbers = {tag: _number(tags.get(tag), order) for tag in (_BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLES)}
    depth = numbers[_BITS] or 8  # several samples have a depth each, all 8 or all 16
    inverted = numbers[_PHOTOMETRIC] == 0 and (depth > 8 or (numbers[_SAMPLES] or 1) > 1)
    kept = [entry for entry in entries if entry.tag in _PIXEL_TAGS]
    if inverted:
        one = struct.pack(order + "H", 1)
        kept = [replace(e, value=one + e.value[2:]) if e.tag == _PHOTOMETRIC else e for e in kept]
    orientation = numbers[_ORIENTATION] or 1
    return Source(
        _rewritten(data, at, kept, order, layout),
        orientation if orientation <= 8 else 1,
        _bytes(data, tags.get(_PROFILE), order, layout),
        depth,
        inverted=inverted,
    )


def _entries(data: bytes, at: int, order: str, layout: _Layout) -> list[_Entry]:
    """Reads the entries of the directory at `at`; raises struct.error past the end of the file."""
    (count,) = struct.unpack_from(order + layout.number, data, at)
    if count > _MAX_TAGS:
        raise unreadable("TIFF", f" has more than {_MAX_TAGS} tags")
    first, size = at + struct.calcsize(order + layout.number), struct.calcsize(order + layout.entry)
    return [_Entry(*struct.unpack_from(order + layout.entry, data, first + n * size)) for n in range(count)]


def _number(entry: _Entry | None, order: str) -> int | None:
    """Reads the value of an entry of one short or long integer."""
    if entry is None or entry.kind not in (3, 4) or entry.count != 1:
        return None
    return int(struct.unpack_from(order + ("H" if entry.kind == 3 else "I"), entry.value)[0])


def _bytes(data: bytes, entry: _Entry | None, order: str, layout: _Layout) -> bytes:
    if entry is None or entry.kind not in (1, 7):
        return b""
    (at,) = struct.unpack(order + layout.offset, entry.value)
    return data[at : at + entry.count]


def _rewritten(data: bytes, at: int, entries: list[_Entry], order: str, layout: _Layout) -> bytes:
    """Replaces the first directory of the file by these entries and drops every other directory."""
    packed = [struct.pack(order + layout.entry, e.tag, e.kind, e.count, e.value) for e in entries]
    body = struct.pack(order + layout.number, len(packed)) + b"".join(packed) + bytes(layout.value_bytes)
    return data[:at] + body + data[at + len(body) :]
