"""Thread pools for slow work, separate from the threads of quick requests; a full pool makes the API return 429."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar, TypeVarTuple

from anyio import CapacityLimiter, from_thread, to_thread

from jobs.errors import Busy

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class Pool:
    """Runs at most `threads` calls at once; `waiting` more may wait for a thread."""

    def __init__(self, what: str, threads: int, waiting: int) -> None:
        self._what, self._places = what, threads + waiting
        self._limiter = CapacityLimiter(threads)

    async def run(self, function: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        """Runs a function in a thread of the pool; raises `Busy` when the pool is full."""
        if not self._places:
            raise Busy("busy", f"The service is at its limit of {self._what}; try again shortly.")
        self._places -= 1
        try:
            return await to_thread.run_sync(partial(function, *arguments), limiter=self._limiter)
        finally:
            self._places += 1

    def call(self, function: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        """Runs a function as `run` does, from a thread of another pool."""
        return from_thread.run(self.run, function, *arguments)


# Decoding an image uses up to 430 MB: one at a time keeps the process under 512 MB.
DECODING = Pool("images being decoded", threads=1, waiting=32)
# Each call is one round trip to Redis.
ADMITTING = Pool("requests being admitted", threads=4, waiting=4_000)
# Most of these threads wait for a decoder, an https image or the object store.
SUBMITTING = Pool("requests being processed", threads=100, waiting=400)
FETCHING = Pool("https images being fetched", threads=32, waiting=0)
# Python threads share the interpreter with the event loop: a thousand streams that start at once take turns.
FOLLOWING = Pool("event streams being started", threads=2, waiting=4_000)
# Reading the directory of a hostile zip file uses about 200 MB: one at a time.
COUNTING = Pool("archives being read", threads=1, waiting=16)
ARCHIVING = Pool("archives being stored", threads=2, waiting=16)
