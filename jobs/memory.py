"""Settings of glibc's malloc, for processes that run for weeks."""

import contextlib
import ctypes

MMAP_THRESHOLD, ARENA_MAX = -3, -8  # from glibc's malloc.h
ARENAS = 2


def limit_arenas() -> None:
    """Lets the threads of this process share two arenas; nothing happens with another C library.

    With one for each thread, as by default, memory grows until every thread has held its largest allocation.
    """
    set_malloc(ARENA_MAX, ARENAS)


def set_malloc(option: int, value: int) -> None:
    """Sets an option of glibc's malloc (mallopt(3)), if that is the C library."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(option, value)
