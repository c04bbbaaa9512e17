"""Minimizes a loss of pixels from coarse to fine, by L-BFGS or Adam.

Gatys et al. 2017, "Controlling perceptual factors in neural style transfer", section 6: the receptive field of a
network covers more of a small image, so large strokes form there, at a fraction of the cost.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from models.errors import DivergedError

COARSEST = 192  # shortest longer side in pixels of the coarsest level: faces dissolve at smaller sizes
MIN_VGG_SIDE = 16  # block 5 of VGG works at a sixteenth of the size and needs at least one pixel
LBFGS_HISTORY = 10
FIRST_STEP = 0.01  # of L-BFGS, root mean square over pixels: a much smaller one is lost in half precision
ADAM_LR, ADAM_BETAS, AVERAGED = 0.02, (0.9, 0.999), 20  # AVERAGED: number of iterates that are averaged
PATIENCE = 10  # steps whose smallest loss is compared with that of as many steps before

Size = tuple[int, int]
OptimizerName = Literal["lbfgs", "adam"]
Objective = Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]]  # pixels -> the loss, and its parts


@dataclass(frozen=True)
class OptimizationStep:
    """State after `step` of at most `total` iterations; the losses are those before the step."""

    step: int
    total: int
    loss: float
    parts: Mapping[str, float]
    pixels: Tensor

    def image(self) -> Tensor:
        """Current image (1, 3, h, w) in [0, 1], smaller than the result at coarse levels."""
        return self.pixels.detach().clamp(0, 1)


@dataclass(frozen=True)
class Minimized:
    """Result: the image (1, 3, h, w) in [0, 1], the loss of the last step and its parts, and the number of steps."""

    image: Tensor
    loss: float
    parts: Mapping[str, float]
    steps: int


def minimize(
    objective_at: Callable[[Size, int], Objective],
    start: Tensor,
    schedule: Sequence[tuple[Size, int]],
    *,
    optimizer: OptimizerName = "lbfgs",
    tolerance: float = 0.0,
    on_step: Callable[[OptimizationStep], None] | None = None,
) -> Minimized:
    """Minimizes an objective of pixels, starting from `start`, level by level from coarse to fine.

    Each level starts with a new optimizer. Resizing its state with the image did not help L-BFGS and harmed Adam (a
    loss of 1.86 instead of 1.14 after 120 steps), because a level first changes what the level before lacked.

    objective_at: returns the objective for a size and a level, counted from 0. schedule: ((height, width), steps) of
    each level, see `levels`. tolerance: a level ends early if the smallest loss of ten steps is not below that of the
    ten before by this share. L-BFGS returns to the last point and clears its history if a step doubles the loss.

    `on_step` is called after every iteration and may raise to stop. Raises DivergedError if the loss is not finite.
    """
    if optimizer not in ("lbfgs", "adam"):
        raise ValueError(f"optimizer must be lbfgs or adam, not {optimizer!r}")
    descend = _lbfgs if optimizer == "lbfgs" else _adam
    total, step = sum(steps for _, steps in schedule), 0
    pixels = start
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        for level, (size, steps) in enumerate(schedule):
            pixels = resized(pixels, size).clone(memory_format=torch.contiguous_format)
            losses: list[float] = []
            for loss, parts, changed in descend(objective_at(size, level), pixels, steps):
                pixels, step = changed, step + 1
                losses.append(loss)
                if not math.isfinite(loss):
                    raise DivergedError(f"the loss is {loss} at step {step}; smaller weights or adam may help")
                if on_step:
                    on_step(OptimizationStep(step, total, loss, parts, pixels))
                if _settled(losses, tolerance):
                    break
    if not torch.isfinite(pixels).all():  # the losses are those before each step
        raise DivergedError(f"the image is not finite after step {step}; smaller weights or adam may help")
    return Minimized(pixels.clamp(0, 1), loss, parts, step)


def levels(size: Sequence[int], num_steps: int, coarsest: int = COARSEST) -> list[tuple[Size, int]]:
    """Schedule from coarse to fine, ((height, width), steps): each level is sqrt(2) times larger than the one before.

    The steps are divided evenly; the finest level has `size` and the remaining steps. Levels without steps are omitted.
    """
    height, width = size
    count = 1 + max(0, int(2 * math.log2(max(size) / coarsest)))
    while count > 1 and (min(size) / 2 ** ((count - 1) / 2) < MIN_VGG_SIDE or num_steps < count):
        count -= 1
    sizes = [(round(height / 2 ** (k / 2)), round(width / 2 ** (k / 2))) for k in reversed(range(count))]
    part, rest = divmod(num_steps, count)
    return [(level, part + (rest if level == sizes[-1] else 0)) for level in sizes]


def resized(image: Tensor, size: Size) -> Tensor:
    """Resizes images (n, c, h, w) to (height, width) with an antialiased bicubic filter."""
    if tuple(image.shape[2:]) == size:
        return image
    return F.interpolate(image, size, mode="bicubic", antialias=True)


def _evaluated(objective: Objective, pixels: Tensor) -> tuple[float, dict[str, float], Tensor]:
    """Evaluates the loss, its parts and its gradient."""
    pixels = pixels.detach().requires_grad_()
    loss, parts = objective(pixels)
    (gradient,) = torch.autograd.grad(loss, pixels)
    return loss.item(), {name: part.item() for name, part in parts.items()}, gradient


def _lbfgs(objective: Objective, pixels: Tensor, steps: int) -> Iterator[tuple[float, dict[str, float], Tensor]]:
    """L-BFGS (Liu and Nocedal 1989) without line search: one evaluation per step.

    The initial inverse Hessian weights frequencies as in natural images (`_natural`) instead of equally, which reaches
    a loss in half the steps and recovers colors in inversions of deep layers.
    """
    smoothed = _natural(pixels)
    pairs: deque[tuple[Tensor, Tensor]] = deque(maxlen=LBFGS_HISTORY)
    first = FIRST_STEP
    before: tuple[float, Tensor, Tensor, Tensor] | None = None  # the last loss, point, gradient and step
    for _ in range(steps):
        loss, parts, gradient = _evaluated(objective, pixels)
        if before and loss > 2 * before[0]:
            first = float(before[3].square().mean().sqrt()) / 4
            _, pixels, gradient, _ = before
            pairs.clear()
        elif before:
            step, change = before[3], gradient - before[2]
            if _dot(step, change) > 1e-10 * change.square().sum():
                pairs.append((step, change))
        step = _two_loops(gradient, pairs, smoothed)
        if not pairs:
            length = step.square().mean().sqrt()
            step = step * (first / length.clamp_min(torch.finfo(length.dtype).tiny))  # no step where the gradient is 0
        before = loss if not before else min(loss, 2 * before[0]), pixels, gradient, step
        pixels = pixels + step
        yield loss, parts, pixels


def _two_loops(gradient: Tensor, pairs: Sequence[tuple[Tensor, Tensor]], initial: Callable[[Tensor], Tensor]) -> Tensor:
    """Descent direction: minus the approximated inverse Hessian times the gradient (Nocedal and Wright, alg. 7.4)."""
    q = -gradient
    curvatures, shares = [_dot(step, change) for step, change in pairs], []
    for (step, change), curvature in zip(reversed(pairs), reversed(curvatures), strict=True):
        shares.append(_dot(step, q) / curvature)
        q = q - shares[-1] * change
    q = initial(q)
    if pairs:
        change = pairs[-1][1]
        q = q * (curvatures[-1] / _dot(change, initial(change)))
    for (step, change), curvature, share in zip(pairs, curvatures, reversed(shares), strict=True):
        q = q + (share - _dot(change, q) / curvature) * step
    return q


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.dot(a.flatten(), b.flatten())


def _natural(pixels: Tensor) -> Callable[[Tensor], Tensor]:
    """Returns a function that scales an image's spectrum by 1 / f and its luminance by 4, as natural images vary.

    Field 1987, "Relations between the statistics of natural images and the response properties of cortical cells"; as a
    preconditioner Olah, Mordvintsev and Schubert 2017, "Feature visualization". Symmetric and positive definite.
    """
    height, width = pixels.shape[2:]
    down, across = torch.fft.fftfreq(height), torch.fft.rfftfreq(width)
    frequency = torch.hypot(down[:, None], across[None]).to(pixels.device)
    share = 1 / (max(height, width) * frequency).clamp_min(1)

    def smoothed(image: Tensor) -> Tensor:
        smooth: Tensor = torch.fft.irfft2(torch.fft.rfft2(image) * share, s=(height, width))
        return smooth + 3 * smooth.mean(1, keepdim=True)

    return smoothed


def _adam(objective: Objective, pixels: Tensor, steps: int) -> Iterator[tuple[float, dict[str, float], Tensor]]:
    """Adam (Kingma and Ba 2015, algorithm 1); yields the average of its last iterates (section 7.2)."""
    average = pixels
    first, second = torch.zeros_like(pixels), torch.zeros_like(pixels)
    for taken in range(1, steps + 1):
        loss, parts, gradient = _evaluated(objective, pixels)
        first = torch.lerp(gradient, first, ADAM_BETAS[0])
        second = torch.lerp(gradient.square(), second, ADAM_BETAS[1])
        unbiased = [m / (1 - beta**taken) for m, beta in zip((first, second), ADAM_BETAS, strict=True)]
        pixels = pixels - ADAM_LR * unbiased[0] / (unbiased[1].sqrt() + 1e-8)
        average = torch.lerp(average, pixels, 1 / min(taken, AVERAGED))
        yield loss, parts, average


def _settled(losses: Sequence[float], tolerance: float) -> bool:
    if len(losses) < 2 * PATIENCE or not tolerance:
        return False
    return min(losses[-PATIENCE:]) > (1 - tolerance) * min(losses[-2 * PATIENCE : -PATIENCE])
