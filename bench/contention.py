"""Measures the effect of GOMP_SPINCOUNT (worker/app.py) on a Gatys step, alone and beside a busy process.

`python -m bench.contention`: the median step for three ways in which OpenMP threads wait, three rounds each.
"""

import multiprocessing
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

STEPS = """
import time, torch
from models.perceptual.vgg import load_vgg
from models.stylize.gatys import Region, Style, transfer
image, times = torch.rand(1, 3, 160, 160), []
on_step = lambda _: times.append(time.perf_counter())
transfer(load_vgg("vgg16"), image, [Region([Style(image)])], num_steps=25, init="noise", on_step=on_step)
steps = sorted(b - a for a, b in zip(times[4:], times[5:]))
print(steps[len(steps) // 2] * 1000)
"""
WAYS: dict[str, dict[str, str]] = {
    "default": {},
    "short spin": {"GOMP_SPINCOUNT": "3000"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
}


def main() -> None:
    """Times the three ways with both cores free and with one busy, and prints their medians and ratios."""
    for busy in (False, True):
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        with _busy() if busy else nullcontext():
            for _ in range(3):
                for way, steps in times.items():
                    steps.append(_median_step_ms(WAYS[way]))
        medians = {way: statistics.median(steps) for way, steps in times.items()}
        ratios = ", ".join(f"{way} {ms:.0f} ms ({medians['default'] / ms:.1f}x)" for way, ms in medians.items())
        print(f"160 px step {'beside a busy process' if busy else 'alone'}: {ratios}", flush=True)


def _median_step_ms(way: dict[str, str]) -> float:
    named = {name for each in WAYS.values() for name in each}
    environment = {name: value for name, value in os.environ.items() if name not in named}
    command = [sys.executable, "-c", STEPS]
    run = subprocess.run(command, env=environment | way, capture_output=True, text=True, check=True)
    return float(run.stdout)


@contextmanager
def _busy() -> Iterator[None]:
    process = multiprocessing.Process(target=_spin, daemon=True)
    process.start()
    yield
    process.terminate()


def _spin() -> None:
    while True:
        pass


if __name__ == "__main__":
    main()
