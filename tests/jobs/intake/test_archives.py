import io
import random
import struct
import zipfile

import pytest

import jobs.intake.archives
from images.zips import MAX_FILES
from jobs.errors import BadInput
from jobs.intake.archives import count_files
from models.data.archive import LIMITS


def zipped(*names: str) -> bytes:
    """Returns a zip file with these entries; the names of folders end in a slash."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, "" if name.endswith("/") else "bytes")
    return file.getvalue()


def refused(data: bytes) -> str:
    with pytest.raises(BadInput) as error:
        count_files(io.BytesIO(data))
    assert error.value.code == "archive_unreadable"
    return error.value.message


def test_files_are_counted_and_folders_are_not() -> None:
    assert count_files(io.BytesIO(zipped("a/", "a/1.png", "a/2.png", "labels.csv"))) == 3


def test_what_systems_add_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.intake.archives, "MAX_FILES", 2)
    junk = ("__MACOSX/a/._1.png", "__MACOSX/a/._2.png", "a/.DS_Store", "a/Thumbs.db")
    assert count_files(io.BytesIO(zipped("a/", "a/1.png", "a/2.png", *junk))) == 2
    assert "has 0 files" in refused(zipped(*junk))


def test_as_many_files_are_taken_as_a_training_reads() -> None:
    assert LIMITS.entries == MAX_FILES


def test_what_is_no_zip_file_is_refused() -> None:
    for data in (b"", b"PK\3\4", b"\x89PNG\r\n\x1a\n" + b"0" * 100, zipped("1.png")[:-10]):
        assert "must be an undamaged zip file" in refused(data)


def test_an_empty_one_and_one_with_too_many_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "has 0 files" in refused(zipped("folder/"))
    monkeypatch.setattr(jobs.intake.archives, "MAX_FILES", 2)
    assert "has 3 files; it must have 1 to 2" in refused(zipped("1", "2", "3"))


def test_a_directory_beyond_reason_is_not_read() -> None:
    length = 64 << 20
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, length, 0, 0)
    assert "must be an undamaged zip file" in refused(b"\0" * length + end)


def test_no_damage_gets_past_the_one_error() -> None:
    whole, dice = zipped(*(f"{n}.png" for n in range(20))), random.Random(1)
    for _ in range(500):
        damaged = bytearray(whole)
        for _ in range(dice.randint(1, 8)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        try:
            assert 1 <= count_files(io.BytesIO(bytes(damaged))) <= 20
        except BadInput as error:
            assert error.code == "archive_unreadable"
