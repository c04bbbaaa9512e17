"""Compares style transfer with a plain implementation and with the speed of the machine: `python -m bench.style`.

Prints seconds per iteration by size; the arithmetic per second as a share of that of large matrix products; the time to
the final loss of plain float32 single-scale L-BFGS; the difference of the final losses of bfloat16 and float32; and the
memory per pixel. The plain implementation uses torch's modules with padding, autograd for everything and
torch.optim.LBFGS. Both run in this process, one after the other.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from unittest.mock import patch

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as in worker/app.py; read at torch's first large tensor
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

import numpy as np
import torch
from skimage import data
from torch import Tensor
from torch.nn import functional as F

from bench.resident import peak_memory
from models.errors import DivergedError
from models.perceptual.losses import content_loss, total_variation
from models.perceptual.vgg import VGG, load_vgg
from models.stylize import gatys
from models.stylize.gatys import CONTENT_LAYERS, STYLE_LAYERS, Region, Style, transfer
from models.stylize.minimize import OptimizationStep

LAYERS = (*STYLE_LAYERS, *CONTENT_LAYERS)
PHOTO, STYLE = data.astronaut(), data.coffee()  # type: ignore[no-untyped-call]
WEIGHTS = torch.tensor([1.0, 20.0, 10.0])  # content, style, total variation: the defaults


class ReachedError(Exception):
    """The target loss is reached."""


def main() -> None:
    """Prints everything; with `--memory` or `--step` and a side only one figure, for the parent process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 384, 512, 768])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=512, help="of the race to a loss")
    parser.add_argument("--steps", type=int, default=300, help="of the plain side in that race")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"))
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--step", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory:
        print(_peak(args.memory, getattr(torch, args.dtype)))
        return
    if args.step:
        print(_seconds_a_step(load_vgg("vgg16"), _photo(args.step, PHOTO), _photo(args.step, STYLE), args.rounds))
        return
    fast, wide = (load_vgg("vgg16", dtype=dtype) for dtype in (None, torch.float32))
    print(f"{torch.get_num_threads()} threads, {fast.compute_dtype} here; medians of {args.rounds}")
    rates = {dtype: _matrix_rate(dtype, args.rounds) for dtype in (torch.bfloat16, torch.float32)}
    for dtype, rate in rates.items():
        print(f"matrix product of 4096 x 4096, {dtype}: {rate:.0f} GFLOP/s")
    print(
        f"\n{'pixels':>8}{'plain float32':>16}{'here float32':>15}{'here':>9}{'ratio':>8}{'GFLOP/s':>10}{'of peak':>9}"
    )
    for side in args.sizes:
        photo, style = _photo(side, PHOTO), _photo(side, STYLE)
        plain = _median(_plain_step(wide, photo, style), args.rounds)
        ours = [_seconds_a_step(vgg, photo, style, args.rounds) for vgg in (wide, fast)]
        rate = _flops(fast, photo) / ours[1] / 1e9
        share = rate / rates[fast.compute_dtype]
        print(
            f"{side:8}{plain:15.3f}s{ours[0]:14.3f}s{ours[1]:8.3f}s{plain / ours[1]:7.1f}x{rate:10.0f}{share:9.0%}",
            flush=True,
        )
    large, small = (float(_of_a_process("--step", args.size, THP_MEM_ALLOC_ENABLE=flag)) for flag in "10")
    print(f"a step at {args.size} px in large pages: {large:.3f} s; in small ones: {small:.3f} s, {small / large:.2f}x")
    _race(fast, wide, args.size, args.steps)
    for kind in ("bfloat16", "float32"):
        peaks = {side: int(_of_a_process("--memory", side, "--dtype", kind)) for side in (512, 1024, 2048)}
        text = ", ".join(f"{side} px {peak / 1e9:.2f} GB" for side, peak in peaks.items())
        print(f"peak memory of a process, {kind}: {text}", flush=True)


def _race(fast: VGG, wide: VGG, side: int, steps: int) -> None:
    """Prints the time of each to the final loss of the plain one; losses are at full size, in float32."""
    photo, style = _photo(side, PHOTO), _photo(side, STYLE)
    started = time.perf_counter()
    _, wanted = plain_run(wide, photo, style, steps)
    plain = time.perf_counter() - started
    print(f"\nplain float32 L-BFGS, {steps} iterations at {side} px: loss {wanted:.3f} in {plain:.1f} s", flush=True)
    for name, single in (("here", False), ("here, one scale", True)):
        with patch.object(gatys, "levels", _one_level) if single else nullcontext():
            seconds, taken = _until(fast, photo, style, wanted)
        print(f"{name}: that loss after {taken} steps, {seconds:.1f} s: {plain / seconds:.1f}x", flush=True)
    ends = [transfer(vgg, photo, [Region([Style(style)])], num_steps=200).loss for vgg in (wide, fast)]
    print(
        f"200 steps: loss {ends[0]:.4f} in float32, {ends[1]:.4f} in {fast.compute_dtype}: {ends[1] / ends[0] - 1:+.1%}"
    )


def _until(vgg: VGG, photo: Tensor, style: Tensor, wanted: float) -> tuple[float, int]:
    """Seconds and steps until the loss at full size is `wanted`, by the schedule of three hundred steps."""
    taken = 0

    def on_step(step: OptimizationStep) -> None:
        nonlocal taken
        taken = step.step
        if step.pixels.shape[2:] == photo.shape[2:] and _comparable(step) <= wanted:
            raise ReachedError

    started = time.perf_counter()
    try:
        transfer(vgg, photo, [Region([Style(style)])], num_steps=300, on_step=on_step)
    except ReachedError:
        return time.perf_counter() - started, taken
    raise DivergedError(f"{wanted} was not reached")


def _comparable(step: OptimizationStep) -> float:
    """The loss without the term that the plain implementation does not have."""
    return step.loss - gatys.RANGE_WEIGHT * step.parts["range_loss"]


def _one_level(size: tuple[int, int], num_steps: int, coarsest: int = 0) -> list[tuple[tuple[int, int], int]]:
    return [((size[0], size[1]), num_steps)]


# --- the plain side ---------------------------------------------------------------------------------------------------


def _plain_features(vgg: VGG, images: Tensor) -> dict[str, Tensor]:
    x = (images - vgg.mean.view(3, 1, 1)) / vgg.std.view(3, 1, 1)
    features = {}
    for name, conv in list(vgg.named_children())[:11]:
        if name.endswith("_1") and name != "conv1_1":
            x = F.avg_pool2d(x, 2)
        x = F.relu(conv(F.pad(x, (1, 1, 1, 1), mode="replicate")))
        features[name.replace("conv", "relu")] = x
    return {layer: features[layer] for layer in LAYERS}


def _plain_gram(features: Tensor) -> Tensor:
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def _plain_objective(vgg: VGG, photo: Tensor, style: Tensor) -> Callable[[Tensor], Tensor]:
    """Returns the same losses, implemented as in the papers."""
    with torch.no_grad():
        content = _plain_features(vgg, photo)[CONTENT_LAYERS[0]]
        grams = {layer: _plain_gram(features) for layer, features in _plain_features(vgg, style).items()}
    scales = {}
    for layer, gram in grams.items():
        energy = gram.diagonal(dim1=1, dim2=2)
        scale = (energy + energy.mean() / 10).rsqrt()
        scales[layer] = scale[:, :, None] * scale[:, None, :]

    def objective(pixels: Tensor) -> Tensor:
        features = _plain_features(vgg, pixels)
        apart = [
            (scales[k] * (_plain_gram(features[k]) - grams[k])).square().sum() / (scales[k] * grams[k]).square().sum()
            for k in STYLE_LAYERS
        ]
        parts = [content_loss(features[CONTENT_LAYERS[0]], content), torch.stack(apart).mean(), total_variation(pixels)]
        return WEIGHTS @ torch.stack(parts)

    return objective


def _plain_step(vgg: VGG, photo: Tensor, style: Tensor) -> Callable[[], None]:
    objective, pixels = _plain_objective(vgg, photo, style), photo.clone().requires_grad_()

    def step() -> None:
        pixels.grad = None
        objective(pixels).backward()

    return step


def plain_run(vgg: VGG, photo: Tensor, style: Tensor, steps: int) -> tuple[Tensor, float]:
    """Returns the image (1, 3, h, w) after so many iterations from the photo, and the loss before the last."""
    objective, pixels = _plain_objective(vgg, photo, style), photo.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([pixels], max_iter=1, history_size=10, tolerance_grad=0, tolerance_change=0)
    loss = torch.zeros(())

    def closure() -> Tensor:
        nonlocal loss
        optimizer.zero_grad()
        loss = objective(pixels)
        loss.backward()
        return loss.detach()

    for _ in range(steps):
        optimizer.step(closure)
    return pixels.detach().clamp(0, 1), loss.item()


# --- measures ---------------------------------------------------------------------------------------------------------


def _seconds_a_step(vgg: VGG, photo: Tensor, style: Tensor, rounds: int) -> float:
    """Median seconds between two steps at full size, including the work of the optimizer."""
    times: list[float] = []
    with patch.object(gatys, "levels", _one_level):
        regions = [Region([Style(style)])]
        transfer(vgg, photo, regions, num_steps=rounds + 3, on_step=lambda _: times.append(time.perf_counter()))
    return statistics.median(np.diff(times[2:]).tolist())


def _median(run: Callable[[], object], rounds: int) -> float:
    run()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _matrix_rate(dtype: torch.dtype, rounds: int) -> float:
    a, b = (torch.randn(4096, 4096).to(dtype) for _ in range(2))
    return 2 * 4096**3 / _median(lambda: a @ b, rounds) / 1e9


def _flops(vgg: VGG, photo: Tensor) -> float:
    """Floating-point operations of the convolutions of a forward and a backward pass, two per multiplication."""
    features = vgg(photo, vgg.layers[:11])
    filters = [parameter.numel() for name, parameter in vgg.named_parameters() if name.endswith("weight")][:11]
    return float(sum(2 * 2 * n * x.shape[2] * x.shape[3] for n, x in zip(filters, features.values(), strict=True)))


def _photo(side: int, image: np.ndarray) -> Tensor:
    square = torch.from_numpy(np.ascontiguousarray(image[:400, :400])).permute(2, 0, 1)[None].float() / 255
    return F.interpolate(square, (side, side), mode="bicubic", antialias=True).clamp(0, 1)


def _peak(side: int, dtype: torch.dtype) -> int:
    """Peak memory of this process after three steps, in bytes."""
    photo = _photo(side, PHOTO)
    with patch.object(gatys, "levels", _one_level):
        transfer(load_vgg("vgg16", dtype=dtype), photo, [Region([Style(photo)])], num_steps=3)
    return peak_memory()


def _of_a_process(*arguments: object, **environment: str) -> str:
    """Runs this module in another process; returns what it prints."""
    command = [sys.executable, "-m", "bench.style", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | environment).stdout


if __name__ == "__main__":
    main()
