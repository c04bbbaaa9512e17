"""Zip files at the door: told by their content, their files counted, nothing unpacked."""

from typing import IO

from images.zips import MAX_FILES, ZipError, entry_name, is_folder, is_junk, open_zip
from jobs.errors import BadInput


def count_files(file: IO[bytes]) -> int:
    """How many files a zip file holds, without those that systems add.

    Raises BadInput for what is no zip file, is damaged, holds none or too many.
    """
    try:
        with open_zip(file) as archive:
            entries = [entry for entry in archive.infolist() if not is_folder(entry)]
    except ZipError as error:
        message = f"The file is not a whole zip file with at most {MAX_FILES} files in it."
        raise BadInput("archive_unreadable", message, max_files=MAX_FILES) from error
    n_files = sum(not is_junk(entry_name(entry)) for entry in entries)
    if not 1 <= n_files <= MAX_FILES:
        message = f"The zip file holds {n_files} files; 1 to {MAX_FILES} are allowed."
        raise BadInput("archive_unreadable", message, n_files=n_files, max_files=MAX_FILES)
    return n_files
