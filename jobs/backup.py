"""Backup and restore of a whole installation: `python -m jobs.backup save FOLDER` and `... load FOLDER`.

Records are copied first, as of one moment, and then the objects that they name. A record is written only after its
objects are stored, so all of them exist at that moment; clean-up is suspended until they are copied. In the other order
a job that ends between the two copies would name an object that the backup lacks. A restore stores the objects first.

A folder holds `objects/<sha256>`, the records as gzipped JSON lines, and `backup.json`, which names the file of records
with its sha256 and is replaced last: an interrupted backup leaves the previous one whole.
"""

import argparse
import gzip
import hashlib
import json
import re
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from redis import RedisError

from jobs.errors import AtelierError, Damaged, NotFound
from jobs.objects import Objects
from jobs.settings import get_settings
from jobs.store.client import connect
from jobs.store.jobs import JobStore
from jobs.store.snapshot import Row, SlowError, begin_restore, named_objects, read_all, suspend_clean_up, write_all

FORMAT = 1  # of the folder
MANIFEST = "backup.json"
AT_ONCE = 8  # objects
RETRY_S = 30  # a failing object store

# How an object begins -> its content type: buckets pass it on to browsers, folders do not hold it.
CONTENT_TYPES = {
    rb"\x89PNG": "image/png",
    rb"\xff\xd8\xff": "image/jpeg",
    rb"RIFF....WEBP": "image/webp",
    rb"GIF8": "image/gif",
    rb"....ftyp": "video/mp4",
    rb"PK\x03\x04": "application/zip",
}


class BackupError(Exception):
    """A backup cannot be restored; the message says why."""


def save(jobs: JobStore, objects: Objects, folder: Path) -> dict[str, Any]:
    """Copies all records and the objects that they name to a folder; returns what `backup.json` holds.

    Objects that the folder already holds are not copied again. `missing` lists those that records name but the store
    does not hold whole. Raises `SlowError` and `Unavailable`.
    """
    (folder / "objects").mkdir(parents=True, exist_ok=True)
    suspend_clean_up(jobs.client)
    taken_at, rows = read_all(jobs.client)
    named = named_objects(rows, taken_at)

    def copied(sha: str) -> bool:
        suspend_clean_up(jobs.client)
        return _copy(objects, sha, folder / "objects" / sha)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        stored = dict(zip(named, pool.map(copied, named), strict=True))
    missing = sorted(sha for sha, is_needed in named.items() if is_needed and not stored[sha])
    records = f"records-{taken_at}.jsonl.gz"
    with gzip.open(folder / records, "wt", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(row)}\n" for row in rows)
    manifest = {
        "format": FORMAT,
        "taken_at": taken_at,
        "records": records,
        "sha256": _sha256(folder / records),
        "jobs": sum(key.startswith("job:") for key, *_ in rows),
        "objects": sum(stored.values()),
        "missing": missing,
    }
    (folder / f"{MANIFEST}.new").write_text(f"{json.dumps(manifest, indent=2)}\n")
    (folder / f"{MANIFEST}.new").replace(folder / MANIFEST)
    _remove_others(folder.glob("records-*.jsonl.gz"), {records})
    _remove_others((folder / "objects").iterdir(), {sha for sha, is_stored in stored.items() if is_stored})
    return manifest


def _copy(objects: Objects, sha: str, path: Path) -> bool:
    """Copies an object unless the file is there and whole; returns whether it now is."""
    if path.exists() and _sha256(path) == sha:
        return True
    part = path.with_suffix(".part")
    try:
        objects.get_file(sha, part)
    except (NotFound, Damaged):
        return False
    part.replace(path)
    return True


def _remove_others(paths: Iterable[Path], kept: set[str]) -> None:
    for path in list(paths):
        if path.name not in kept:
            path.unlink()


def load(jobs: JobStore, objects: Objects, folder: Path) -> dict[str, Any]:
    """Restores a backup into an empty Redis and any object store; returns what `backup.json` holds.

    Nothing is written unless the backup is whole. Raises `BackupError` and `Unavailable`.
    """
    manifest, rows = _read(folder)
    named = named_objects(rows, manifest["taken_at"])
    files = [folder / "objects" / sha for sha in named if (folder / "objects" / sha).exists()]
    lost = {sha for sha, is_needed in named.items() if is_needed} - {path.name for path in files}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        damaged = {path.name for path, sha in zip(files, pool.map(_sha256, files), strict=True) if path.name != sha}
    if faults := sorted(lost - set(manifest["missing"]) | damaged):
        raise BackupError(f"{len(faults)} objects of {folder} are missing or damaged: {', '.join(faults[:10])}.")
    if not begin_restore(jobs.client):
        raise BackupError("Redis is not empty: restore into an empty one, before the service starts.")

    def put(path: Path) -> None:
        with path.open("rb") as file:
            content_type = _content_type(file.read(12))
            file.seek(0)
            objects.put_file(file, content_type)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(put, files))
    write_all(jobs.client, manifest["taken_at"], rows)
    return manifest


def _content_type(start: bytes) -> str:
    found = (sort for pattern, sort in CONTENT_TYPES.items() if re.match(pattern, start, re.DOTALL))
    return next(found, "application/octet-stream")


def _read(folder: Path) -> tuple[dict[str, Any], list[Row]]:
    """Reads `backup.json` and the records, checked by their sha256."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise BackupError(f"{folder} holds no readable {MANIFEST}.") from error
    if manifest["format"] != FORMAT:
        raise BackupError(f"{folder} has format {manifest['format']}; this release reads {FORMAT}.")
    path = folder / manifest["records"]
    if not path.exists() or _sha256(path) != manifest["sha256"]:
        raise BackupError(f"{path} is missing or damaged.")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return manifest, [tuple(json.loads(line)) for line in file]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    """Saves or loads a backup of the installation that the settings name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("save", "load"))
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    settings = get_settings()
    jobs = JobStore(connect(settings, attempts=3), settings)
    objects = Objects(settings, jobs, retry_s=RETRY_S)
    try:
        done = (save if options.action == "save" else load)(jobs, objects, options.folder)
    except (AtelierError, BackupError, SlowError, OSError, RedisError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print(f"{done['jobs']} jobs and {done['objects']} objects, as of {done['taken_at'] / 1000:.0f} (Unix time)")
    if done["missing"]:
        sys.exit(
            f"{len(done['missing'])} objects that records name are missing or damaged in the store: {done['missing']}"
        )


if __name__ == "__main__":
    main()
