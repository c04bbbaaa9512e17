"""What of a zip file is skipped and named, and what is an error; bounds of tables."""

import tracemalloc
import zipfile
from pathlib import Path

import pytest

import models.data.matching
from models.data.archive import Limits
from models.data.folder import image_folder
from models.errors import DataError
from tests.models.data.layouts import HALVES, IN_FOLDERS, ROWS, WET, N, codes, image, images, jsonl, read, table, values

# --- what is skipped -------------------------------------------------------------------------------------------------

JUNK = {
    **{"__MACOSX/my set/._00.png": b"\0\5\x16\7", "my set/.DS_Store": b"\0\0\0\1Bud1", "my set/desktop.ini": b"[x]"},
    **{"my set/Thumbs.db": b"\xd0\xcf", "my set/.ipynb_checkpoints/00.png": image(), "my set/@eaDir/00.png": b"x"},
    **{"my set/LICENSE": b"MIT", "my set/README.roboflow.txt": b"hello", "my set/notes.md": b"# Notes"},
}


def test_what_systems_add_is_no_entry(tmp_path: Path) -> None:
    found = read(tmp_path, images(N, "my set/{:02}.png") | JUNK)
    assert len(found) == N and found.label_names == () and found.report.skipped == ()


def test_a_bad_entry_is_skipped_and_named(tmp_path: Path) -> None:
    bad = {"my set/bad.png": image()[:40], "my set/a.heic": b"\0\0\0\x18ftypheic" + bytes(99)}
    other = {
        f"my set/a.{suffix}": b"%PDF" for suffix in ("mp4", "zip", "psd", "svg", "pdf", "py", "npy", "yaml", "tsv")
    }
    found = read(tmp_path, images(200, "my set/{:03}.png") | JUNK | bad | other)
    assert len(found) == 200
    assert {name for name, _ in found.report.skipped} == set(bad) | set(other)
    assert [name for name, _ in found.report.skipped[:2]] == sorted(bad), "images first"
    assert all(reason for _, reason in found.report.skipped)


def test_files_without_a_suffix_are_known_by_their_bytes(tmp_path: Path) -> None:
    found = read(tmp_path, {f"{i:064x}": image(i) for i in range(10)} | {"b.bin": image(10), "c.bin": b"no image"})
    assert len(found) == 11 and [name for name, _ in found.report.skipped] == ["c.bin"]


def test_more_than_a_tenth_is_an_error_that_names_the_first_ten(tmp_path: Path) -> None:
    files = images(100, "{:03}.png")
    cut = dict.fromkeys(list(files)[:10], image()[:40])
    assert len(read(tmp_path, files | cut)) == 90
    cut = dict.fromkeys(list(files)[:11], image()[:40])
    with pytest.raises(DataError, match=r"11 of 100 images cannot be used: '000\.png': .*'009\.png': .*; and 1 more$"):
        read(tmp_path, files | cut)
    with pytest.raises(DataError, match="holds 90 images; at least 95 are needed"):
        read(tmp_path, files | dict.fromkeys(list(files)[:10], image()[:40]), minimum=95)


def test_those_that_are_skipped_do_not_count_for_the_limit(tmp_path: Path) -> None:
    found = read(tmp_path, images(40) | {"00.png": image()[:40], "04.png": image()[:40]}, limit=20)
    assert len(found) == 20 and len(found.report.skipped) == 2


def test_rows_that_cannot_be_used_are_skipped_and_named(tmp_path: Path) -> None:
    rows = [f"{row},{half},{int(wet)}" for row, half, wet in zip(ROWS, HALVES, WET, strict=True)]
    rows[0], rows[1] = "00.png,,1", "01.png,dog,maybe"
    found = read(tmp_path, images(N) | {"labels.csv": table("file,label,wet", *rows, "gone.png,cat,1", "x,y")})
    assert values(found) == list(range(2, N))
    assert found.report.skipped == (
        ("00.png", "column 'label' is empty"),
        ("01.png", "column 'wet' must be 0 or 1 or false or true, not 'maybe'"),
        ("labels.csv, row 23", "2 cells; the header has 3"),
        ("gone.png", "a row of labels.csv without an image"),
    )


def test_an_image_beside_the_folders_is_skipped_and_more_make_folders_no_classes(tmp_path: Path) -> None:
    found = read(tmp_path, IN_FOLDERS | {"cover.png": image()})
    assert found.label_names == ("cat", "dog")
    assert found.report.skipped == (("cover.png", "it lies in none of the folders, which are the classes"),)
    many = read(tmp_path, IN_FOLDERS | images(3))
    assert len(many) == N + 3 and many.label_names == () and codes(many) == ["folders_not_used"]


def test_captions_that_are_missing_or_none_are_reported(tmp_path: Path) -> None:
    captions = {f"{i:02}.txt": b"a cat" for i in range(1, N)}
    found = read(tmp_path, images(N) | captions | {"05.txt": b"\xff\xff\x81", "classes.txt": b"cat\ndog\n"})
    assert len(found) == N and found.captions.count("") == 2
    assert [name for name, _ in found.report.skipped] == ["classes.txt", "05.txt"]
    assert [warning["message"] for warning in found.report.warnings] == [
        "2 of 20 images have no caption: '00.png', '05.png'."
    ]


def test_boxes_of_objects_are_no_captions(tmp_path: Path) -> None:
    boxes = {f"labels/train/{i:02}.txt": b"0 0.5 0.5 0.25 1\n3 0.1 0.1 0.1 0.1\n" for i in range(N)}
    found = read(tmp_path, images(N, "images/train/{:02}.png") | boxes | {"data.yaml": b"names: [cat]"})
    assert len(found) == N and found.captions == () and found.label_names == ()
    assert ("labels/train/00.txt", "boxes of objects, which no recipe uses") in found.report.skipped


# --- bounds ----------------------------------------------------------------------------------------------------------

HOSTILE = {
    "millions of short rows": ("labels.csv", b"file,label\n" + b"a\n" * 200_000, "more than 50000 rows"),
    "millions of columns": ("labels.csv", b"file" + b"," * 4_000_000, "a line of more than 1048576 characters"),
    "thousands of columns": ("labels.csv", b"file" + b"," * 4_000, "4001 columns; at most 1000 are allowed"),
    "one line of JSON": ("metadata.jsonl", b"[" + b"[]," * 1_000_000 + b"[]]", "a line of more than"),
    "deep JSON": ("metadata.jsonl", b'{"a":' * 200_000, "'metadata.jsonl, line 1': not JSON"),
    "many titles": (
        "metadata.jsonl",
        jsonl(*({"file_name": f"{i:02}.png", **{f"{i}x{k}": 1 for k in range(999)}} for i in range(N))),
        "more than 1000 columns",
    ),
    "a name of many folders": (
        "labels.csv",
        table("f,a", *(["/".join("a" * 400) + ",b"] * 2_000)),
        "2000 of 2000 rows",
    ),
    "a list of lists": ("things.json", b"[" + b"[]," * 100_000 + b"[]]", None),
    "a list of too many lists": ("things.json", b"[" + b"[]," * 2_100_000 + b"[]]", None),
    "deep lists": ("things.json", b"[" * 200_000, None),
    "a huge number": ("things.json", b"[" + b"9" * 100_000 + b"]", None),
}


@pytest.mark.parametrize(("name", "data", "error"), HOSTILE.values(), ids=HOSTILE)
def test_no_table_takes_much_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes, error: str | None
) -> None:
    monkeypatch.setattr(models.data.matching, "MAX_ROWS", 50_000)
    files = images(N) | {name: data}
    tracemalloc.start()
    if error:
        with pytest.raises(DataError, match=error):
            read(tmp_path, files)
    else:
        found = read(tmp_path, files)
        assert len(found) == N and [skipped for skipped, _ in found.report.skipped] == [name]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 << 20, f"{peak >> 20} MB"


def test_junk_is_no_entry_that_counts(tmp_path: Path) -> None:
    files = images(6) | {f"__MACOSX/._{i:02}.png": b"" for i in range(6)}
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    assert len(image_folder(tmp_path / "set.zip", 4, limits=Limits(entries=6))) == 6
