import random
import re
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.errors import BadInput
from jobs.intake import vectors
from jobs.intake.vectors import PARQUET, inspect_vectors, read_embeddings
from jobs.schemas import VectorFile

VECTORS = np.arange(12, dtype=np.float32).reshape(4, 3)
IDS = ["a", "b", "c", "d"]


def npz(path: Path, **arrays: Any) -> Path:
    with path.open("wb") as file:
        np.savez(file, **arrays)
    return path


def parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_reads_npz(tmp_path: Path) -> None:
    labels = np.array(["x", "y", "", "x"])
    found = read_embeddings(
        npz(tmp_path / "a.npz", vectors=VECTORS.astype(np.float16), ids=IDS, label=labels, more=[1])
    )
    np.testing.assert_array_equal(found.vectors, VECTORS)
    assert found.vectors.dtype == np.float32
    assert (found.ids, found.labels, found.images, found.unused) == (IDS, ["x", "y", "", "x"], [], ("more",))


def test_ids_are_row_numbers_when_absent(tmp_path: Path) -> None:
    assert read_embeddings(npz(tmp_path / "a.npz", vector=VECTORS)).ids == ["0", "1", "2", "3"]


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float64(), 3), pa.large_list(pa.float32())])
def test_reads_parquet(tmp_path: Path, kind: Any) -> None:
    column = pa.array(VECTORS.tolist(), kind)
    found = read_embeddings(parquet(tmp_path / "a", vector=column, id=[1, 2, 3, 4], label=["x", None, "y", "y"]))
    np.testing.assert_array_equal(found.vectors, VECTORS)
    assert (found.ids, found.labels) == (["1", "2", "3", "4"], ["x", "", "y", "y"])


@pytest.mark.parametrize("inner", ["vectors.npz", "vectors.parquet"])
def test_reads_what_lies_in_a_zip_file(tmp_path: Path, inner: str) -> None:
    if inner.endswith("npz"):
        npz(tmp_path / inner, vectors=VECTORS, ids=IDS)
    else:
        parquet(tmp_path / inner, vectors=VECTORS.tolist(), ids=IDS)
    with ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / inner, inner)
        archive.writestr("images/a.png", b"")
    found = read_embeddings(tmp_path / "a.zip")
    assert found.ids == IDS and found.vectors.shape == (4, 3)


def ragged(path: Path) -> Path:
    return parquet(path, vectors=[[1.0, 2.0], [1.0]])


REFUSED = {
    "pickled": (lambda p: npz(p, vectors=np.array([{}, {}], object)), "`vectors` must hold numbers"),
    "pickled ids": (lambda p: npz(p, vectors=VECTORS, ids=np.array([{}] * 4, object)), "`ids` must hold texts"),
    "one dimension": (lambda p: npz(p, vectors=VECTORS[0]), "must have two dimensions"),
    "ids that repeat": (lambda p: npz(p, vectors=VECTORS, ids=["a"] * 4), "`ids` must differ"),
    "too few ids": (lambda p: npz(p, vectors=VECTORS, ids=["a"]), "`ids` has 1 values for 4 vectors"),
    "not finite": (lambda p: npz(p, vectors=VECTORS / 0), "NaN or infinity"),
    "no vectors": (lambda p: parquet(p, x=[1, 2]), "no column `vectors`; it has x"),
    "ragged": (ragged, "equally many values"),
    "no numbers": (lambda p: parquet(p, vectors=[["a"], ["b"]]), "`vectors` must hold numbers, not string"),
    "no lists": (lambda p: parquet(p, vectors=[1, 2]), "a column of lists of numbers"),
}


@pytest.mark.filterwarnings("ignore:(divide by zero|invalid value):RuntimeWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_named(tmp_path: Path, name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(BadInput, match=message):
        read_embeddings(make(tmp_path / "file"))


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1 and PAR1", b"PK\x03\x04", b"text"])
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(BadInput, match=r"damaged"):
        read_embeddings(tmp_path / "a")


def test_sizes_are_checked_before_values_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "MAX_ROWS", 3)
    for path in (npz(tmp_path / "a", vectors=VECTORS), parquet(tmp_path / "b", vectors=VECTORS.tolist())):
        with pytest.raises(BadInput, match="There are 4 vectors; there must be 2 to 3"):
            read_embeddings(path)


def test_a_header_that_claims_too_much_is_refused(tmp_path: Path) -> None:
    file = BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (90_000, 8_000)})
    with ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr("vectors.npy", file.getvalue())
    with pytest.raises(BadInput, match="too many; at most 12,500 fit"):
        read_embeddings(tmp_path / "a")


def inspected(path: Path) -> VectorFile | None:
    with path.open("rb") as file:
        return inspect_vectors(file)


def zipped(path: Path, *inner: Path, method: int = ZIP_DEFLATED) -> Path:
    with ZipFile(path, "w", method) as archive:
        for each in inner:
            archive.write(each, f"data/{each.name}")
        archive.writestr("images/a.png", b"")
    return path


def test_headers_say_how_many_vectors_of_how_many_values(tmp_path: Path) -> None:
    lists = parquet(tmp_path / "a.parquet", vectors=VECTORS.tolist(), id=IDS, labels=["x", None, "y", "y"])
    fixed = parquet(tmp_path / "b.parquet", vector=pa.array(VECTORS.tolist(), pa.list_(pa.float32(), 3)))
    arrays = npz(tmp_path / "c.npz", vectors=VECTORS, ids=IDS)
    for path in (lists, fixed, arrays, zipped(tmp_path / "d", lists), zipped(tmp_path / "e", arrays)):
        assert inspected(path) == VectorFile(n=4, dim=3)


def test_values_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "_embeddings", None)
    monkeypatch.setattr("numpy.lib.format.read_array", None)
    monkeypatch.setattr("pyarrow.parquet.ParquetFile.read", None)
    for path in (npz(tmp_path / "a", vectors=VECTORS), parquet(tmp_path / "b", vectors=VECTORS.tolist())):
        assert inspected(path) == VectorFile(n=4, dim=3)


IN_HEADERS = [name for name in REFUSED if name not in ("ids that repeat", "not finite")]


@pytest.mark.parametrize("name", IN_HEADERS)
def test_headers_say_what_cannot_be_used(tmp_path: Path, name: str) -> None:
    make, message = REFUSED[name]
    found = inspected(make(tmp_path / "file"))
    assert found and found.problem and re.search(message, found.problem) and (found.n, found.dim) == (None, None)


def test_images_are_no_vectors(tmp_path: Path) -> None:
    assert inspected(zipped(tmp_path / "a")) is None
    with pytest.raises(BadInput, match="neither a parquet file nor an npz file"):
        read_embeddings(tmp_path / "a")


def test_a_large_file_in_a_zip_file_is_left_to_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "a", npz(tmp_path / "v.npz", vectors=VECTORS))
    monkeypatch.setattr(vectors, "MAX_INSPECTED", 10)
    assert inspected(path) == VectorFile()
    assert read_embeddings(path).vectors.shape == (4, 3)


def test_metadata_beyond_reason_is_not_read(tmp_path: Path) -> None:
    size = vectors.MAX_FOOTER + 1
    (tmp_path / "a").write_bytes(PARQUET + bytes(size) + size.to_bytes(4, "little") + PARQUET)
    found = inspected(tmp_path / "a")
    assert found and found.problem == "the parquet file has more than 8,388,608 bytes of metadata"


def test_an_array_header_beyond_reason_is_not_read(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "a", "w", ZIP_DEFLATED) as archive:
        archive.writestr("vectors.npy", b"\x93NUMPY\x02\x00" + (1 << 30).to_bytes(4, "little") + bytes(1 << 20))
    found = inspected(tmp_path / "a")
    assert found and found.problem == "`vectors` is no array of numbers or texts"


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_damage_is_a_problem_and_nothing_else(tmp_path: Path, kind: str) -> None:
    make = npz if kind == "npz" else parquet
    whole = make(tmp_path / "a", vectors=VECTORS.tolist(), ids=IDS).read_bytes()
    dice = random.Random(1)
    for _ in range(100):
        damaged = bytearray(whole)
        for _ in range(dice.randint(1, 8)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        found = inspect_vectors(BytesIO(bytes(damaged)))
        assert found is None or found.problem or found.n
        try:
            (tmp_path / "b").write_bytes(bytes(damaged))
            read_embeddings(tmp_path / "b")
        except BadInput as error:
            assert error.code == "vectors_unusable"
