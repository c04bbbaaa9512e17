"""Measures jobs alike as one batch against one by one, through the whole service: `python -m bench.batches`.

For each kind a worker gets its jobs at once and is timed to the end of the last; once with `ATELIER_MAX_BATCH=1`, once
with the default. Prints the jobs a second of both and their ratio (aims: 1.5 for `fast`, 4 for generators).
"""

import argparse
import base64
import os
import signal
import tempfile
from pathlib import Path
from typing import Any

from tests.stack import ROOT, Stack, wait_until

PRODUCTION = {"ATELIER_LEASE_S": "30", "ATELIER_SWEEP_S": "5", "OMP_NUM_THREADS": str(os.cpu_count())}
PHOTOS = ROOT / "examples" / "photos"
FACE = "data:image/webp;base64," + base64.b64encode((ROOT / "api/examples/coffee.webp").read_bytes()).decode()


def main() -> None:
    """Prints a line for each kind."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", help="only these")
    args = parser.parse_args()
    found: dict[str, list[float]] = {}
    for batch in (1, 16):
        with tempfile.TemporaryDirectory() as folder:
            stack = Stack(Path(folder), **PRODUCTION, ATELIER_MAX_BATCH=str(batch))
            try:
                stack.start_valkey()
                stack.start_api("api.main:app")
                stack.start_upkeep()
                stack.start_worker(app="worker.app")
                kinds = _kinds(stack)
                for name in args.kinds or kinds:
                    rates = [_rate(stack, *kinds[name], args.jobs) for _ in range(args.rounds)]
                    found.setdefault(name, []).append(max(rates))
                    print(f"{name:36} at most {batch:2} a batch: {max(rates):7.1f} jobs/s", flush=True)
            finally:
                stack.stop()
    print(f"\n{'jobs a second':36}{'one by one':>12}{'batches':>10}{'ratio':>8}")
    for name, (alone, together) in found.items():
        print(f"{name:36}{alone:12.1f}{together:10.1f}{together / alone:7.1f}x")


def _kinds(stack: Stack) -> dict[str, tuple[str, dict[str, Any]]]:
    """The route and the body of a job of each kind."""
    cat, cup = (_uploaded(stack, PHOTOS / f"{name}.jpg") for name in ("chelsea", "coffee"))
    transfers, generations = "/v1/style-transfers", "/v1/generations"
    sample = {"n": 1}
    return {
        "fast, a built-in style, 512 px": (transfers, {"content": cat, "style": "builtin:19", "size": 512}),
        "fast, an image as the style, 512 px": (transfers, {"content": cat, "style": cup, "size": 512}),
        "a face of a DCGAN, 64 px": (generations, {"model": "dcgan-avatars", "upscale": 1, **sample}),
        "a face of a DCGAN, 256 px": (generations, {"model": "dcgan-avatars", **sample}),
        "a smiley of a VAE": (generations, {"model": "vae-smileys", **sample}),
        "a digit by diffusion, 10 steps": (generations, {"model": "ddpm-digits", "num_inference_steps": 10, **sample}),
        "a face by diffusion, 10 steps": (generations, {"model": "ddpm-avatars", "num_inference_steps": 10, **sample}),
        "a face encoded and decoded": (
            generations,
            {"model": "dcgan-avatars", "mode": "reconstruct", "images": [FACE]},
        ),
        "an image of 64 px upscaled": (
            generations,
            {"model": "realesr-animevideov3", "mode": "upscale", "images": [FACE]},
        ),
    }


def _uploaded(stack: Stack, path: Path) -> str:
    answer = stack.client.post("/v1/images", files={"file": path.read_bytes()})
    return str(answer.raise_for_status().json()["id"])


def _rate(stack: Stack, route: str, body: dict[str, Any], n: int) -> float:
    """Jobs a second of a worker that has loaded the models and finds n jobs."""
    worker = stack.processes["w1"].pid
    _submit(stack, route, body, 1)
    os.killpg(worker, signal.SIGSTOP)
    try:
        ids = _submit(stack, route, body, n, wait=False)
    finally:
        os.killpg(worker, signal.SIGCONT)
    wait_until(lambda: stack.jobs.get(ids[-1]).finished and _ended(stack, ids), 600, "the jobs")
    records = [stack.jobs.get(job_id) for job_id in ids]
    ends = [record.finished_at or 0 for record in records]
    assert all(record.status == "succeeded" for record in records), records[0].error
    seconds = (max(ends) - min(record.started_at or 0 for record in records)) / 1000
    return n / seconds


def _ended(stack: Stack, ids: list[str]) -> bool:
    return all(stack.jobs.get(job_id).finished for job_id in ids)


def _submit(stack: Stack, route: str, body: dict[str, Any], n: int, *, wait: bool = True) -> list[str]:
    ids = []
    for seed in range(n):
        answer = stack.client.post(route, json=body | {"seed": seed})
        assert answer.status_code == 202, answer.text
        ids.append(str(answer.json()["id"]))
    for job_id in ids if wait else ():
        stack.finished(job_id, 120)
    return ids


if __name__ == "__main__":
    main()
