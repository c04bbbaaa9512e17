"""Bounds of folders and zip files, and damage in these."""

import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from models.data.archive import Limits
from models.data.dataset import listed, ordered
from models.data.folder import image_folder
from models.errors import DataError
from tests.models.data.packed import BLUE, TWO, Pack, image, zipped

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")

# --- bounds ----------------------------------------------------------------------------------------------------------


def test_too_few_or_none(pack: Pack, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds 2 images; at least 3 are needed"):
        image_folder(pack(TWO), 8, minimum=3)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds 0 images; at least 1 are needed"):
        image_folder(tmp_path / "empty", 8, minimum=0)
    with pytest.raises(DataError, match="no folder or zip file 'absent'"):
        image_folder(tmp_path / "absent", 8)


def test_channels_are_one_or_three(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="channels must be 1 or 3, got 4"):
        image_folder(tmp_path, 8, channels=4)


def test_entries_and_bytes_are_bounded(pack: Pack) -> None:
    path = pack({f"{i}.png": image() for i in range(6)})
    assert len(image_folder(path, 8, limits=Limits(entries=6))) == 6
    with pytest.raises(DataError, match="holds more than 5 files"):
        image_folder(path, 8, limits=Limits(entries=5))
    with pytest.raises(DataError, match=r"6 of 6 images .*'0\.png': more than 50 bytes"):
        image_folder(path, 8, limits=Limits(file_bytes=50))
    with pytest.raises(DataError, match="more than 200 bytes in all"):
        image_folder(path, 8, limits=Limits(total_bytes=200))
    with pytest.raises(DataError, match="20 x 20 pixels; 399 in all"):
        image_folder(path, 8, limits=Limits(pixels=399))


def test_a_zip_bomb_is_read_no_further_than_the_limit(tmp_path: Path) -> None:
    path = zipped(tmp_path, {"a.png": bytes(300 << 20), "b.png": bytes(1)})
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    with pytest.raises(DataError, match=r"'a\.png': more than 4194304 bytes"):
        image_folder(path, 8, limits=Limits(file_bytes=4 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20


def test_a_zip_that_declares_fewer_bytes_than_it_holds_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path, {"a.png": bytes(1 << 20)})
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 1 << 20), struct.pack("<I", 10)))
    with pytest.raises(DataError, match=r"'a\.png': damaged in the zip file"):
        image_folder(path, 8)


def test_a_directory_of_millions_is_not_even_read(tmp_path: Path) -> None:
    path = zipped(tmp_path, {f"{i}.png": b"" for i in range(3000)})
    tracemalloc.start()
    with pytest.raises(DataError, match="holds more than 5 files"):
        image_folder(path, 8, limits=Limits(entries=5))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000


def test_names_in_a_zip_reach_no_path(tmp_path: Path) -> None:
    names = ["../../evil.png", "/abs/a.png", "C:\\win\\b.png", "ok/c.png", "ok/../../../d.png"]
    (tmp_path / "in").mkdir()
    path = zipped(tmp_path / "in", dict.fromkeys(names, image()))
    before = sorted(tmp_path.rglob("*"))
    found = image_folder(path, 8)
    assert found.label_names == ("C:", "abs", "ok") and len(found) == 3
    assert sorted(tmp_path.rglob("*")) == before


def test_zip_files_that_cannot_be_read_in_place(tmp_path: Path) -> None:
    (tmp_path / "not.zip").write_bytes(b"PK\3\4 and no more")
    with pytest.raises(DataError, match=r"not\.zip is not a complete zip file"):
        image_folder(tmp_path / "not.zip", 8)
    with zipfile.ZipFile(tmp_path / "lzma.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.png", image())
    with pytest.raises(DataError, match=r"'a\.png': compressed by another method than deflate"):
        image_folder(tmp_path / "lzma.zip", 8)
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a.png", image())
        archive.writestr("a.png", image())
    with pytest.raises(DataError, match=r"'a\.png': a later file has the same name"):
        image_folder(tmp_path / "twice.zip", 8)


def test_damage_in_a_zip_names_the_file(tmp_path: Path) -> None:
    path = zipped(tmp_path, {"a.png": image(), "b.png": image(BLUE)})
    data = bytearray(path.read_bytes())
    place = data.index(b"a.png") + 20
    data[place] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"1 of 2 images cannot be used: 'a\.png': damaged in the zip file"):
        image_folder(path, 8)


def test_an_encrypted_entry_is_named(tmp_path: Path) -> None:
    path = zipped(tmp_path, {"a.png": image()})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"'a\.png': encrypted"):
        image_folder(path, 8)


def test_names_are_listed_and_ordered() -> None:
    assert listed(["a", "b\n"]) == "'a', 'b\\n'"
    assert listed([str(i) for i in range(12)]).endswith("'9' and 2 more")
    assert len(listed(["x" * 5000])) < 130
    assert ordered(["10", "9", "10"]) == ("9", "10")
    assert ordered(["b", "10", "9"]) == ("10", "9", "b")
