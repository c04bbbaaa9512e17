"""A person's own pictures: a folder or a zip file of them, with labels by sub-folder or all that a table says.

A zip file is read where it lies: names in it are keys and never become paths, and bytes are counted as they come out.
"""

import csv
import io
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
from numpy.typing import NDArray

from images.limits import MAX_PIXELS
from models.data.dataset import DataError, Dataset
from models.data.picture import read_picture

TABLES = ("labels.csv", "metadata.csv")
FLAGS = {"0": False, "1": True, "false": False, "true": True}
COMPANIONS = {"", ".csv", ".db", ".html", ".ini", ".json", ".md", ".txt", ".xml"}  # suffixes of files beside pictures

Opener = Callable[[], IO[bytes]]


@dataclass(frozen=True)
class Limits:
    """What one folder or zip file may hold: entries, bytes of a file and of all (uncompressed), pixels of a picture."""

    entries: int = 50_000
    file_bytes: int = 32 << 20
    total_bytes: int = 8 << 30
    pixels: int = MAX_PIXELS


LIMITS = Limits()


def image_folder(
    path: Path,
    size: int,
    *,
    channels: int = 3,
    minimum: int = 1,
    limits: Limits = LIMITS,
    on_read: Callable[[int], None] = lambda n: None,
) -> Dataset:
    """The pictures in a folder or zip file, in the order of their names: (n, size, size, channels), channels 1 or 3.

    Each is turned upright, laid over white, cropped to its centre square and resized. With a `labels.csv` or
    `metadata.csv` at the top, its first column names the files; `caption` gives captions, columns of 0/1/true/false
    attributes, and one column of text (or any called `label`) the labels. Without, each top sub-folder is a label.

    `on_read` is told now and then how many pictures were read by now, and may raise to stop. Raises DataError, naming
    the files, for fewer pictures than `minimum`, unreadable ones, anything past `limits`, pictures without a row and
    rows without a picture.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, got {channels}")
    with _files(path, limits) as files:
        budget = _Budget(limits)
        names = sorted(name for name in files if PurePosixPath(name).suffix.lower() not in COMPANIONS)
        if len(names) < minimum or not names:
            raise DataError(f"{path.name} holds {len(names)} pictures; at least {max(minimum, 1)} are needed")
        known = _known(names, files, budget)
        images = _read_pictures(names, files, (size, size, channels), budget, on_read)
    return replace(known, images=images)


def listed(names: Sequence[str], most: int = 10) -> str:
    """The first names, quoted and none too long, and how many more there are."""
    shown = ", ".join(repr(name if len(name) <= 120 else f"{name[:117]}...") for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once, sorted; as numbers where all are numbers, so that label 10 follows 9."""
    distinct = set(names)
    if all(name.isdecimal() for name in distinct):
        return tuple(sorted(distinct, key=lambda name: (int(name), name)))
    return tuple(sorted(distinct))


# --- files -----------------------------------------------------------------------------------------------------------


@contextmanager
def _files(path: Path, limits: Limits) -> Iterator[dict[str, Opener]]:
    """What can be opened, by its name below `path` or below the one folder that everything lies in."""
    if path.is_dir():
        yield _below_common(_in_folder(path, limits))
    elif path.is_file():
        with _open_zip(path, limits) as archive:
            yield _below_common(_in_zip(archive, path, limits))
    else:
        raise DataError(f"there is no folder or zip file {path.name!r}")


def _in_folder(path: Path, limits: Limits) -> dict[str, Opener]:
    found: dict[str, Opener] = {}
    for file in path.rglob("*"):
        name = file.relative_to(path).as_posix()
        if not _is_hidden(name) and file.is_file():
            found[name] = partial(_open_file, file)
            _check_entries(len(found), path, limits)
    return found


def _in_zip(archive: zipfile.ZipFile, path: Path, limits: Limits) -> dict[str, Opener]:
    _check_entries(len(archive.infolist()), path, limits)
    found: dict[str, Opener] = {}
    for info in archive.infolist():
        name = info.filename.replace("\\", "/").lstrip("/")  # some Windows tools write backslashes
        if info.is_dir() or name.endswith("/") or _is_hidden(name):
            continue
        if name in found:
            raise DataError(f"{path.name} holds {listed([name])} twice")
        found[name] = partial(_open_entry, archive, info)
    return found


def _open_file(path: Path) -> IO[bytes]:
    return path.open("rb")


def _open_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    # The other methods can ask for gigabytes of dictionary in a few bytes, and no common tool writes them.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError("compressed in another way than deflate")
    if info.flag_bits & 1:
        raise DataError("encrypted")
    return archive.open(info)


class _BoundedReads(io.FileIO):
    """A file of which no single read may be larger than `most`; zipfile reads its whole directory in one."""

    most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self.most:
            raise DataError("its directory is too long")
        return super().read(size)


@contextmanager
def _open_zip(path: Path, limits: Limits) -> Iterator[zipfile.ZipFile]:
    with _BoundedReads(path) as file:
        file.most = 256 * (limits.entries + 256)  # an entry of the directory has 46 bytes and its name
        try:
            archive = zipfile.ZipFile(file)
        except DataError as error:
            raise DataError(f"{path.name} holds more than {limits.entries} files, or names beyond reason") from error
        except Exception as error:
            raise DataError(f"{path.name} is neither a folder nor a whole zip file") from error
        with archive:
            yield archive


def _is_hidden(name: str) -> bool:
    """Hidden files, what macOS adds, and names that climb with `..`."""
    parts = name.split("/")
    return "__MACOSX" in parts or any(part.startswith(".") for part in parts) or parts[-1] == "Thumbs.db"


def _check_entries(n: int, path: Path, limits: Limits) -> None:
    if n > limits.entries:
        raise DataError(f"{path.name} holds more than {limits.entries} files")


def _below_common(files: dict[str, Opener]) -> dict[str, Opener]:
    """Without the folder that all files share: most zip files hold one folder and all else in it."""
    while files and len({name.partition("/")[0] for name in files}) == 1 and all("/" in name for name in files):
        files = {name.partition("/")[2]: opener for name, opener in files.items()}
    return files


class _Budget:
    """Reads files whole and counts what comes out, whatever a zip file's directory declares."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.left = limits.total_bytes

    def read(self, opener: Opener) -> bytes:
        try:
            with opener() as file:
                data = file.read(min(self.limits.file_bytes, self.left) + 1)
        except DataError:
            raise
        except Exception as error:  # zipfile, zlib and the file system each have their own
            raise DataError("damaged in the zip file, or not to be read") from error
        self.left -= len(data)
        if self.left < 0:
            raise BudgetSpent(f"the files have more than {self.limits.total_bytes} bytes in all")
        if len(data) > self.limits.file_bytes:
            raise DataError(f"more than {self.limits.file_bytes} bytes")
        return data


class BudgetSpent(DataError):
    """The uncompressed bytes of all files together passed their limit; reading stopped there."""


# --- pictures --------------------------------------------------------------------------------------------------------


def _read_pictures(
    names: list[str],
    files: Mapping[str, Opener],
    shape: tuple[int, int, int],
    budget: _Budget,
    on_read: Callable[[int], None],
) -> NDArray[np.uint8]:
    images = np.empty((len(names), *shape), np.uint8)
    refused = {}
    for row, name in enumerate(names):
        if row % 50 == 0:
            on_read(row)
        try:
            images[row] = read_picture(budget.read(files[name]), shape[0], shape[2], budget.limits.pixels)
        except BudgetSpent:
            raise
        except DataError as error:
            refused[name] = str(error)
    if refused:
        first = "; ".join(f"{listed([name])}: {why}" for name, why in list(refused.items())[:10])
        more = f"; and {len(refused) - 10} more" if len(refused) > 10 else ""
        raise DataError(f"{len(refused)} of {len(names)} pictures cannot be used: {first}{more}")
    return images


# --- what is known of them -------------------------------------------------------------------------------------------

_NO_IMAGES = np.zeros((0, 0, 0, 0), np.uint8)
_Column = dict[str, str]  # a cell for each picture, by its name


def _known(names: list[str], files: Mapping[str, Opener], budget: _Budget) -> Dataset:
    """A data set that still lacks its images."""
    tables = [name for name in TABLES if name in files]
    if len(tables) > 1:
        raise DataError(f"there are both {' and '.join(tables)}; leave one")
    if not tables:
        return _labelled_by_folder(names)
    try:
        return _labelled_by_table(names, _parse_table(budget.read(files[tables[0]])))
    except DataError as error:
        raise DataError(f"{tables[0]}: {error}") from error


def _labelled_by_folder(names: list[str]) -> Dataset:
    beside = [name for name in names if "/" not in name]
    if len(beside) == len(names):
        return Dataset(_NO_IMAGES)
    if beside:
        raise DataError(f"sub-folders are labels, but these pictures lie in none: {listed(beside)}")
    return _labelled([name.partition("/")[0] for name in names])


def _labelled(labels: Sequence[str]) -> Dataset:
    label_names = ordered(labels)
    index = {name: i for i, name in enumerate(label_names)}
    return Dataset(_NO_IMAGES, labels=np.array([index[name] for name in labels], np.int64), label_names=label_names)


def _parse_table(data: bytes) -> list[list[str]]:
    """The rows that are not empty, the header first, each as long as the header."""
    try:
        reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        rows = [[cell.strip() for cell in row] for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"not a CSV file in UTF-8 ({error})") from error
    if not rows:
        raise DataError("the file is empty; its first row must name the columns")
    if len(set(rows[0])) < len(rows[0]):
        raise DataError("two columns have the same name")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            raise DataError(f"row {number} has {len(row)} cells; the header has {len(rows[0])}")
    return rows


def _labelled_by_table(names: list[str], rows: list[list[str]]) -> Dataset:
    by_name = _match(names, rows[1:])
    columns = {title: {name: by_name[name][i] for name in names} for i, title in enumerate(rows[0]) if i}
    captions = tuple(columns.pop("caption", {}).values())
    texts = [title for title, column in columns.items() if title == "label" or not _is_flags(title, column)]
    if len(texts) > 1:
        raise DataError(f"one column of text is the label; there are {listed(texts)} (attributes are 0/1/true/false)")
    known = _labelled(list(columns.pop(texts[0]).values())) if texts else Dataset(_NO_IMAGES)
    flags = [[FLAGS[cell.lower()] for cell in column.values()] for column in columns.values()]
    attributes = np.array(flags, np.bool_).T if flags else known.attributes
    return replace(known, captions=captions, attributes=attributes, attribute_names=tuple(columns))


def _match(names: list[str], rows: list[list[str]]) -> dict[str, list[str]]:
    """The row of each picture, which names it by its path below the table, or without folders where that is clear."""
    basenames = Counter(PurePosixPath(name).name for name in names)
    short = {PurePosixPath(name).name: name for name in names if basenames[PurePosixPath(name).name] == 1}
    full = {name: name for name in names}
    meant = [full.get(row[0]) or short.get(row[0]) for row in rows]
    if lost := [row[0] for row, name in zip(rows, meant, strict=True) if name is None]:
        raise DataError(f"rows without a picture: {listed(lost)}")
    matched = {name: row for name, row in zip(meant, rows, strict=True) if name is not None}
    if twice := [name for name, count in Counter(meant).items() if name is not None and count > 1]:
        raise DataError(f"pictures with more than one row: {listed(twice)}")
    if bare := [name for name in names if name not in matched]:
        raise DataError(f"pictures without a row: {listed(bare)}")
    return matched


def _is_flags(title: str, column: _Column) -> bool:
    """Whether a column holds only 0/1/true/false; one that mixes them with words is a mistake in an attribute."""
    if empty := [name for name, cell in column.items() if not cell]:
        raise DataError(f"column {title!r} is empty for {listed(empty)}")
    others = {name: cell for name, cell in column.items() if cell.lower() not in FLAGS}
    words = [cell for cell in others.values() if not cell.isdecimal()]
    if words and len(others) < len(column):
        raise DataError(f"column {title!r} mixes 0/1/true/false with {listed(words)}")
    return not others
