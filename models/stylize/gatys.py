"""Style transfer by optimisation: the pixels are changed until their VGG statistics match those asked for.

Gatys, Ecker and Bethge 2016, "Image style transfer using convolutional neural networks". Departures: the losses are
relative to their targets (see `models.perceptual.losses`), and the optimisation runs from coarse to fine (Gatys et al.
2017, "Controlling perceptual factors in neural style transfer", section 6): a network sees a larger share of a small
picture at once, so large strokes form there, at a fraction of the cost.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import LBFGS, Adam, Optimizer

from models.perceptual.losses import content_loss, gram_matrix, style_loss, total_variation
from models.perceptual.vgg import VGG

CONTENT_LAYERS = ("relu4_2",)
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
COARSEST = 192  # longer side in pixels below which no coarser level is made: faces would dissolve
MIN_SIDE = 16  # block 5 sees a sixteenth of the picture, and needs a pixel to see
LBFGS_HISTORY = 10
ADAM_LR = 0.02

Style = tuple[Tensor, float]
Size = tuple[int, int]


class DivergedError(ArithmeticError):
    """The loss became infinite or not a number; the message says at which step and what to change."""


@dataclass(frozen=True)
class Losses:
    """The loss that is minimised, and its three parts before their weights."""

    loss: float
    content_loss: float
    style_loss: float
    tv_loss: float


@dataclass(frozen=True)
class Step(Losses):
    """Where an optimisation stands after `step` of `total` iterations; the losses are those it set out from."""

    step: int
    total: int
    pixels: Tensor

    def image(self) -> Tensor:
        """A copy of the picture as it now is: (1, 3, h, w) in [0, 1], smaller than the result at coarse levels.

        The optimiser goes on changing `pixels`, so call this before the callback returns.
        """
        return self.pixels.detach().clamp(0, 1)


@dataclass(frozen=True)
class Transfer(Losses):
    """A finished transfer: the picture, (1, 3, h, w) in [0, 1], and the losses of its last step."""

    image: Tensor


@dataclass(frozen=True)
class _Objective:
    """Eq. 7 at one level: what a picture is compared with. Called with pixels, it gives the loss and its parts."""

    vgg: VGG
    content: dict[str, Tensor]
    grams: dict[str, Tensor]
    weights: Tensor  # (3,): content, style, total variation

    def __call__(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        features = self.vgg(pixels, tuple({**self.content, **self.grams}))
        content = torch.stack([content_loss(features[layer], target) for layer, target in self.content.items()]).mean()
        parts = torch.stack([content, style_loss(features, self.grams), total_variation(pixels)])
        return self.weights @ parts, parts.detach()


def transfer(
    vgg: VGG,
    content: Tensor,
    styles: Sequence[Style],
    *,
    content_weight: float = 1.0,
    style_weight: float = 20.0,
    tv_weight: float = 10.0,
    content_layers: Sequence[str] = CONTENT_LAYERS,
    style_layers: Sequence[str] = STYLE_LAYERS,
    num_steps: int = 200,
    optimizer: Literal["lbfgs", "adam"] = "lbfgs",
    init: Literal["content", "style", "noise"] = "content",
    seed: int = 0,
    on_step: Callable[[Step], None] | None = None,
) -> Transfer:
    """Paints `content` in the style of `styles`: Gatys et al. 2016, eq. 7, with a total-variation term.

    content: (1, 3, h, w) in [0, 1] at the size of the result, h and w at least 16. styles: pictures (1, 3, h', w') of
    any size, each with its share; every one is scaled until its longer side is the result's, so that strokes keep their
    proportion at every size, and the targets are the mean of their Gram matrices. `seed` matters for `init="noise"`;
    "style" starts from the style of the largest share. `num_steps` is the sum over all levels.

    `on_step` is called after every iteration and may raise to stop. Same arguments, same result, on one kind of device
    with one number of threads. Raises ValueError for a wrong argument and DivergedError when the loss is not finite.
    """
    _check(content, styles, num_steps)
    device = vgg.mean.device
    content, styles = content.to(device), [(picture.to(device), share) for picture, share in styles]
    weights = torch.tensor([content_weight, style_weight, tv_weight], device=device)
    pixels, step = _start(init, content, styles, seed), 0
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        for size, steps in levels(content.shape[2:], num_steps):
            content_targets = vgg(_resized(content, size), content_layers)
            objective = _Objective(vgg, content_targets, _style_targets(vgg, styles, size, style_layers), weights)
            pixels = _resized(pixels, size).clone(memory_format=torch.contiguous_format).requires_grad_()
            for losses in _iterate(objective, pixels, optimizer, steps):
                step += 1
                if not math.isfinite(losses.loss):
                    raise DivergedError(f"the loss is {losses.loss} at step {step}; smaller weights or adam may help")
                if on_step:
                    on_step(Step(**vars(losses), step=step, total=num_steps, pixels=pixels))
            pixels = pixels.detach()
    return Transfer(**vars(losses), image=pixels.clamp(0, 1))


def levels(size: Sequence[int], num_steps: int) -> list[tuple[Size, int]]:
    """From coarse to fine, ((height, width), steps): each level twice the last one, each with its part of the steps.

    The finest level has `size` and what an even division leaves over. Levels without a step are left out.
    """
    height, width = size
    count = 1 + max(0, int(math.log2(max(size) / COARSEST)))
    while count > 1 and (min(size) >> (count - 1) < MIN_SIDE or num_steps < count):
        count -= 1
    sizes = [(round(height / 2**k), round(width / 2**k)) for k in reversed(range(count))]
    part, rest = divmod(num_steps, count)
    return [(level, part + (rest if level == sizes[-1] else 0)) for level in sizes]


def _iterate(objective: _Objective, pixels: Tensor, name: str, steps: int) -> Iterator[Losses]:
    """Changes `pixels` step by step; each step costs one forward and one backward pass."""
    optimizer = _optimizer(name, pixels)
    parts = torch.empty(3)

    def closure() -> Tensor:
        nonlocal parts
        optimizer.zero_grad()
        loss, parts = objective(pixels)
        loss.backward()
        return loss

    for _ in range(steps):
        loss = cast(Tensor, optimizer.step(closure))  # type: ignore[arg-type]
        yield Losses(loss.item(), *parts.tolist())


def _optimizer(name: str, pixels: Tensor) -> Optimizer:
    if name == "adam":
        return Adam([pixels], lr=ADAM_LR)
    if name == "lbfgs":
        # One evaluation a step, without line search; its history lives on between the steps.
        return LBFGS([pixels], max_iter=1, history_size=LBFGS_HISTORY, tolerance_grad=0, tolerance_change=0)
    raise ValueError(f"optimizer must be lbfgs or adam, not {name!r}")


def _style_targets(vgg: VGG, styles: Sequence[Style], size: Size, layers: Sequence[str]) -> dict[str, Tensor]:
    """The mean Gram matrix of each layer, the styles weighted by their shares of the sum."""
    total = sum(share for _, share in styles)
    grams: dict[str, Tensor] = {}
    for picture, share in styles:
        height, width = picture.shape[2:]
        scale = max(size) / max(height, width)
        scaled = _resized(picture, (max(MIN_SIDE, round(height * scale)), max(MIN_SIDE, round(width * scale))))
        for layer, features in vgg(scaled, layers).items():
            grams[layer] = grams.get(layer, torch.zeros(())) + gram_matrix(features) * (share / total)
    return grams


def _start(init: str, content: Tensor, styles: Sequence[Style], seed: int) -> Tensor:
    if init == "content":
        return content
    if init == "noise":
        return torch.rand(content.shape, generator=torch.Generator().manual_seed(seed)).to(content.device)
    if init == "style":
        return _covering(max(styles, key=lambda style: style[1])[0], content.shape[2:])
    raise ValueError(f"init must be content, style or noise, not {init!r}")


def _covering(picture: Tensor, size: Sequence[int]) -> Tensor:
    """The middle of the picture, scaled so that it fills `size` without being stretched."""
    height, width = picture.shape[2:]
    scale = max(size[0] / height, size[1] / width)
    scaled = _resized(picture, (max(size[0], round(height * scale)), max(size[1], round(width * scale))))
    top, left = (scaled.shape[2] - size[0]) // 2, (scaled.shape[3] - size[1]) // 2
    return scaled[:, :, top : top + size[0], left : left + size[1]]


def _resized(image: Tensor, size: Size) -> Tensor:
    if tuple(image.shape[2:]) == size:
        return image
    return F.interpolate(image, size, mode="bicubic", antialias=True)


def _check(content: Tensor, styles: Sequence[Style], num_steps: int) -> None:
    if content.dim() != 4 or content.shape[:2] != (1, 3) or min(content.shape[2:]) < MIN_SIDE:
        raise ValueError(f"content must be (1, 3, h, w) with sides of at least {MIN_SIDE}, not {tuple(content.shape)}")
    if not styles or any(picture.shape[:2] != (1, 3) or not share > 0 for picture, share in styles):
        raise ValueError("styles must be one or more pairs of a picture (1, 3, h, w) and a share above 0")
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, not {num_steps}")
