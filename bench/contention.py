"""What OMP_WAIT_POLICY=PASSIVE (worker/app.py) does for a Gatys step while another process keeps a core busy.

`python -m bench.contention`: the median step of both policies, in turn, three times each.
"""

import multiprocessing
import os
import statistics
import subprocess
import sys

STEPS = """
import time, torch
from models.perceptual.vgg import load_vgg
from models.stylize.gatys import transfer
image, times = torch.rand(1, 3, 160, 160), []
transfer(load_vgg("vgg16"), image, [(image, 1.0)], num_steps=25, on_step=lambda _: times.append(time.perf_counter()))
steps = sorted(b - a for a, b in zip(times[4:], times[5:]))
print(steps[len(steps) // 2] * 1000)
"""


def main() -> None:
    """Keep one core busy, time both policies and print their medians and ratio."""
    busy = multiprocessing.Process(target=_spin, daemon=True)
    busy.start()
    times: dict[str, list[float]] = {"default": [], "PASSIVE": []}
    for _ in range(3):
        for policy, found in times.items():
            found.append(_median_step_ms(policy))
    busy.terminate()
    default, passive = (statistics.median(found) for found in times.values())
    times_faster = default / passive
    print(f"160 px step beside a busy process: default {default:.0f} ms, passive {passive:.0f} ms: {times_faster:.1f}x")


def _median_step_ms(policy: str) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    if policy == "PASSIVE":  # otherwise the library's own default, which spins
        environment["OMP_WAIT_POLICY"] = policy
    run = subprocess.run([sys.executable, "-c", STEPS], env=environment, capture_output=True, text=True, check=True)
    return float(run.stdout)


def _spin() -> None:
    while True:
        pass


if __name__ == "__main__":
    main()
