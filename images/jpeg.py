"""Removes the metadata of JPEG files, alone or as the first image of an MPO, and counts their scans."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from images.errors import ImageError, truncated, unreadable
from images.source import Source, orientation_of

# Pillow stores and joins segments, some kinds in quadratic time. An XMP packet of 100 MB has 1,600.
_MAX_SEGMENTS = 2_000
# A scan of a progressive JPEG may have only 42 bytes, and costs a pass over all pixels. Encoders write about ten.
_MAX_SCANS = 100

# The coefficients of a file of several scans are all in memory, 2 bytes each: 4 to 8 bytes per pixel at any reduction.
_MAX_COEFFICIENT_BYTES = 320_000_000

_MARKER = re.compile(rb"\xff+([\x01-\xfe])", re.DOTALL)
_AFTER_SCAN = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])", re.DOTALL)  # neither a stuffed \xff\0 nor a restart marker
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_SOI, _EOI, _SOS, _APP0, _APP1, _APP2, _APP14, _COMMENT = 0xD8, 0xD9, 0xDA, 0xE0, 0xE1, 0xE2, 0xEE, 0xFE
_STANDALONE = {0x01, *range(0xD0, 0xD8)}
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


@dataclass
class _Parts:
    """The parts of a file: the segments that the decoder needs, the metadata, and the state of every coefficient."""

    kept: list[bytes | memoryview] = field(default_factory=lambda: [b"\xff\xd8"])
    orientation: int = 1
    profile: dict[int, bytes] = field(default_factory=dict)  # pieces by their number
    pieces: int = 0
    progressive: bool = False
    missing: dict[int, list[int]] = field(default_factory=dict)  # bits, of each component's 64 coefficients
    coefficient_bytes: int = 0
    scans: int = 0
    ended: bool = False


def strip(data: bytes) -> Source:
    """Returns the first image of a file without metadata, up to its end marker, which is added if it is missing.

    Raises ImageError `image_unreadable` for too many segments or scans, and `image_truncated` for a file cut before
    its last scan.
    """
    parts = _Parts()
    for count, (code, segment, coded) in enumerate(_segments(data)):
        if count >= _MAX_SEGMENTS:
            raise unreadable("JPEG", " is split into too many pieces")
        if code == _EOI or (code == _SOI and parts.scans):  # another image begins: no end marker
            parts.ended = code == _EOI
            break
        _take(parts, code, segment, coded)
        if parts.scans > _MAX_SCANS:
            raise unreadable("JPEG", f" has more than {_MAX_SCANS} scans")
    if not parts.scans:
        raise truncated("JPEG")
    if parts.scans > 1 and parts.coefficient_bytes > _MAX_COEFFICIENT_BYTES:
        raise ImageError("image_too_large", "A JPEG of so many pixels must have one scan (baseline, not progressive).")
    if not parts.ended and any(bits for component in parts.missing.values() for bits in component):
        raise truncated("JPEG")
    whole = len(parts.profile) == parts.pieces
    profile = b"".join(parts.profile[number] for number in sorted(parts.profile)) if whole else b""
    body = b"".join(parts.kept) + b"\xff\xd9"
    return Source(body, parts.orientation, profile, scans=parts.scans, complete=parts.ended)


def padded(source: Source) -> bytes:
    """The same file with other bytes before its end marker, which change the image only if pixels are missing."""
    # A decoder that searches for the next restart marker skips everything else, and stops at one of these two.
    last_scan = source.data[source.data.rindex(b"\xff\xda") :]
    seen = _RESTART.findall(last_scan)
    due = seen[-1][1] - 0xD0 + 1 if seen else 0
    restarts = b"".join(bytes((0xFF, 0xD0 + (due + n) % 8)) + b"\x55" * 512 for n in range(8))
    return source.data[:-2] + b"\x55" * 512 + restarts + b"\xff\xd9"


def _segments(data: bytes) -> Iterator[tuple[int, bytes, bytes | memoryview]]:
    """Yields each marker's code, its segment with marker and length, and the coded data after a scan's header."""
    at = 2
    while marker := _MARKER.search(data, at):
        code, at = marker[1][0], marker.end()
        if code in _STANDALONE or code in (_SOI, _EOI):
            yield code, marker[0][-2:], b""
            continue
        if at + 2 > len(data):
            return
        (length,) = struct.unpack_from(">H", data, at)
        if length < 2 or at + length > len(data):
            return
        segment, at = marker[0][-2:] + data[at : at + length], at + length
        coded: bytes | memoryview = b""
        if code == _SOS:
            after = _AFTER_SCAN.search(data, at)
            end = after.start() if after else len(data)
            coded, at = memoryview(data)[at : end - _fill(data, end)], end
        yield code, segment, coded


def _fill(data: bytes, end: int) -> int:
    """Number of bytes before `end` that are part of a truncated marker."""
    return 0 if data[end - 1] != 0xFF else end - len(data[:end].rstrip(b"\xff"))


def _take(parts: _Parts, code: int, segment: bytes, coded: bytes | memoryview) -> None:
    body = segment[4:]
    if code == _APP1 and body.startswith(b"Exif\0\0"):
        parts.orientation = orientation_of(body) if parts.orientation == 1 else parts.orientation
    elif code == _APP2 and body.startswith(b"ICC_PROFILE\0") and len(body) > 14:
        parts.profile[body[12]], parts.pieces = body[14:], body[13]
    elif code in range(_APP0, 0xF0) or code == _COMMENT:
        # These two segments define the color components: JFIF means YCbCr, and Adobe names them.
        if (code == _APP0 and body.startswith(b"JFIF\0")) or (code == _APP14 and body.startswith(b"Adobe")):
            parts.kept.append(segment)
    elif code not in _STANDALONE and code != _SOI:
        parts.kept += [segment, coded]
        if code in _FRAMES:
            parts.progressive = code in (0xC2, 0xC6, 0xCA, 0xCE)
            parts.missing = {segment[at]: [16] * 64 for at in range(10, len(segment) - 2, 3)}
            parts.coefficient_bytes = _coefficient_bytes(body)
        elif code == _SOS:
            parts.scans += 1
            _note_scan(parts, body)


def _coefficient_bytes(frame: bytes) -> int:
    """Memory for the coefficients: 2 bytes per sample of a frame, whose components may be subsampled."""
    if len(frame) < 6 + 3 * frame[5] or not frame[5]:
        return 0
    height, width = struct.unpack_from(">HH", frame, 1)
    factors = [divmod(frame[at], 16) for at in range(7, 6 + 3 * frame[5], 3)]
    widest, highest = max(h for h, _ in factors) or 1, max(v for _, v in factors) or 1
    return sum(2 * (width * h // widest) * (height * v // highest) for h, v in factors)


def _note_scan(parts: _Parts, header: bytes) -> None:
    """Records which bits of which coefficients a scan contains."""
    if not header or len(header) < 4 + 2 * header[0]:
        return
    first, last, bits = header[-3], min(header[-2], 63), header[-1] & 15
    for component in header[1 : 1 + 2 * header[0] : 2]:
        if component in parts.missing:
            brought = range(first, last + 1) if parts.progressive else range(64)
            for coefficient in brought:
                parts.missing[component][coefficient] = bits if parts.progressive else 0
