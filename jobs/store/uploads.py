"""Uploaded images and archives, by the sha256 of their bytes."""

import json
from typing import Any, Literal

from jobs.errors import NotFound, Unavailable
from jobs.settings import Settings
from jobs.store.protocol import PREFIX, Protocol


class Uploads:
    """The uploads of one sort and tenant; each is kept for `image_ttl_s` after its last use."""

    def __init__(self, protocol: Protocol, settings: Settings, sort: Literal["image", "archive"]) -> None:
        self._protocol = protocol
        self._ttl_ms = settings.image_ttl_s * 1000
        self._sort = sort
        self._name = protocol.name(sort)  # of its keys, and as a holder of objects

    def put(self, sha: str, facts: dict[str, Any], holder: str | None = None) -> None:
        """Records an upload whose bytes are stored; raises `Unavailable` (`redis_full`).

        `holder` is the name under which the bytes were held while they were stored; that hold ends.
        """
        held = {"holder": self._protocol.name(holder)} if holder else {}
        arguments = {"facts": json.dumps(facts), "ttl_ms": self._ttl_ms, **held}
        if self._protocol.call("put_upload", sort=self._name, sha=sha, **arguments) == "out_of_room":
            raise redis_full()

    def get(self, sha: str) -> tuple[dict[str, Any], int]:
        """Returns the facts of an upload and the time (Unix ms) it is kept until; raises `NotFound`."""
        pipe = self._protocol.client.pipeline()
        pipe.get(f"{PREFIX}{self._name}:{sha}")
        pipe.pexpiretime(f"{PREFIX}{self._name}:{sha}")
        facts, until = pipe.execute()
        if facts is None:
            raise not_uploaded(self._sort, sha)
        return json.loads(facts), until

    def delete(self, sha: str) -> None:
        """Deletes an upload; its bytes stay as long as a job names them. Raises `NotFound`."""
        if self._protocol.call("delete_upload", sort=self._name, sha=sha) == "missing":
            raise not_uploaded(self._sort, sha)


def not_uploaded(sort: Literal["image", "archive"], sha: str) -> NotFound:
    """The error for an input that is not stored."""
    if sort == "image":
        return NotFound("image_not_found", f"No image img_{sha} is stored here; upload it first.", image=f"img_{sha}")
    return NotFound("archive_not_found", f"No archive zip_{sha} is stored here; upload it first.", archive=f"zip_{sha}")


def redis_full() -> Unavailable:
    """The error for a new record when Redis is near its memory limit."""
    return Unavailable("redis_full", "Redis holds nearly as much as its `maxmemory`; delete jobs or raise it.")
