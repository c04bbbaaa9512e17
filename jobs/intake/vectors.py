"""Embeddings that users bring: vectors with ids, labels and names of images, from an npz or parquet file.

Either may lie in a zip file, also beside images. Nothing is unpickled; all sizes are checked before values are read.
"""

import math
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from images.zips import ZipError, open_zip
from jobs.requests.facts import unusable_vectors
from jobs.schemas import VectorFile

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

PARQUET = b"PAR1"
COLUMNS = ("vectors", "ids", "labels", "images")  # each may be named in the singular
MAX_ROWS, MIN_DIM, MAX_DIM, MAX_VALUES = 100_000, 2, 8_192, 100_000_000
MAX_TEXT = 200  # characters of an id or a label
MAX_NAME = 1_000  # characters of an image's name
MAX_LABELS = 200  # different ones
MAX_FOOTER = 8 << 20  # bytes of the metadata of a parquet file
MAX_HEADER = 16_384  # bytes of the header of an array, more than numpy allows
MAX_INSPECTED = 128 << 20  # unpacked bytes of a file inside a zip file, which is unpacked to find its end

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


@dataclass(frozen=True)
class _Source:
    """An opened file whose headers are checked: all names in it, the shape of the vectors, and how values are read.

    columns: the names in the file, by those of `COLUMNS`. read: the values of a column, by its name in the file.
    """

    names: Sequence[str]
    columns: dict[str, str]
    shape: tuple[int, int]
    read: Callable[[str], Any]


def inspect_vectors(file: IO[bytes]) -> VectorFile | None:
    """What the headers of a file say of the vectors in it; None for a file that is not one of vectors.

    Reads the footer of a parquet file or the headers of the arrays of an npz file. A large file inside a zip file is
    left to the job.
    """
    try:
        with _opened(file, MAX_INSPECTED) as source:
            return VectorFile(n=source.shape[0], dim=source.shape[1]) if source else None
    except _UninspectedError:
        return VectorFile()
    except _Problem as problem:
        return VectorFile(problem=str(problem))


def read_embeddings(path: Path) -> Embeddings:
    """Reads a parquet file, an npz file, or a zip file that holds one of these; raises BadInput."""
    try:
        with path.open("rb") as file, _opened(file) as source:
            if source is None:
                raise _Problem("the file is neither a parquet file nor an npz file, and no zip file that holds one")
            return _embeddings(source)
    except _Problem as problem:
        raise unusable_vectors(str(problem)) from problem


class _Problem(ValueError):
    """What is wrong with a file of vectors."""


class _UninspectedError(Exception):
    """A file inside a zip file is too large to look into it."""


@contextmanager
def _opened(file: IO[bytes], most: int = 16 * MAX_VALUES) -> Iterator[_Source | None]:
    """The source in a file; None for a file that holds none. most: unpacked bytes of a file inside a zip file."""
    start = file.read(len(PARQUET))
    file.seek(0)
    try:
        if start == PARQUET:
            yield _parquet(file)
        else:
            with open_zip(file) as archive:
                yield from _in_zip(archive, most)
    except (_Problem, _UninspectedError, MemoryError):
        raise
    except ZipError as error:
        raise _Problem("the file is neither a parquet file nor an npz file, or is damaged") from error
    except Exception as error:  # zipfile, numpy and pyarrow raise many classes of errors on untrusted bytes
        raise _Problem("the file is damaged") from error


def _in_zip(archive: zipfile.ZipFile, most: int) -> Iterator[_Source | None]:
    names = archive.namelist()
    if any(name.endswith(".npy") and "/" not in name for name in names):
        yield _npz(archive)
        return
    inner = [name for name in names if name.lower().endswith((".npz", ".parquet")) and not name.startswith("__MACOSX")]
    if not inner:
        yield None
        return
    if len(inner) > 1:
        raise _Problem(f"the zip file must hold one parquet or npz file of vectors; it holds {len(inner)}")
    _check_bytes(n_bytes := archive.getinfo(inner[0]).file_size)
    if n_bytes > most:
        raise _UninspectedError
    with archive.open(inner[0]) as file:
        if inner[0].lower().endswith(".parquet"):
            yield _parquet(file)
        else:
            with open_zip(file) as npz:
                yield _npz(npz)


def _columns(names: Sequence[str], kind: str) -> dict[str, str]:
    found = {column: next((name for name in (column, column[:-1]) if name in names), None) for column in COLUMNS}
    if found["vectors"] is None:
        raise _Problem(f"the file has no {kind} `vectors`; it has {', '.join(names[:20]) or 'none'}")
    return {column: name for column, name in found.items() if name}


def _check_bytes(n_bytes: int) -> None:
    if n_bytes > 16 * MAX_VALUES:
        raise _Problem(f"the file has {n_bytes:,} bytes unpacked; at most {16 * MAX_VALUES:,} are read")


def _check_shape(shape: Sequence[int]) -> tuple[int, int]:
    if len(shape) != 2:
        raise _Problem(f"`vectors` must have two dimensions, rows and values; it has {len(shape)}")
    n, dim = shape
    if not 2 <= n <= MAX_ROWS:
        raise _Problem(f"there are {n:,} vectors; there must be 2 to {MAX_ROWS:,}")
    if not MIN_DIM <= dim <= MAX_DIM:
        raise _Problem(f"the vectors have {dim:,} values; they must have {MIN_DIM} to {MAX_DIM:,}")
    if n * dim > MAX_VALUES:
        raise _Problem(f"{n:,} vectors of {dim:,} values are too many; at most {MAX_VALUES // dim:,} fit")
    return n, dim


def _embeddings(source: _Source) -> Embeddings:
    """Reads and checks the values of a source."""
    n, columns = source.shape[0], source.columns
    vectors = source.read(columns["vectors"])
    texts = {column: _texts(column, source.read(name)) for column, name in columns.items() if column != "vectors"}
    ids = texts.pop("ids", None) or [str(row) for row in range(n)]
    if len(set(ids)) < n or not all(ids):
        raise _Problem("`ids` must differ, and none may be empty")
    if len(set(texts.get("labels", ()))) > MAX_LABELS:
        raise _Problem(f"`labels` has {len(set(texts['labels'])):,} different values; at most {MAX_LABELS} are used")
    if not np.isfinite(vectors).all():
        raise _Problem("`vectors` holds NaN or infinity")
    unused = tuple(name for name in source.names if name not in columns.values())
    return Embeddings(np.ascontiguousarray(vectors, np.float32), ids, **texts, unused=unused)


def _texts(column: str, values: Any) -> Texts:
    texts = ["" if value is None else str(value) for value in values]
    most = MAX_NAME if column == "images" else MAX_TEXT
    if max(map(len, texts), default=0) > most:
        raise _Problem(f"`{column}` has a value of more than {most} characters")
    return texts


# --- npz -------------------------------------------------------------------------------------------------------------


def _npz(archive: zipfile.ZipFile) -> _Source:
    names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    columns = _columns(names, "array")
    shape = _check_shape(_header(archive, columns["vectors"], numeric=True))
    for column, name in columns.items():
        if column != "vectors" and (found := _header(archive, name)) != shape[:1]:
            has = f"{found[0]:,} values" if len(found) == 1 else f"{len(found)} dimensions"
            raise _Problem(f"`{name}` has {has} for {shape[0]:,} vectors")

    def read(name: str) -> NDArray[Any]:
        with archive.open(f"{name}.npy") as file:
            array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
        return array if array.dtype.kind != "S" else np.char.decode(array, "utf-8", "replace")

    return _Source(names, columns, shape, read)


def _header(archive: zipfile.ZipFile, name: str, *, numeric: bool = False) -> tuple[int, ...]:
    """The shape of an array of numbers or texts, by its header."""
    with archive.open(f"{name}.npy") as member:
        file = BytesIO(member.read(MAX_HEADER))
    try:
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(file)]
        shape, _, dtype = read(file)
    except (ValueError, KeyError) as error:
        raise _Problem(f"`{name}` is no array of numbers or texts") from error
    if dtype.kind not in ("fiu" if numeric else "USiufb"):
        raise _Problem(f"`{name}` must hold {'numbers' if numeric else 'texts or numbers'}, not {dtype}")
    if not numeric:  # numbers have at most 16 bytes each
        _check_bytes(math.prod(shape) * dtype.itemsize)
    return shape


# --- parquet ---------------------------------------------------------------------------------------------------------
# Functions import pyarrow themselves: it takes 40 MB of each API process, and few ever read a parquet file.


def _parquet(file: IO[bytes]) -> _Source:
    import pyarrow as pa
    import pyarrow.parquet as pq

    end = file.seek(-8, os.SEEK_END)
    n_bytes, mark = int.from_bytes(file.read(4), "little"), file.read(4)
    if mark != PARQUET or n_bytes > end:
        raise _Problem("the parquet file is damaged or incomplete")
    if n_bytes > MAX_FOOTER:
        raise _Problem(f"the parquet file has more than {MAX_FOOTER:,} bytes of metadata")
    file.seek(0)
    source = pq.ParquetFile(file)
    names = list(source.schema_arrow.names)
    columns = _columns(names, "column")
    for column, name in columns.items():
        kind = source.schema_arrow.field(name).type
        if column == "vectors":
            _check_lists(kind)
        elif pa.types.is_nested(kind):
            raise _Problem(f"`{name}` must hold texts or numbers, not {kind}")
    metadata = source.metadata
    groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    _check_bytes(sum(group.total_byte_size for group in groups))
    shape = _check_shape((metadata.num_rows, _length(columns["vectors"], metadata, groups)))

    def read(name: str) -> Any:
        column = source.read([name]).column(name)
        return _matrix(column.combine_chunks(), *shape) if name == columns["vectors"] else column.to_pylist()

    return _Source(names, columns, shape, read)


def _check_lists(kind: "pa.DataType") -> None:
    import pyarrow as pa

    is_list = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(check(kind) for check in is_list):
        raise _Problem(f"`vectors` must be a column of lists of numbers, not of {kind}")
    if not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        raise _Problem(f"`vectors` must hold numbers, not {kind.value_type}")


def _length(name: str, metadata: "pq.FileMetaData", groups: "Sequence[pq.RowGroupMetaData]") -> int:
    """Values of each list of a column, by the number of all of them."""
    paths = [metadata.schema.column(index).path for index in range(len(metadata.schema))]
    place = next(index for index, path in enumerate(paths) if path.split(".")[0] == name)
    n_values = sum(group.column(place).num_values for group in groups)
    if metadata.num_rows and n_values % metadata.num_rows:
        raise _Problem(UNEQUAL)
    return int(n_values) // max(1, int(metadata.num_rows))


UNEQUAL = "all `vectors` must have equally many values, and none may be missing"


def _matrix(lists: Any, n: int, dim: int) -> NDArray[Any]:
    """The rows (n, dim) of a column of lists, which must have equal lengths."""
    import pyarrow.compute as pc

    values = lists.flatten()
    if lists.null_count or values.null_count or pc.list_value_length(lists).unique().to_pylist() != [dim]:
        raise _Problem(UNEQUAL)
    matrix: NDArray[Any] = values.to_numpy(zero_copy_only=False).reshape(n, dim)
    return matrix
