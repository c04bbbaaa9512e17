import struct
from io import BytesIO

import pytest

from images.film import film_facts


def box(kind: bytes, *inside: bytes) -> bytes:
    body = b"".join(inside)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def header(kind: bytes = b"vide", *, frames: int = 7, turned: bool = False) -> bytes:
    matrix = [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30] if turned else [65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30]
    track = bytes(40) + struct.pack(">9iII", *matrix, 640 << 16, 360 << 16)
    table = box(b"stbl", box(b"stsz", struct.pack(">III", 0, 0, frames)))
    media = box(b"mdia", box(b"hdlr", bytes(8) + kind + bytes(12)), box(b"minf", table))
    return box(b"trak", box(b"tkhd", track), media)


def film(*tracks: bytes, before: bytes = b"") -> BytesIO:
    return BytesIO(box(b"ftyp", b"isom") + before + box(b"moov", *tracks))


def test_size_and_frames_are_those_of_the_first_video_track() -> None:
    assert film_facts(film(header())) == (640, 360, 7)
    assert film_facts(film(header(b"soun"), header(frames=9), header(frames=5))) == (640, 360, 9)
    assert film_facts(film(header(turned=True))) == (360, 640, 7), "a phone that was held upright"
    large = struct.pack(">I4sQ", 1, b"mdat", 16 + 99) + bytes(99)
    assert film_facts(film(header(), before=large)) == (640, 360, 7), "the tables may come last"


@pytest.mark.parametrize(
    "file",
    [
        BytesIO(b""),
        BytesIO(b"\0" * 64),
        BytesIO(box(b"ftyp", b"isom")),
        film(),
        film(header(b"soun")),
        film(header(frames=0)),
        film(header()[:60]),
        BytesIO(box(b"ftyp", b"isom") + struct.pack(">I4s", 2**32 - 1, b"moov")),
        BytesIO(struct.pack(">I4s", 8, b"free") * 20_000),
    ],
)
def test_other_and_broken_files_are_refused(file: BytesIO) -> None:
    with pytest.raises(ValueError):
        film_facts(file)
