"""Measures whether jobs leave memory behind: `python -m bench.memory [n_jobs]` (2,000 by default).

Runs style transfers and samples one after another, of sizes that differ, and prints the resident memory of the API and
of the worker after the first 50 jobs and as they go on. Aim: at most 10 % more at the end than after the first 50.
"""

import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.load import PHOTO, PRODUCTION, memory, start
from tests.stack import Stack

FIRST, EVERY = 50, 250
NAMES = ("api", "w1")


def main() -> None:
    """Starts the stack, runs the jobs and prints."""
    n_jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), **PRODUCTION)
        try:
            start(stack, {"w1": "fast"})
            print_memory(stack, n_jobs)
        finally:
            stack.stop()


def print_memory(stack: Stack, n_jobs: int) -> None:
    """Runs the jobs and prints the memory after some of them."""
    image = stack.client.post("/v1/images", files={"file": PHOTO}).json()["id"]
    dice, first = random.Random(1), {}
    for number in range(1, n_jobs + 1):
        job = run(stack, dice, image)
        assert job["status"] == "succeeded", job["error"]
        if number == FIRST:
            first = memory(stack, NAMES)
        if number == FIRST or number % EVERY == 0:
            now = memory(stack, NAMES)
            words = (f"{name} {mb:.0f} MB ({mb / first[name] - 1:+.1%})" for name, mb in now.items())
            print(f"J12: {number} jobs: {', '.join(words)}", flush=True)


def run(stack: Stack, dice: random.Random, image: str) -> dict[str, Any]:
    """Runs one job to its end and reads its first output."""
    paths: dict[str, dict[str, Any]] = {
        "/v1/style-transfers": {"method": "fast", "content": image, "style": f"builtin:{dice.randint(0, 25)}"},
        "/v1/generations": {"model": "dcgan-avatars", "n": dice.randint(1, 8)},
    }
    paths["/v1/style-transfers"]["size"] = dice.choice((64, 96, 128))
    path, body = dice.choice(list(paths.items()))
    body |= {"seed": dice.randrange(2**32)}
    job: dict[str, Any] = stack.client.post(path, json=body, headers={"Prefer": "wait=60"}, timeout=90).json()
    for output in job["outputs"]:
        stack.client.get(output["url"]).raise_for_status()
    return job


if __name__ == "__main__":
    main()
