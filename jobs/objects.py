"""Object storage: images and files named by the sha256 of their bytes, in a folder, S3, GCS or Azure."""

import hashlib
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import copy
from datetime import timedelta
from itertools import chain
from os import SEEK_END
from pathlib import Path
from typing import IO, Any, Self, cast

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url
from redis import RedisError

from jobs.errors import AtelierError, Damaged, NotFound, Unavailable
from jobs.settings import Settings
from jobs.store.jobs import JobStore

CHUNK = 8 << 20  # bytes read by one request, which must end within the client's timeout

OPERATIONS = ("put", "get", "head", "delete", "check")  # whose errors are counted
PROBE = "readiness-probe"  # the only object whose name is not a sha256; clean-up ignores it
PROBE_DATA = hashlib.shake_256(b"probe").digest(64 << 10)  # no file system compresses it


class Objects:
    """The object store; an operation is retried for `retry_s` seconds while the store is unavailable."""

    def __init__(self, settings: Settings, jobs: JobStore, *, retry_s: float) -> None:
        self.settings = settings
        self._jobs = jobs
        self._store = _open(settings, settings.storage_endpoint, retry_s)
        public = settings.storage_public_endpoint or settings.storage_endpoint
        self._most: int | None = None
        self._signer = None if isinstance(self._store, LocalStore) else _open(settings, public, retry_s)

    def of(self, jobs: JobStore, most: int | None) -> Self:
        """The same store for a tenant, whose job store this is: what it puts counts, up to `most` bytes in all."""
        made = copy(self)
        made._jobs, made._most = jobs, most
        return made

    def put(self, data: bytes, content_type: str, *, holder: str = "hold") -> str:
        """Stores bytes and returns their sha256; raises `Unavailable`, and `LimitReached` for a tenant.

        The object is held first, so that clean-up does not delete it before a record names it. `holder` is the upload,
        or the job whose checkpoint it is.
        """
        sha = hashlib.sha256(data).hexdigest()
        self._put(sha, data, len(data), content_type, holder, use_multipart=False)
        return sha

    def put_file(self, file: IO[bytes], content_type: str, *, holder: str = "hold") -> str:
        """Stores a file of any size as `put` does."""
        sha = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # reads any file from its start
        size = file.seek(0, SEEK_END)
        file.seek(0)
        self._put(sha, file, size, content_type, holder)
        return sha

    def _put(
        self, sha: str, data: bytes | IO[bytes], size: int, content_type: str, holder: str, **options: Any
    ) -> None:
        while not self._jobs.references.hold(sha, holder, size=size, most=self._most):
            time.sleep(0.05)  # clean-up is deleting the same object right now
        attributes: Any = None if isinstance(self._store, LocalStore) else {"Content-Type": content_type}
        try:
            obstore.put(self._store, sha, data, attributes=attributes, **options)
        except (BaseError, OSError) as error:
            raise self._away("put") from error

    def get(self, sha: str) -> bytes:
        """Returns the bytes of an object, checked by sha256; raises `NotFound`, `Damaged` and `Unavailable`."""
        try:
            data = bytes(obstore.get(self._store, sha).bytes())
        except FileNotFoundError as error:
            raise _gone(sha) from error
        except (BaseError, OSError) as error:
            raise self._away("get") from error
        if hashlib.sha256(data).hexdigest() != sha:
            raise _damaged(sha)
        return data

    def get_part(self, sha: str, start: int, end: int, crc: int) -> bytes:
        """Returns some bytes of an object, checked by their CRC-32; raises `NotFound`, `Damaged` and `Unavailable`."""
        try:
            data = bytes(obstore.get_range(self._store, sha, start=start, end=end))
        except FileNotFoundError as error:
            raise _gone(sha) from error
        except (BaseError, OSError) as error:
            raise self._away("get") from error
        if zlib.crc32(data) != crc:
            raise _damaged(sha)
        return data

    def size(self, sha: str) -> int:
        """Size of an object in bytes; raises `NotFound` and `Unavailable`."""
        try:
            return obstore.head(self._store, sha)["size"]
        except FileNotFoundError as error:
            raise _gone(sha) from error
        except (BaseError, OSError) as error:
            raise self._away("head") from error

    def read(self, sha: str) -> Iterator[bytes]:
        """Yields the bytes of an object in parts; raises `NotFound` and `Unavailable`.

        The sha256 is known once everything was read: a damaged object raises `Damaged` instead of its last part. If
        there is only one part, the call itself raises.
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
                raise self._away("get") from error
            digest.update(part)
            if end == size and digest.hexdigest() != sha:
                raise _damaged(sha)
            yield part

    def get_file(self, sha: str, path: Path, on_bytes: Callable[[int], None] = lambda done: None) -> None:
        """Writes an object to a file, or leaves no file and raises `NotFound`, `Damaged` or `Unavailable`.

        on_bytes: called with the bytes so far after each part; may raise to stop.
        """
        try:
            with path.open("wb") as file:
                for part in self.read(sha):
                    file.write(part)
                    on_bytes(file.tell())
        except AtelierError:
            path.unlink()
            raise

    def delete(self, sha: str) -> None:
        """Deletes an object if it exists; raises `Unavailable`."""
        try:
            obstore.delete(self._store, sha)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise self._away("delete") from error

    def check(self) -> None:
        """Writes an object and reads it back; raises `Unavailable` when that fails or the bytes differ.

        The object has 64 KiB in a folder, to detect a full disk, and 16 bytes in a bucket, which may keep all
        versions.
        """
        data = PROBE_DATA if isinstance(self._store, LocalStore) else PROBE_DATA[:16]
        try:
            next(iter(obstore.list(self._store, prefix="0" * 64)), None)  # some servers create a missing bucket on put
            obstore.put(self._store, PROBE, data, use_multipart=False)
            intact = bytes(obstore.get(self._store, PROBE).bytes()) == data
        except (BaseError, OSError) as error:
            raise self._away("check") from error
        if not intact:
            raise self._away("check")

    def link(self, sha: str) -> str | None:
        """Returns a presigned GET link valid for `link_ttl_s` seconds, or None when the store is a folder."""
        if self._signer is None:
            return None
        return obstore.sign(cast(Any, self._signer), "GET", sha, timedelta(seconds=self.settings.link_ttl_s))

    def _away(self, operation: str) -> Unavailable:
        """Counts an error of the store after its retries, which obstore does not report."""
        with suppress(RedisError):
            self._jobs.stats.count("storage_errors", operation)
        return Unavailable("storage_unavailable", "The object store does not respond; try again shortly.")


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
    return NotFound("object_not_found", "The stored bytes no longer exist.", sha256=sha)


def _damaged(sha: str) -> Damaged:
    message = "The stored bytes are damaged: they do not match their sha256. Upload the file or run the job again."
    return Damaged("object_damaged", message, sha256=sha)
