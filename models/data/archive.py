"""The files of a folder or zip file by name.

A zip file is read where it lies: names in it are keys and never become paths, and bytes are counted as they come out.
"""

import io
import struct
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

from images.limits import MAX_PIXELS
from models.data.dataset import DataError

Opener = Callable[[], IO[bytes]]
UTF8_FLAG = 0x800  # bit 11 of an entry's flags: its name is in UTF-8
UNICODE_PATH = 0x7075  # id of the extra field in which Info-ZIP keeps a name in UTF-8
SYSTEM_FOLDERS = {"__macosx", "$recycle.bin", "system volume information", "@eadir"}
SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}


@dataclass(frozen=True)
class Limits:
    """What one folder or zip file may hold: entries, bytes of a file and of all (uncompressed), pixels of an image."""

    entries: int = 50_000
    file_bytes: int = 32 << 20
    total_bytes: int = 8 << 30
    pixels: int = MAX_PIXELS


LIMITS = Limits()


class BudgetSpent(DataError):
    """The uncompressed bytes of all files together passed their limit; reading stopped there."""


@dataclass
class Files:
    """What can be opened, by its name, and the names that were refused, with the reason."""

    title: str
    limits: Limits
    openers: dict[str, Opener] = field(default_factory=dict)
    refused: list[tuple[str, str]] = field(default_factory=list)
    read_bytes: int = 0

    def add(self, name: str, opener: Opener) -> None:
        """Notes a file; of two with one name the later counts, as it does for a person who unpacks the zip file."""
        if is_junk(name):
            return
        if name in self.openers:
            self.refused.append((name, "an earlier file of the same name"))
        elif len(self.openers) + len(self.refused) >= self.limits.entries:
            raise DataError(f"{self.title} holds more than {self.limits.entries} files")
        if ".." in name.split("/"):
            self.refused.append((name, "a name must not climb with `..`"))
        else:
            self.openers[name] = opener

    def read(self, name: str) -> bytes:
        """Reads a file whole; raises DataError for a damaged or large one, whatever a zip's directory declares."""
        left = self.limits.total_bytes - self.read_bytes
        data = self._start(name, min(self.limits.file_bytes, left) + 1)
        self.read_bytes += len(data)
        if self.read_bytes > self.limits.total_bytes:
            raise BudgetSpent(f"the files have more than {self.limits.total_bytes} bytes in all")
        if len(data) > self.limits.file_bytes:
            raise DataError(f"more than {self.limits.file_bytes} bytes")
        return data

    def starts_with(self, name: str, n: int) -> bytes:
        """The first n bytes of a file, and none of a damaged one."""
        with suppress(DataError):
            return self._start(name, n)
        return b""

    def _start(self, name: str, n: int) -> bytes:
        try:
            with self.openers[name]() as file:
                return file.read(n)
        except DataError:
            raise
        except Exception as error:  # zipfile, zlib and the file system each have their own
            raise DataError("damaged in the zip file, or not to be read") from error


@contextmanager
def open_files(path: Path, limits: Limits = LIMITS) -> Iterator[Files]:
    """The files of a folder or zip file; raises DataError for what is neither, or holds more than `limits`."""
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


def clean_name(name: str) -> str:
    """A name as all names are compared: in NFC, with forward slashes, without `./` and a leading slash."""
    parts = unicodedata.normalize("NFC", name).replace("\\", "/").split("/")  # some Windows tools write backslashes
    return "/".join(part for part in parts if part not in ("", "."))


def is_junk(name: str) -> bool:
    """Whether a system, not a person, put a file there: hidden files, what macOS, Windows and Synology add."""
    *folders, last = name.split("/")
    hidden = any(part.startswith(".") and part != ".." for part in (*folders, last))
    return hidden or not SYSTEM_FOLDERS.isdisjoint(map(str.lower, folders)) or last.lower() in SYSTEM_FILES


def _add_folder(files: Files, path: Path) -> None:
    for file in path.rglob("*"):
        name = clean_name(file.relative_to(path).as_posix())
        if file.is_file():
            files.add(name, partial(_open_file, file))


def _open_file(path: Path) -> IO[bytes]:
    return path.open("rb")


def _add_zip(files: Files, archive: zipfile.ZipFile) -> None:
    for info in archive.infolist():
        name = _entry_name(info)
        if not info.is_dir() and not name.endswith(("/", "\\")) and clean_name(name):
            files.add(clean_name(name), partial(_open_entry, archive, info))


def _entry_name(info: zipfile.ZipInfo) -> str:
    """The name of an entry, also in UTF-8 without the flag for it, as macOS writes; zipfile takes that for cp437."""
    if info.flag_bits & UTF8_FLAG:
        return info.filename
    with suppress(UnicodeError, struct.error):
        return (_unicode_path(info.extra) or info.filename.encode("cp437")).decode("utf-8")
    return info.filename


def _unicode_path(extra: bytes) -> bytes | None:
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        if kind == UNICODE_PATH:
            return extra[9 : 4 + size] or None  # after a version and a checksum
        extra = extra[4 + size :]
    return None


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
            raise DataError(
                f"{path.name} holds more than {limits.entries} files, or names that are too long"
            ) from error
        except Exception as error:
            raise DataError(f"{path.name} is neither a folder nor a whole zip file") from error
        with archive:
            yield archive
