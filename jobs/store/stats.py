"""Counters and histograms of the whole service, which `/metrics` shows.

They are fields of one Redis hash: `<name>:<labels>` of a counter, `<name>:<labels>:<bound>` and `<name>:<labels>:sum`
of a histogram. The protocol counts in the same step that changes a job, so a job counts once, whichever process runs it
or dies, and counting costs no round trip.
"""

from collections.abc import Sequence
from typing import cast

from jobs.store.protocol import PREFIX, Protocol

KEY = f"{PREFIX}stats"


class Stats:
    """Counts what the protocol does not see, and reads all that is counted."""

    def __init__(self, protocol: Protocol) -> None:
        self._client = protocol.client

    def count(self, name: str, *labels: str) -> None:
        """Adds 1 to a counter."""
        self._client.hincrby(KEY, ":".join((name, *labels)), 1)

    def read(self) -> dict[tuple[str, ...], float]:
        """Returns every field by its parts."""
        fields = cast(dict[str, str], self._client.hgetall(KEY))
        return {tuple(field.split(":")): float(value) for field, value in fields.items()}

    def memory(self) -> tuple[int, int]:
        """Returns the bytes that Redis uses and its limit, 0 for none."""
        info = cast(dict[str, int], self._client.info("memory"))
        return info["used_memory"], info["maxmemory"]


def cumulative(counts: dict[str, float], bounds: Sequence[float]) -> list[tuple[str, float]]:
    """Returns for each bound, and for `+Inf`, how many values are at most as large.

    counts: values by the bound of their bucket, which may be one of an earlier release.
    """
    number = {float(bound): count for bound, count in counts.items()}
    return [
        (bound, sum(count for most, count in number.items() if most <= float(bound)))
        for bound in (*map(str, bounds), "+Inf")
    ]
