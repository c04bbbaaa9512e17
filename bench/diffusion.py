"""Measures text-to-image jobs, one by one and in batches, through the whole service: `python -m bench.diffusion`."""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from models.data.avatars import avatars
from tests.stack import Stack

MODEL = "stable-diffusion-avatars"
BATCHES = (1, 4, 16, 64)


def main() -> None:
    """Prints images per second by the number of jobs in a batch, and the ratio to one job at a time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    prompts = avatars(args.jobs, seed=1).captions
    print(f"{args.jobs} jobs of one image, {MODEL}; median of {args.rounds}")
    print(f"{'jobs at once':>12}{'images per second':>20}{'ratio':>8}")
    rates: list[float] = []
    for batch in BATCHES:
        with tempfile.TemporaryDirectory() as folder:
            rates.append(rate(Path(folder), batch, prompts, args.rounds))
        print(f"{batch:>12}{rates[-1]:20.2f}{rates[-1] / rates[0]:7.1f}x", flush=True)


def rate(folder: Path, batch: int, prompts: tuple[str, ...], rounds: int) -> float:
    """Images per second of a worker that runs so many jobs in a batch, from the first start to the last end.

    All jobs are queued before the worker begins, because it runs another job until then.
    """
    stack = Stack(folder, ATELIER_MAX_BATCH=str(batch))
    try:
        stack.start_valkey()
        stack.start_api("api.main:app")
        stack.start_upkeep()
        stack.start_worker("w1")
        stack.finished(submit(stack, "a man", num_inference_steps=1))  # loads the model
        rates = []
        for _ in range(rounds):
            submit(stack, "a man", num_images_per_prompt=16)
            ids = [submit(stack, prompt) for prompt in prompts]
            ended = [stack.finished(job_id, 600) for job_id in ids]
            assert all(job["status"] == "succeeded" for job in ended)
            records = [stack.jobs.get(job_id) for job_id in ids]
            first = min(record.started_at or 0 for record in records)
            last = max(record.finished_at or 0 for record in records)
            rates.append(len(ids) / (last - first) * 1000)
        return statistics.median(rates)
    finally:
        stack.stop()


def submit(stack: Stack, prompt: str, **more: int) -> str:
    """Submits a job of one prompt; returns its id."""
    body = {"mode": "text-to-image", "model": MODEL, "prompt": prompt, **more}
    started = time.monotonic()
    answer = stack.client.post("/v1/generations", json=body)
    assert answer.status_code == 202 and time.monotonic() - started < 5, answer.text
    return str(answer.json()["id"])


if __name__ == "__main__":
    main()
