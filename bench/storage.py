"""Measures the object store as jobs and upkeep use it: `python -m bench.storage`.

Stores, reads and removes objects of the sizes of a small and of a large output, from 1 and from 16 threads, in a folder
and in SeaweedFS over S3. Each object costs the round trips to Redis that it costs in production.
"""

import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jobs.objects import Objects
from tests.stack import Stack, seaweed
from worker.upkeep import remove_unused

SIZES = {"30 KB": 30_000, "1 MB": 1_000_000}
N_OBJECTS, THREADS = 320, (1, 16)


def main() -> None:
    """Starts a Valkey and an S3 server, measures both stores and prints."""
    with tempfile.TemporaryDirectory() as folder, seaweed(Path(folder)) as server:
        for name, env in (("folder", {}), ("SeaweedFS", server.env)):
            os.environ.update(env)
            stack = Stack(Path(folder) / name, ATELIER_HOLD_S="1", **env)
            stack.folder.mkdir()
            try:
                stack.start_valkey()
                print_store(name, Objects(stack.settings, stack.jobs, retry_s=5), stack)
            finally:
                stack.stop()


def print_store(name: str, objects: Objects, stack: Stack) -> None:
    """Prints the rates of puts, gets and removals."""
    for label, n_bytes in SIZES.items():
        for n_threads in THREADS:
            where = f"{name}, {label}, {n_threads} threads"
            images = [os.urandom(n_bytes) for _ in range(N_OBJECTS)]
            shas = _timed(f"put {where}", lambda data: objects.put(data, "image/png"), images, n_threads)
            _timed(f"get {where}", objects.get, shas, n_threads)
        time.sleep(1.1)
        started = time.perf_counter()
        rate = remove_unused(stack.jobs, objects) / (time.perf_counter() - started)
        print(f"{f'removed by upkeep, {name}, {label}':44}{rate:8.0f}/s", flush=True)


def _timed(name: str, call: Callable[[Any], Any], items: list[Any], n_threads: int) -> list[Any]:
    started = time.perf_counter()
    with ThreadPoolExecutor(n_threads) as threads:
        results = list(threads.map(call, items))
    print(f"{name:44}{len(items) / (time.perf_counter() - started):8.0f}/s", flush=True)
    return results


if __name__ == "__main__":
    main()
