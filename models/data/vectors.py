"""Embeddings that users bring: vectors with ids, labels and names of images, from an npz or parquet file.

Either may lie in a zip file, also beside images. Nothing is unpickled; all sizes are checked before values are read.
"""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.lib import format as npy
from numpy.typing import NDArray

from models.errors import DataError

PARQUET = b"PAR1"
COLUMNS = ("vectors", "ids", "labels", "images")  # each may be named in the singular
MAX_ROWS, MIN_DIM, MAX_DIM, MAX_VALUES = 100_000, 2, 8_192, 100_000_000
MAX_TEXT = 200  # characters of an id or a label
MAX_NAME = 1_000  # characters of an image's name
MAX_LABELS = 200  # different ones

Texts = list[str]


@dataclass(frozen=True)
class Embeddings:
    """Vectors float32 (n, dim), their ids and, where the file has them, a label and the name of an image of each.

    An empty label or name stands for none. unused: columns of the file that were not read.
    """

    vectors: NDArray[np.float32]
    ids: Texts
    labels: Texts = field(default_factory=list)
    images: Texts = field(default_factory=list)
    unused: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


def read_embeddings(path: Path) -> Embeddings:
    """Reads a parquet file, an npz file, or a zip file that holds one of these; raises DataError."""
    with path.open("rb") as file:
        if file.read(4) == PARQUET:
            return _read_parquet(file)
        try:
            with zipfile.ZipFile(file) as archive:
                return _from_zip(archive)
        except (
            zipfile.BadZipFile,
            zipfile.LargeZipFile,
            NotImplementedError,
            EOFError,
            OSError,
            RuntimeError,
        ) as error:
            raise DataError("the vectors are neither a parquet file nor an npz file, or are damaged") from error


def _from_zip(archive: zipfile.ZipFile) -> Embeddings:
    names = archive.namelist()
    if any(name in _accepted("vectors", ".npy") for name in names):
        return _read_npz(archive)
    inner = [name for name in names if name.lower().endswith((".npz", ".parquet")) and not name.startswith("__MACOSX")]
    if len(inner) != 1:
        raise DataError(f"the zip file must hold one parquet or npz file of vectors; it holds {len(inner)}")
    _check_bytes(archive.getinfo(inner[0]).file_size)
    with archive.open(inner[0]) as file:
        if inner[0].lower().endswith(".parquet"):
            return _read_parquet(file)
        with zipfile.ZipFile(file) as npz:
            return _read_npz(npz)


def _accepted(column: str, suffix: str = "") -> tuple[str, str]:
    return f"{column}{suffix}", f"{column.removesuffix('s')}{suffix}"


def _check_bytes(n_bytes: int) -> None:
    if n_bytes > 16 * MAX_VALUES:
        raise DataError(f"the file has {n_bytes:,} bytes unpacked; at most {16 * MAX_VALUES:,} are read")


def _embeddings(read: Callable[[str], Any], names: list[str], vectors: NDArray[Any]) -> Embeddings:
    """The checked embeddings; `read` returns the values of a column by its name in the file."""
    columns = {column: next((name for name in _accepted(column) if name in names), None) for column in COLUMNS}
    n = len(vectors)
    texts = {
        column: _texts(column, read(name), n, MAX_NAME if column == "images" else MAX_TEXT)
        for column, name in columns.items()
        if name and column != "vectors"
    }
    ids = texts.pop("ids", None) or [str(row) for row in range(n)]
    if len(set(ids)) < n or not all(ids):
        raise DataError("`ids` must differ, and none may be empty")
    if len(set(texts.get("labels", ()))) > MAX_LABELS:
        raise DataError(f"`labels` has {len(set(texts['labels'])):,} different values; at most {MAX_LABELS} are used")
    if not np.isfinite(vectors).all():
        raise DataError("`vectors` holds NaN or infinity")
    unused = tuple(name for name in names if name not in columns.values())
    return Embeddings(np.ascontiguousarray(vectors, np.float32), ids, **texts, unused=unused)


def _texts(column: str, values: Any, n: int, most: int) -> Texts:
    if len(values) != n:
        raise DataError(f"`{column}` has {len(values):,} values for {n:,} vectors")
    texts = ["" if value is None else str(value) for value in values]
    if max(map(len, texts), default=0) > most:
        raise DataError(f"`{column}` has a value of more than {most} characters")
    return texts


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) != 2:
        raise DataError(f"`vectors` must have two dimensions, rows and values; it has {len(shape)}")
    n, dim = shape
    if not 2 <= n <= MAX_ROWS:
        raise DataError(f"there are {n:,} vectors; there must be 2 to {MAX_ROWS:,}")
    if not MIN_DIM <= dim <= MAX_DIM:
        raise DataError(f"the vectors have {dim:,} values; they must have {MIN_DIM} to {MAX_DIM:,}")
    if n * dim > MAX_VALUES:
        raise DataError(f"{n:,} vectors of {dim:,} values are too many; at most {MAX_VALUES // dim:,} fit")


# --- npz -------------------------------------------------------------------------------------------------------------


def _read_npz(archive: zipfile.ZipFile) -> Embeddings:
    names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    vectors_name = next(name for name in _accepted("vectors") if name in names)
    vectors = _read_npy(archive, vectors_name, numeric=True)
    return _embeddings(lambda name: _read_npy(archive, name).tolist(), names, vectors)


def _read_npy(archive: zipfile.ZipFile, name: str, *, numeric: bool = False) -> NDArray[Any]:
    """An array of numbers or texts, whose shape and type are checked first; raises DataError."""
    with archive.open(f"{name}.npy") as file:
        shape, dtype = _header(name, file)
    if dtype.kind not in ("fiu" if numeric else "USiufb"):
        raise DataError(f"`{name}` must hold {'numbers' if numeric else 'texts or numbers'}, not {dtype}")
    if numeric:
        _check_shape(shape)
    elif len(shape) != 1 or shape[0] > MAX_ROWS:
        raise DataError(f"`{name}` must have one value for each vector")
    _check_bytes(int(np.prod(shape)) * dtype.itemsize)
    try:
        with archive.open(f"{name}.npy") as file:
            array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"`{name}` is damaged") from error
    return array if dtype.kind != "S" else np.char.decode(array, "utf-8", "replace")


def _header(name: str, file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(file)]
        shape, _, dtype = read(file)
    except (ValueError, KeyError, EOFError) as error:
        raise DataError(f"`{name}` is no array of numbers or texts") from error
    return shape, dtype


# --- parquet ---------------------------------------------------------------------------------------------------------


def _read_parquet(file: IO[bytes]) -> Embeddings:
    try:
        source = pq.ParquetFile(pa.BufferReader(file.read()) if not file.seekable() else file)
        names = list(source.schema_arrow.names)
        column = next((name for name in _accepted("vectors") if name in names), None)
        if column is None:
            raise DataError(f"the parquet file has no column `vectors`; it has {', '.join(names[:20])}")
        if source.metadata.num_rows > MAX_ROWS:
            raise DataError(f"there are {source.metadata.num_rows:,} vectors; there must be 2 to {MAX_ROWS:,}")
        groups = range(source.metadata.num_row_groups)
        _check_bytes(sum(source.metadata.row_group(group).total_byte_size for group in groups))
        vectors = _matrix(source.read([column]).column(column).combine_chunks())
        return _embeddings(lambda name: source.read([name]).column(name).to_pylist(), names, vectors)
    except (pa.ArrowException, OSError) as error:
        raise DataError("the parquet file is damaged") from error


def _matrix(lists: Any) -> NDArray[Any]:
    """The rows (n, dim) of a column of lists, which must have equal lengths."""
    is_list = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(check(lists.type) for check in is_list):
        raise DataError(f"`vectors` must be a column of lists of numbers, not of {lists.type}")
    kind = lists.type.value_type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        raise DataError(f"`vectors` must hold numbers, not {kind}")
    values, n = lists.flatten(), len(lists)
    dim = len(values) // max(n, 1)
    lengths = pc.list_value_length(lists).unique().to_pylist()
    if lists.null_count or values.null_count or lengths != [dim]:
        raise DataError("all `vectors` must have equally many values, and none may be missing")
    _check_shape((n, dim))
    matrix: NDArray[Any] = values.to_numpy(zero_copy_only=False).reshape(n, dim)
    return matrix
