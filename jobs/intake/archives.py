"""Checks uploaded zip files and counts the files inside, without unpacking them; and other uploads of that size."""

import json
import os
from typing import IO, Any

from images.zips import MAX_FILES, ZipError, entry_name, is_folder, is_junk, open_zip
from jobs.errors import BadInput

PARQUET = b"PAR1"
MAX_HEADER = 100_000_000  # bytes, as the safetensors library allows


def count_files(file: IO[bytes]) -> int:
    """Number of files in a zip file, 1 for parquet and safetensors, without those that operating systems add.

    Raises BadInput `archive_unreadable` if it is not a zip file, is damaged, or has no file or too many.
    """
    if _is_parquet(file) or is_weights(file):
        return 1
    try:
        with open_zip(file) as archive:
            entries = [entry for entry in archive.infolist() if not is_folder(entry)]
    except ZipError as error:
        message = f"The file must be an undamaged zip file with at most {MAX_FILES} files."
        raise BadInput("archive_unreadable", message, max_files=MAX_FILES) from error
    n_files = sum(not is_junk(entry_name(entry)) for entry in entries)
    if not 1 <= n_files <= MAX_FILES:
        message = f"The zip file has {n_files} files; it must have 1 to {MAX_FILES}."
        raise BadInput("archive_unreadable", message, n_files=n_files, max_files=MAX_FILES)
    return n_files


def is_weights(file: IO[bytes]) -> bool:
    """Whether a file is a whole safetensors file: the length of a JSON header, the header, and the bytes it names."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    try:
        header: Any = json.loads(file.read(length)) if length <= min(size - 8, MAX_HEADER) else None
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        return bool(8 + length + max(ends, default=0) == size)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return False
    finally:
        file.seek(0)


def _is_parquet(file: IO[bytes]) -> bool:
    """Whether a file begins and ends as parquet files do."""
    start = file.read(4)
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 4))
    end = file.read(4)
    file.seek(0)
    return start == end == PARQUET and size > 8
