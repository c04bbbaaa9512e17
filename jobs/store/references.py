"""Which stored objects are in use, so that clean-up deletes the others."""

import secrets
from collections.abc import Iterator
from typing import cast

from jobs.limits import at_limit
from jobs.settings import Settings
from jobs.store.protocol import PREFIX, Protocol


class References:
    """Holds objects while they are stored, and hands out those that no record names."""

    def __init__(self, protocol: Protocol, settings: Settings) -> None:
        self._protocol = protocol
        self._hold_ms = settings.hold_s * 1000

    def hold(self, sha: str, holder: str = "hold", *, size: int = 0, most: int | None = None) -> bool:
        """Protects an object that is about to be stored from clean-up; False while clean-up is deleting it.

        `holder` is the upload, or the job whose checkpoint it is. With a tenant its `size` in bytes counts from now on;
        raises `LimitReached` if all that the tenant stores would exceed `most` bytes.
        """
        limit = {} if most is None else {"max_stored": most}
        named = {"sha": sha, "holder": self._protocol.name(holder), "bytes": size}
        outcome = self._protocol.call("hold", ttl_ms=self._hold_ms, **named, **limit)
        if outcome == "limit":
            raise at_limit("stored_bytes", cast(int, most))
        return bool(outcome == "held")

    def condemn(self, limit: int = 100) -> list[str]:
        """Returns objects that no record names; they cannot be stored again until `deleted` is called."""
        return cast(list[str], self._protocol.call("condemn", limit=limit))

    def deleted(self, sha: str) -> None:
        """Records that a condemned object was deleted."""
        self._protocol.call("deleted", sha=sha)

    def unmeasured(self) -> Iterator[str]:
        """Yields objects that earlier releases stored without their size, so that they count for no tenant."""
        client, prefix, cursor = self._protocol.client, f"{PREFIX}refs:", -1
        while cursor:
            cursor, names = cast(tuple[int, list[str]], client.scan(max(cursor, 0), f"{prefix}*", 1000))
            shas = [name.removeprefix(prefix) for name in names]
            pipe = client.pipeline(transaction=False)
            for sha in shas:
                pipe.hexists(f"{PREFIX}owners:{sha}", "bytes")
            yield from (sha for sha, is_known in zip(shas, pipe.execute(), strict=True) if not is_known)

    def adopt(self, sha: str, size: int) -> None:
        """Counts an object of an earlier release, of `size` bytes, for the tenants that name it; once."""
        self._protocol.call("adopt", sha=sha, bytes=size)


def new_holder() -> str:
    """Returns a name for an upload while it is being stored."""
    return f"upload:{secrets.token_hex(8)}"
