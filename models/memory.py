"""The memory of this process: what the C library keeps for the next tensor, and how much there is."""

import ctypes
import sys
from pathlib import Path

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
LARGEST = 2**31 - 1
CGROUP = Path("/sys/fs/cgroup")


def keep_freed_memory() -> None:
    """Let glibc hand freed memory to the next tensor, not back to the system, which would clear each page of it anew.

    The features of a picture are tens of megabytes and live for milliseconds. `python -m bench.style` prints what it
    saves; with THP_MEM_ALLOC_ENABLE=1, which torch reads when it is loaded, the pages are large ones too.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST)
        libc.mallopt(M_TRIM_THRESHOLD, LARGEST)


def return_freed_memory() -> None:
    """Give the system back what `keep_freed_memory` kept: to be called when a job has ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def available_memory(device: torch.device) -> int:
    """Bytes that further tensors can have: on a GPU, or of the machine within the limits of a container."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    found = [_free_of_the_machine()]
    limit = CGROUP / "memory.max"
    if limit.exists() and (text := limit.read_text().strip()) != "max":
        used = (CGROUP / "memory.stat").read_text().split()
        found.append(int(text) - int(used[used.index("anon") + 1]))  # what files take is given up when asked for
    return min(found)


def _free_of_the_machine() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines() if sys.platform == "linux" else []
    kilobytes = next((int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
    return 1024 * kilobytes if kilobytes else 8 * 2**30
