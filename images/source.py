"""An image file without its metadata, and the facts read from it."""

import struct
from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """An image file without metadata, for its decoder, and the facts that were read from the metadata.

    orientation: 1 to 8, as in EXIF. profile: an ICC profile, or empty. depth: bits of a sample. key: the sample
    values, of `depth` bits, of the one color that is transparent. inverted: gray where 0 is white. scans: passes over
    the pixels. complete: False if the end marker is missing, so that pixels may be missing.
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
    """Reads the orientation in EXIF data, 1 to 8; 1 if there is none or the data is broken."""
    # Pillow's reader copies the data of each of up to 65,535 tags, and raises on broken data. One tag is needed.
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
