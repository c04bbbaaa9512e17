"""Object storage: pictures and files named by the sha256 of their bytes, in a folder, S3, GCS or Azure."""

import hashlib
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import IO, Any, cast

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from jobs.errors import AtelierError, Damaged, NotFound, Unavailable
from jobs.settings import Settings
from jobs.store.jobs import JobStore

CHUNK = 8 << 20  # bytes of one request for a part of a file: each must end within the client's timeout

PROBE = "readiness-probe"  # the one object whose name is no sha256; clean-up does not know it
PROBE_DATA = hashlib.shake_256(b"probe").digest(64 << 10)  # no file system compresses it


class Objects:
    """The object store of one process; `retry_s` is how long it goes on trying while the store is away."""

    def __init__(self, settings: Settings, jobs: JobStore, *, retry_s: float) -> None:
        self.settings = settings
        self._jobs = jobs
        self._store = _open(settings, settings.storage_endpoint, retry_s)
        public = settings.storage_public_endpoint or settings.storage_endpoint
        self._signer = None if isinstance(self._store, LocalStore) else _open(settings, public, retry_s)

    def put(self, data: bytes, content_type: str, *, holder: str = "hold") -> str:
        """Stores bytes under their sha256, which is returned; raises `Unavailable` when the store stays away.

        The object is announced first, so that clean-up cannot take it before a record names it. `holder` is the job
        whose checkpoint it is, or the upload.
        """
        sha = hashlib.sha256(data).hexdigest()
        self._put(sha, data, content_type, holder, use_multipart=False)
        return sha

    def put_file(self, file: IO[bytes], content_type: str, *, holder: str = "hold") -> str:
        """Stores a file of any size under its sha256, as `put` does."""
        sha = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # reads any file from its start
        file.seek(0)
        self._put(sha, file, content_type, holder)
        return sha

    def _put(self, sha: str, data: bytes | IO[bytes], content_type: str, holder: str, **options: Any) -> None:
        while not self._jobs.references.hold(sha, holder):
            time.sleep(0.05)  # clean-up is removing the same bytes right now
        attributes: Any = None if isinstance(self._store, LocalStore) else {"Content-Type": content_type}
        try:
            obstore.put(self._store, sha, data, attributes=attributes, **options)
        except (BaseError, OSError) as error:
            raise _away() from error

    def get(self, sha: str) -> bytes:
        """The bytes of an object, which have its sha256; raises `NotFound`, `Damaged` and `Unavailable`."""
        try:
            data = bytes(obstore.get(self._store, sha).bytes())
        except FileNotFoundError as error:
            raise _gone(sha) from error
        except (BaseError, OSError) as error:
            raise _away() from error
        if hashlib.sha256(data).hexdigest() != sha:
            raise _damaged(sha)
        return data

    def size(self, sha: str) -> int:
        """The bytes of an object, counted; raises `NotFound` and `Unavailable`."""
        try:
            return obstore.head(self._store, sha)["size"]
        except FileNotFoundError as error:
            raise _gone(sha) from error
        except (BaseError, OSError) as error:
            raise _away() from error

    def read(self, sha: str) -> Iterator[bytes]:
        """The bytes of an object part by part; raises `NotFound` and `Unavailable`.

        Damage is known once all was read: `Damaged` is raised in place of the last part, of an object of one part at
        once.
        """
        parts = self._parts(sha, self.size(sha))
        return chain([next(parts)], parts)

    def _parts(self, sha: str, size: int) -> Iterator[bytes]:
        digest = hashlib.sha256()
        for start in range(0, max(size, 1), CHUNK):
            end = min(start + CHUNK, size)
            try:
                part = bytes(obstore.get_range(self._store, sha, start=start, end=end)) if size else b""
            except (BaseError, OSError) as error:
                raise _away() from error
            digest.update(part)
            if end == size and digest.hexdigest() != sha:
                raise _damaged(sha)
            yield part

    def get_file(self, sha: str, path: Path) -> None:
        """Writes an object's bytes to a file; raises `NotFound`, `Damaged` and `Unavailable`, and then leaves none."""
        try:
            with path.open("wb") as file:
                file.writelines(self.read(sha))
        except AtelierError:
            path.unlink()
            raise

    def delete(self, sha: str) -> None:
        """Remove an object; one that is gone already is no error. Raises `Unavailable`."""
        try:
            obstore.delete(self._store, sha)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise _away() from error

    def check(self) -> None:
        """Writes and reads an object; raises `Unavailable` when the store does not take it or gives back another.

        A folder gets one of 64 KiB, so that a full disk shows. In a bucket that keeps every version it should be small.
        """
        data = PROBE_DATA if isinstance(self._store, LocalStore) else PROBE_DATA[:16]
        try:
            next(iter(obstore.list(self._store, prefix="0" * 64)), None)  # some servers make a bucket that is missing
            obstore.put(self._store, PROBE, data, use_multipart=False)
            intact = bytes(obstore.get(self._store, PROBE).bytes()) == data
        except (BaseError, OSError) as error:
            raise _away() from error
        if not intact:
            raise _away()

    def link(self, sha: str) -> str | None:
        """A presigned GET link of `link_ttl_s` seconds, or None when the store is a folder."""
        if self._signer is None:
            return None
        return obstore.sign(cast(Any, self._signer), "GET", sha, timedelta(seconds=self.settings.link_ttl_s))


def _open(settings: Settings, endpoint: str | None, retry_s: float) -> ObjectStore:
    if "://" not in settings.storage_url or settings.storage_url.startswith("file://"):
        return LocalStore(Path(settings.storage_url.removeprefix("file://")), mkdir=True)
    config: Any = {"endpoint": endpoint} if endpoint else {}
    return from_url(
        settings.storage_url,
        config=config,
        client_options={"allow_http": True, "timeout": timedelta(seconds=30), "connect_timeout": timedelta(seconds=5)},
        retry_config={
            "max_retries": 1000,
            "retry_timeout": timedelta(seconds=retry_s),
            "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=3), "base": 2},
        },
    )


def _gone(sha: str) -> NotFound:
    return NotFound("object_not_found", "The stored bytes are gone.", sha256=sha)


def _damaged(sha: str) -> Damaged:
    message = "The stored bytes are damaged: they no longer have their sha256. Upload the file, or run the job, again."
    return Damaged("object_damaged", message, sha256=sha)


def _away() -> Unavailable:
    return Unavailable("storage_unavailable", "The object store does not answer; try again shortly.")
