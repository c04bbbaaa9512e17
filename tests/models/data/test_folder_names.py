"""Names in zip files and tables, and text, as every system writes them."""

import struct
import unicodedata
import zipfile
from pathlib import Path

import pytest

from models.data.folder import image_folder
from models.errors import DataError
from tests.models.data.layouts import HALVES, ROWS, N, image, images, read, table, values

NFC = [f"Müller Ñandú {number:02}.png" for number in range(N)]
NFD = [unicodedata.normalize("NFD", name) for name in NFC]


class _Unflagged(zipfile.ZipInfo):
    """An entry whose name is in UTF-8 and does not say so, as macOS writes them."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.filename.encode("utf-8"), self.flag_bits & ~0x800


def unflagged(folder: Path, files: dict[str, bytes]) -> Path:
    path = folder / "mac.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(_Unflagged(name), data)
    return path


def labels(names: list[str], sep: str = ",", newline: str = "\n", encoding: str = "utf-8") -> bytes:
    rows = [sep.join((name, half)) for name, half in zip(names, HALVES, strict=True)]
    return table(sep.join(("file_name", "label")), *rows, newline=newline, encoding=encoding)


def named_images(names: list[str]) -> dict[str, bytes]:
    return {name: image(number) for number, name in enumerate(names)}


TEXTS = {
    "NFD names, an NFC table": named_images(NFD) | {"labels.csv": labels(NFC)},
    "NFC names, an NFD table": named_images(NFC) | {"labels.csv": labels(NFD)},
    "semicolons": images(N) | {"labels.csv": labels(ROWS, ";")},
    "semicolons, BOM, CRLF": images(N) | {"labels.csv": labels(ROWS, ";", "\r\n", "utf-8-sig")},
    "tabs": images(N) | {"labels.csv": labels(ROWS, "\t")},
    "a .tsv": images(N) | {"labels.tsv": labels(ROWS, "\t")},
    "UTF-16": images(N) | {"labels.csv": labels(ROWS, encoding="utf-16")},
    "UTF-16 without BOM": images(N) | {"labels.csv": labels(ROWS, encoding="utf-16-le")},
    "Windows-1252": named_images(NFC) | {"labels.csv": labels(NFC, encoding="cp1252")},
    "CR alone": images(N) | {"labels.csv": labels(ROWS, newline="\r")},
    "upper case in the zip": images(N, "{:02}.PNG") | {"labels.csv": labels(ROWS)},
    "upper case in the table": images(N) | {"LABELS.CSV": labels([row.upper() for row in ROWS])},
    "another suffix": images(N) | {"labels.csv": labels([row.replace("png", "jpg") for row in ROWS])},
    "no suffix": images(N) | {"labels.csv": labels([row[:-4] for row in ROWS])},
    "a line for Excel": images(N) | {"labels.csv": b"sep=;\r\n" + labels(ROWS, ";", "\r\n")},
    "names as in a URL": named_images([f"a b {row}" for row in ROWS])
    | {"labels.csv": labels([f"a%20b%20{r}" for r in ROWS])},
    "./ in the zip": images(N, "./{:02}.png") | {"./labels.csv": labels(ROWS)},
    "./ in the table": images(N) | {"labels.csv": labels([f"./{row}" for row in ROWS])},
    "backslashes in the table": images(N, "a/b/{:02}.png") | {"labels.csv": labels([f"a\\b\\{row}" for row in ROWS])},
    "backslashes in the zip": images(N, "a\\b\\{:02}.png") | {"a\\labels.csv": labels([f"b/{row}" for row in ROWS])},
    "an outer folder in the table alone": images(N) | {"labels.csv": labels([f"C:\\Users\\me\\{row}" for row in ROWS])},
    "an outer folder in the zip alone": images(N, "mine/img/{:02}.png") | {"mine/labels.csv": labels(ROWS)},
    "a table in another folder": images(N, "img/{:02}.png") | {"csv/labels.csv": labels([f"../img/{r}" for r in ROWS])},
    "cells at the ends of lines": images(N)
    | {"labels.csv": table("f,label,", *(f"{ROWS[i]},{HALVES[i]},,,," for i in range(N)))},
}


@pytest.mark.parametrize("files", TEXTS.values(), ids=TEXTS)
def test_names_and_tables_of_every_system(tmp_path: Path, files: dict[str, bytes]) -> None:
    found = read(tmp_path, files)
    assert found.label_names == ("cat", "dog")
    assert found.labels.tolist() == [value % 2 for value in values(found)] and len(found) == N
    assert found.report.skipped == () and found.report.warnings == ()


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_in_utf_8_without_the_flag(tmp_path: Path, form: str) -> None:
    files = {unicodedata.normalize("NFD", name): data for name, data in named_images(NFC).items()}
    rows = labels([unicodedata.normalize(form, name) for name in NFC])  # type: ignore[arg-type]
    found = image_folder(unflagged(tmp_path, files | {"labels.csv": rows}), 4, channels=1)
    assert found.labels.tolist() == [value % 2 for value in values(found)] and len(found) == N
    folders = {unicodedata.normalize("NFD", f"{'Größe' if i % 2 else 'Übung'}/{i}.png"): image(i) for i in range(N)}
    assert image_folder(unflagged(tmp_path, folders), 4).label_names == ("Größe", "Übung")


def test_names_of_dos_and_names_in_an_extra_field(tmp_path: Path) -> None:
    path = tmp_path / "dos.zip"
    unicode_path = "été/a.png".encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, extra in (("M\x81ller/a.png", b""), ("x/a.png", unicode_path), ("M\x81ller/b.png", b"")):
            entry = _Dos(name)
            entry.extra = struct.pack("<HHBI", 0x7075, 5 + len(extra), 1, 0) + extra if extra else b""
            archive.writestr(entry, image())
    assert image_folder(path, 4).label_names == ("Müller", "été")


class _Dos(zipfile.ZipInfo):
    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.filename.encode("latin-1"), self.flag_bits & ~0x800


def test_same_names_in_several_folders_are_distinguished(tmp_path: Path) -> None:
    files = {f"{k}/{i:02}.png": image(10 * k + i) for k in range(1, 11) for i in range(4)}
    assert read(tmp_path, files).label_names == tuple(str(k) for k in range(1, 11))
    rows = [f"{name},{'low' if int(name.split('/')[0]) < 6 else 'high'}" for name in files]
    for prefix in ("", "./", "data/", "/home/me/data/"):
        found = read(tmp_path, files | {"labels.csv": table("file,label", *(prefix + row for row in rows))})
        assert [found.label_names[k] for k in found.labels] == ["low" if v < 60 else "high" for v in values(found)]
    with pytest.raises(
        DataError, match=r"4 of 4 rows cannot be used: '00\.png': a row of labels\.csv without an image"
    ):
        read(tmp_path, files | {"labels.csv": table("file,label", *(f"{i:02}.png,x" for i in range(4)))})
