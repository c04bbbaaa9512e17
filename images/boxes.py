"""Checks the boxes of an AVIF or HEIC file before its decoder runs (ISO/IEC 23008-12).

The size that a file declares may differ from the size of the frames inside it: a few bytes can declare 64 x 64 pixels
for a frame of 268 million. Overlays and grids can make the decoder decode one frame thousands of times.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from images.errors import ImageError, unreadable

_MAX_BOXES = 20_000
_MAX_UNITS = 10_000
_SEQUENCE_HEADER = 1
Size = tuple[int, int]


@dataclass
class _Items:
    """The items of a file by number: their types, bytes, sizes and the items that they are derived from."""

    kinds: dict[int, bytes] = field(default_factory=dict)
    parts: dict[int, list[memoryview]] = field(default_factory=dict)
    sizes: dict[int, Size] = field(default_factory=dict)
    derived: dict[int, list[int]] = field(default_factory=dict)

    def data(self, item: int) -> bytes:
        """Joins the bytes of an item, which may be stored in several parts."""
        return b"".join(self.parts.get(item, []))


def check_avif(data: bytes, max_pixels: int) -> None:
    """Raises ImageError for frames of more than `max_pixels`, or boxes that cannot be read."""
    items = _items(data, "AVIF")
    coded = [item for item, kind in items.kinds.items() if kind == b"av01"]
    try:
        sizes = [size for item in coded for size in _frame_sizes(items.data(item))]
    except IndexError as error:
        raise unreadable("AVIF") from error
    if not sizes:
        raise unreadable("AVIF")
    _check_frames(sizes, max_pixels)


def check_heic(data: bytes, max_pixels: int) -> None:
    """Raises ImageError for overlays, for tiles with more pixels than their grid needs, and for broken boxes.

    libheif itself limits frames to the size that the file declares.
    """
    items = _items(data, "HEIC")
    if b"iovl" in items.kinds.values():
        raise unreadable("HEIC", " is an overlay of other images, which is not supported")
    for item, kind in items.kinds.items():
        tiles = [items.sizes.get(tile, (0, 0)) for tile in items.derived.get(item, [])]
        if kind == b"grid" and tiles:
            # Tiles may extend beyond the right and the lower edge, each by less than a tile.
            (width, height), widest, highest = items.sizes.get(item, (0, 0)), *map(max, zip(*tiles, strict=True))
            needed = (width + widest) * (height + highest)
            if sum(w * h for w, h in tiles) > needed:
                raise unreadable("HEIC", " has more tiles than its size needs")
    _check_frames(list(items.sizes.values()), max_pixels)


def _check_frames(sizes: list[Size], max_pixels: int) -> None:
    width, height = max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))
    if width * height > max_pixels:
        message = f"The image has {width} x {height} pixels; {max_pixels} in all are allowed."
        raise ImageError("image_too_large", message, width=width, height=height, max_pixels=max_pixels)


# --- boxes -----------------------------------------------------------------------------------------------------------


def _items(data: bytes, image_format: str) -> _Items:
    try:
        return _read_items(memoryview(data))
    except (struct.error, IndexError, KeyError, ValueError, StopIteration, RuntimeError) as error:
        raise unreadable(image_format) from error


def _read_items(data: memoryview) -> _Items:
    """Raises struct.error, IndexError or ValueError for broken boxes."""
    meta = next(body for kind, body in boxes(data) if kind == b"meta")[4:]
    inside = dict(boxes(meta))
    items = _Items()
    _read_kinds(inside[b"iinf"], items)
    _read_places(inside[b"iloc"], data, inside.get(b"idat", data[:0]), items)
    _read_references(inside.get(b"iref"), items)
    _read_sizes(inside.get(b"iprp"), items)
    return items


def boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yields the kind and the body of each box; raises struct.error and ValueError for broken ones."""
    at = 0
    for _ in range(_MAX_BOXES):
        if at + 8 > len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,), head = struct.unpack_from(">Q", data, at + 8), 16
        size = size or len(data) - at
        if size < head:
            raise ValueError("a box is smaller than its head")
        yield kind, data[at + head : at + size]
        at += size
    raise ValueError("too many boxes")


def _number(data: memoryview, at: int, size: int) -> int:
    if at + size > len(data):
        raise IndexError("a box ends early")
    return int.from_bytes(data[at : at + size], "big")


def _read_kinds(box: memoryview, items: _Items) -> None:
    for kind, body in boxes(box[6 if box[0] == 0 else 8 :]):
        if kind == b"infe" and body[0] in (2, 3):
            wide = 2 if body[0] == 2 else 4
            items.kinds[_number(body, 4, wide)] = bytes(body[6 + wide : 10 + wide])


def _read_places(box: memoryview, data: memoryview, idat: memoryview, items: _Items) -> None:
    version, sizes = box[0], _number(box, 4, 2)
    offset_size, length_size, base_size, index_size = ((sizes >> shift) & 15 for shift in (12, 8, 4, 0))
    wide, at = (2 if version < 2 else 4), 6
    count, at = _number(box, at, wide), at + wide
    for _ in range(count):
        item, at = _number(box, at, wide), at + wide
        method = 0
        if version:
            method, at = _number(box, at, 2) & 15, at + 2
        base, at = _number(box, at + 2, base_size), at + 2 + base_size
        extents, at = _number(box, at, 2), at + 2
        source = idat if method == 1 else data
        for _ in range(extents):
            at += index_size if version else 0
            start, at = base + _number(box, at, offset_size), at + offset_size
            length, at = _number(box, at, length_size), at + length_size
            end = start + length if length else len(source)
            items.parts.setdefault(item, []).append(source[start:end])


def _read_references(box: memoryview | None, items: _Items) -> None:
    if box is None:
        return
    wide = 2 if box[0] == 0 else 4
    for kind, body in boxes(box[4:]):
        if kind == b"dimg":
            item, count = _number(body, 0, wide), _number(body, wide, 2)
            places = range(wide + 2, wide + 2 + count * wide, wide)
            items.derived[item] = [_number(body, at, wide) for at in places]


def _read_sizes(box: memoryview | None, items: _Items) -> None:
    """Reads the size of each item from its property `ispe`."""
    inside = list(boxes(box)) if box is not None else []
    properties = [entry for kind, body in inside if kind == b"ipco" for entry in boxes(body)]
    for body in (body for kind, body in inside if kind == b"ipma"):
        wide, large = (2 if body[0] == 0 else 4), body[3] & 1
        count, at = _number(body, 4, 4), 8
        for _ in range(count):
            item, n, at = _number(body, at, wide), _number(body, at + wide, 1), at + wide + 1
            for _ in range(n):
                index = _number(body, at, 2) & 0x7FFF if large else _number(body, at, 1) & 0x7F
                at += 2 if large else 1
                if 0 < index <= len(properties) and properties[index - 1][0] == b"ispe":
                    value = properties[index - 1][1]
                    items.sizes[item] = _number(value, 4, 4), _number(value, 8, 4)


# --- AV1 -------------------------------------------------------------------------------------------------------------


def _frame_sizes(data: bytes) -> list[Size]:
    """Reads the maximum frame size of each sequence header of an AV1 stream; raises IndexError."""
    sizes: list[Size] = []
    at = 0
    for _ in range(_MAX_UNITS):
        if at >= len(data):
            return sizes
        head, at = data[at], at + 1
        at += head >> 2 & 1  # an extension
        size = len(data) - at
        if head & 2:
            size, at = _leb128(data, at)
        if head >> 3 & 15 == _SEQUENCE_HEADER:
            sizes.append(_largest_frame(_Bits(data[at : at + min(size, 1_000)])))
        at += size
    raise IndexError("too many units")


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 56, 7):
        value |= (data[at] & 127) << shift
        at += 1
        if not data[at - 1] & 128:
            break
    return value, at


class _Bits:
    """Reads unsigned integers of n bits; raises IndexError past the end."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def __call__(self, n: int) -> int:
        self._left -= n
        if self._left < 0:
            raise IndexError("a header ends early")
        return self._value >> self._left & (1 << n) - 1


def _largest_frame(bits: _Bits) -> Size:
    """Reads max_frame_width and max_frame_height of a sequence header (AV1 specification, section 5.5)."""
    bits(4)  # seq_profile, still_image
    if bits(1):  # reduced_still_image_header
        bits(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits(4) + 1, bits(4) + 1
    return bits(width_bits) + 1, bits(height_bits) + 1


def _skip_operating_points(bits: _Bits) -> None:
    delay_bits = 0
    if bits(1):  # timing_info
        bits(64)
        if bits(1):
            zeros = next(n for n in range(33) if n == 32 or bits(1))
            bits(zeros if zeros < 32 else 0)
        if bits(1):  # decoder_model_info
            delay_bits = bits(5) + 1
            bits(42)
    delay_present = bits(1)
    for _ in range(bits(5) + 1):
        bits(12)
        if bits(5) > 7:
            bits(1)
        if delay_bits and bits(1):
            bits(2 * delay_bits + 1)
        if delay_present and bits(1):
            bits(4)
