"""Threads for slow work, apart from those of quick requests; each pool is bounded and answers 429 when it is full."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar, TypeVarTuple

from anyio import CapacityLimiter, from_thread, to_thread

from jobs.errors import Busy

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class Pool:
    """At most `threads` calls at once, and `waiting` more that wait for a thread."""

    def __init__(self, what: str, threads: int, waiting: int) -> None:
        self._what, self._places = what, threads + waiting
        self._limiter = CapacityLimiter(threads)

    async def run(self, function: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        """The function's result, from a thread of the pool; raises `Busy` when the pool is full."""
        if not self._places:
            raise Busy("busy", f"The service is {self._what} as many as it can; try again shortly.")
        self._places -= 1
        try:
            return await to_thread.run_sync(partial(function, *arguments), limiter=self._limiter)
        finally:
            self._places += 1

    def call(self, function: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        """The same from within a thread of another pool."""
        return from_thread.run(self.run, function, *arguments)


# An image takes up to 430 MB while it is decoded: one at a time keeps the process under 512 MB.
DECODING = Pool("decoding images,", threads=1, waiting=32)
# Most wait for a decoder, for an https image or for the object store.
SUBMITTING = Pool("taking requests,", threads=100, waiting=400)
FETCHING = Pool("fetching https images,", threads=32, waiting=0)
# Threads of Python share the interpreter with everything else: a thousand streams that begin at once take their turn.
FOLLOWING = Pool("beginning streams of events,", threads=2, waiting=4_000)
# The directory of a hostile zip file takes some 200 MB while it is read: one at a time.
COUNTING = Pool("reading archives,", threads=1, waiting=16)
ARCHIVING = Pool("storing archives,", threads=2, waiting=16)
