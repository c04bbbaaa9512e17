"""Malloc's settings, in a process of their own."""

import subprocess
import sys

import pytest

THREADS = """
import ctypes, threading
from jobs.memory import limit_arenas
{setting}
together = threading.Barrier(8)
def allocate():
    blocks = [bytes(4096) for _ in range(100)]
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
ctypes.CDLL(None).malloc_stats()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the arenas are glibc's")
def test_threads_share_two_arenas() -> None:
    def arenas(setting: str) -> int:
        code = THREADS.format(setting=setting)
        stats = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
        return stats.count("Arena ")

    assert arenas("") > 2
    assert arenas("limit_arenas()") == 2
