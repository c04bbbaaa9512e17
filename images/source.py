"""What a container of pixels holds, with its metadata taken out."""

import struct
from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """An image file as its decoder gets it, and what was read from the metadata that it no longer has.

    orientation: 1 to 8, as EXIF counts. profile: an ICC profile, or empty. depth: bits of a sample. key: the sample
    values, of `depth` bits, of the one color that is transparent. inverted: gray where 0 is white. scans: passes over
    the pixels. complete: False where an end marker is missing, so that pixels may be, too.
    """

    data: bytes
    orientation: int = 1
    profile: bytes = b""
    depth: int = 8
    key: tuple[int, ...] | None = None
    inverted: bool = False
    scans: int = 1
    complete: bool = True


def orientation_of(exif: bytes) -> int:
    """The orientation in EXIF data, 1 to 8; 1 where there is none or the data is broken."""
    # Pillow's reader copies what each of 65,535 tags points to, and raises on broken data. One tag is needed.
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    try:
        if order is None:
            return 1
        (at,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, at)
        for entry in range(at + 2, at + 2 + 12 * min(count, 1_000), 12):
            tag, kind, values = struct.unpack_from(order + "HHI", tiff, entry)
            if tag == 0x112 and values == 1 and kind in (3, 4):
                (value,) = struct.unpack_from(order + ("H" if kind == 3 else "I"), tiff, entry + 8)
                return value if 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1
