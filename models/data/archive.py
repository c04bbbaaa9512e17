"""The files of a folder or zip file by name.

A zip file is read in place: its names are keys and never become paths, and uncompressed bytes are counted while read.
"""

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

from images.limits import MAX_PIXELS
from images.zips import MAX_FILES, ZipError, clean_name, entry_name, is_folder, is_junk, open_zip
from models.errors import DataError

Opener = Callable[[], IO[bytes]]


@dataclass(frozen=True)
class Limits:
    """Limits of a folder or zip file: entries, uncompressed bytes of a file and of all files, pixels of an image."""

    entries: int = MAX_FILES
    file_bytes: int = 32 << 20
    total_bytes: int = 8 << 30
    pixels: int = MAX_PIXELS


LIMITS = Limits()


class BudgetSpent(DataError):
    """The uncompressed bytes of all files exceed the limit; reading stops."""


@dataclass
class Files:
    """The files of a folder or zip file by name, and the refused names with the reasons."""

    title: str
    limits: Limits
    openers: dict[str, Opener] = field(default_factory=dict)
    refused: list[tuple[str, str]] = field(default_factory=list)
    read_bytes: int = 0

    def add(self, name: str, opener: Opener) -> None:
        """Adds a file; of two with the same name the later one is used, as when a zip file is unpacked."""
        if is_junk(name):
            return
        if name in self.openers:
            self.refused.append((name, "a later file has the same name"))
        elif len(self.openers) + len(self.refused) >= self.limits.entries:
            raise DataError(f"{self.title} holds more than {self.limits.entries} files")
        if ".." in name.split("/"):
            self.refused.append((name, "its name must not contain `..`"))
        else:
            self.openers[name] = opener

    def read(self, name: str) -> bytes:
        """Reads a whole file; raises DataError for a damaged or large one, whatever the zip's directory says."""
        left = self.limits.total_bytes - self.read_bytes
        data = self._start(name, min(self.limits.file_bytes, left) + 1)
        self.read_bytes += len(data)
        if self.read_bytes > self.limits.total_bytes:
            raise BudgetSpent(f"the files have more than {self.limits.total_bytes} bytes in all")
        if len(data) > self.limits.file_bytes:
            raise DataError(f"more than {self.limits.file_bytes} bytes")
        return data

    def starts_with(self, name: str, n: int) -> bytes:
        """Returns the first n bytes of a file; no bytes of a damaged one."""
        with suppress(DataError):
            return self._start(name, n)
        return b""

    def _start(self, name: str, n: int) -> bytes:
        try:
            with self.openers[name]() as file:
                return file.read(n)
        except DataError:
            raise
        except Exception as error:  # zipfile, zlib and the file system raise different errors
            raise DataError("damaged in the zip file, or unreadable") from error


@contextmanager
def open_files(path: Path, limits: Limits = LIMITS) -> Iterator[Files]:
    """Opens a folder or zip file; raises DataError for others, and for one beyond `limits`."""
    files = Files(path.name, limits)
    if path.is_dir():
        _add_folder(files, path)
        yield files
    elif path.is_file():
        with _open_zip(path, limits) as archive:
            _add_zip(files, archive)
            yield files
    else:
        raise DataError(f"there is no folder or zip file {path.name!r}")


def _add_folder(files: Files, path: Path) -> None:
    for file in path.rglob("*"):
        name = clean_name(file.relative_to(path).as_posix())
        if file.is_file():
            files.add(name, partial(_open_file, file))


def _open_file(path: Path) -> IO[bytes]:
    return path.open("rb")


def _add_zip(files: Files, archive: zipfile.ZipFile) -> None:
    for info in archive.infolist():
        if not is_folder(info) and (name := entry_name(info)):
            files.add(name, partial(_open_entry, archive, info))


def _open_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    # Other methods can require gigabytes for a dictionary in a few bytes, and no common tool writes them.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError("compressed by another method than deflate")
    if info.flag_bits & 1:
        raise DataError("encrypted")
    return archive.open(info)


@contextmanager
def _open_zip(path: Path, limits: Limits) -> Iterator[zipfile.ZipFile]:
    with path.open("rb") as file:
        try:
            archive = open_zip(file, limits.entries)
        except ZipError as error:
            raise DataError(f"{path.name} {error}") from error
        with archive:
            yield archive
