"""Available memory."""

import sys
from pathlib import Path

import torch

CGROUP = Path("/sys/fs/cgroup")


def available_memory(device: torch.device) -> int:
    """Bytes available for tensors: of a GPU, or of the machine within the limits of a container."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    limits = [_free_of_the_machine()]
    limit = CGROUP / "memory.max"
    if limit.exists() and (text := limit.read_text().strip()) != "max":
        used = (CGROUP / "memory.stat").read_text().split()
        limits.append(int(text) - int(used[used.index("anon") + 1]))  # the page cache is freed on demand
    return min(limits)


def _free_of_the_machine() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines() if sys.platform == "linux" else []
    kilobytes = next((int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
    return 1024 * kilobytes if kilobytes else 8 * 2**30
