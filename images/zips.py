"""Opens zip files within limits and reads the names of entries as written by any system."""

import struct
import unicodedata
import zipfile
from contextlib import suppress
from typing import IO

MAX_FILES = 50_000
UTF8_FLAG = 0x800  # bit 11 of an entry's flags: its name is in UTF-8
UNICODE_PATH = 0x7075  # id of the extra field in which Info-ZIP keeps a name in UTF-8
SYSTEM_FOLDERS = {"__macosx", "$recycle.bin", "system volume information", "@eadir"}
SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}


class ZipError(ValueError):
    """A file that is not a complete zip file, or whose directory exceeds its limit."""


def open_zip(file: IO[bytes], max_files: int = MAX_FILES) -> zipfile.ZipFile:
    """Opens a zip file whose directory has at most the size for `max_files` files; raises ZipError.

    An entry of the directory has 46 bytes and a name. zipfile reads the directory in one read and creates an object for
    each entry, so a limit on the read limits the number of objects.
    """
    try:
        return zipfile.ZipFile(_BoundedReads(file, 256 * (max_files + 256)))
    except _TooLongError as error:
        raise ZipError(f"holds more than {max_files} files, or names that are too long") from error
    except Exception as error:  # zipfile raises many classes of errors on untrusted bytes
        raise ZipError("is not a complete zip file") from error


def entry_name(info: zipfile.ZipInfo) -> str:
    """Name of an entry, also in UTF-8 without its flag, as macOS writes it; zipfile reads that as cp437."""
    name = info.filename
    if not info.flag_bits & UTF8_FLAG:
        with suppress(UnicodeError, struct.error):
            name = (_unicode_path(info.extra) or name.encode("cp437")).decode("utf-8")
    return clean_name(name)


def clean_name(name: str) -> str:
    """Normalizes a name for comparison: NFC, forward slashes, no `./` and no leading slash."""
    parts = unicodedata.normalize("NFC", name).replace("\\", "/").split("/")  # some Windows tools write backslashes
    return "/".join(part for part in parts if part not in ("", "."))


def is_folder(info: zipfile.ZipInfo) -> bool:
    """Whether an entry is a folder; its name may end in a backslash."""
    return info.filename.endswith(("/", "\\"))


def is_junk(name: str) -> bool:
    """Whether a system created the file: hidden files and those that macOS, Windows and Synology add."""
    *folders, last = name.split("/")
    hidden = any(part.startswith(".") and part != ".." for part in (*folders, last))
    return hidden or not SYSTEM_FOLDERS.isdisjoint(map(str.lower, folders)) or last.lower() in SYSTEM_FILES


def _unicode_path(extra: bytes) -> bytes | None:
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        if kind == UNICODE_PATH:
            return extra[9 : 4 + size] or None  # after a version and a checksum
        extra = extra[4 + size :]
    return None


class _TooLongError(Exception):
    pass


class _BoundedReads:
    """The part of a file object that zipfile uses; refuses single reads of more than `most` bytes."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self._file, self._most = file, most
        self.seek, self.tell = file.seek, file.tell

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size > self._most:
            raise _TooLongError
        return self._file.read(size)
