"""Zip files at the door: told by their content, their files counted, nothing unpacked."""

import zipfile
from typing import IO

from jobs.errors import BadInput

MAX_FILES = 50_000
# An entry of a zip file's directory has 46 bytes and a name. zipfile reads the directory in one read, and makes an
# object of each entry: what is read bounds what is made.
_MAX_DIRECTORY = 256 * (MAX_FILES + 256)


class _BoundedReads:
    """What zipfile needs of a file; no single read may be larger than a directory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size > _MAX_DIRECTORY:
            raise OSError("the directory is too long")
        return self._file.read(size)


def count_files(file: IO[bytes]) -> int:
    """How many files a zip file holds; raises BadInput for what is none, is damaged, is empty or holds too many."""
    try:
        with zipfile.ZipFile(_BoundedReads(file)) as archive:
            n_files = sum(not entry.is_dir() for entry in archive.infolist())
    except Exception as error:  # whatever zipfile raises on a stranger's bytes says something about the bytes
        message = f"The file is not a whole zip file with at most {MAX_FILES} files in it."
        raise BadInput("archive_unreadable", message, max_files=MAX_FILES) from error
    if not 1 <= n_files <= MAX_FILES:
        message = f"The zip file holds {n_files} files; 1 to {MAX_FILES} are allowed."
        raise BadInput("archive_unreadable", message, n_files=n_files, max_files=MAX_FILES)
    return n_files
