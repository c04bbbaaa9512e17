"""Optimization of images by their VGG features: style transfer, texture synthesis and feature inversion.

Gatys, Ecker and Bethge 2016, "Image style transfer using convolutional neural networks"; 2015, "Texture synthesis using
convolutional neural networks"; Mahendran and Vedaldi 2015, "Understanding deep image representations by inverting
them". All three minimize one objective, with or without content and style terms. Departures: the losses are relative to
their targets (see `models.perceptual.losses`), and the optimization runs from coarse to fine (`minimize`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from models.perceptual.losses import StyleTarget, content_loss, positions, style_loss, style_targets, total_variation
from models.perceptual.vgg import VGG
from models.stylize.minimize import MIN_VGG_SIDE, Minimized, Objective, Size, levels, minimize, resized
from models.tensors import seeded

CONTENT_LAYERS = ("relu4_2",)
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
GRAM = {"gram": 1.0}
BYTES_A_PIXEL = {2: 1000, 4: 1600, 8: 3200}  # by the bytes of a feature value
RANGE_WEIGHT = 10.0  # of the squared distance of pixels from [0, 1], to which the result is clipped
COARSEST_NOISE = 64  # longer side of the coarsest level for images from noise, which have no faces to preserve


@dataclass(frozen=True)
class Style:
    """A style image (1, 3, h, w) in [0, 1], its weight, and optionally a mask (1, 1, h, w), 1 in the part to use."""

    image: Tensor
    weight: float = 1.0
    mask: Tensor | None = None


@dataclass(frozen=True)
class Region:
    """Styles, mixed by weight, for a part of the image: mask (1, 1, h, w), 1 inside, or None for the whole image."""

    styles: Sequence[Style]
    mask: Tensor | None = None


def transfer(
    vgg: VGG,
    content: Tensor,
    regions: Sequence[Region],
    *,
    content_weight: float = 1.0,
    style_weight: float = 20.0,
    tv_weight: float = 10.0,
    content_layers: Sequence[str] = CONTENT_LAYERS,
    style_layers: Sequence[str] = STYLE_LAYERS,
    style_losses: Mapping[str, float] = GRAM,
    style_scale: float = 1.0,
    num_steps: int = 200,
    init: Literal["content", "style", "noise"] | Tensor = "content",
    seed: int = 0,
    **options: Any,
) -> Minimized:
    """Transfers the styles of each region to `content`: Gatys et al. 2016, eq. 7, with a total-variation term.

    content: (1, 3, h, w) in [0, 1] at the size of the result, h and w at least 16. regions: weighted by area; pixels in
    no region stay the same (Gatys et al. 2017, section 4). Every style is scaled so that its longer side is
    `style_scale` times that of the result, which keeps the proportion of strokes at every size. style_losses: weights
    by names of `STYLE_LOSSES`. init: the initial image; "style" is the style of the largest weight, a tensor has the
    shape of content. seed: of `init="noise"` and of random directions. num_steps: the sum over all levels.

    options: those of `minimize`. The parts of the loss are content_loss, style_loss, tv_loss and range_loss. The same
    arguments give the same result on the same kind of device with the same number of threads. Raises ValueError for an
    invalid argument, and DivergedError.
    """
    _check(content, regions, num_steps)
    device = vgg.mean.device
    content = content.to(device)
    weights = {"content_loss": content_weight, "style_loss": style_weight, "tv_loss": tv_weight}
    masks = [region.mask for region in regions if region.mask is not None]
    cover = torch.cat(masks).amax(0, keepdim=True).to(device) if len(masks) == len(regions) else None

    def objective_at(size: Size, level: int) -> Objective:
        still = resized(content, size)
        covered = None if cover is None else _smaller(cover, size)
        content_targets = vgg(still, content_layers)
        scale = _scale(size, style_scale)
        read = [_read(vgg, region, size, scale, style_layers, style_losses, seed + level) for region in regions]
        objective = _objective(vgg, weights, content_targets, read)
        if covered is None:
            return objective
        return lambda pixels: objective(torch.lerp(still, pixels, covered))

    schedule = levels(content.shape[2:], num_steps)
    made = minimize(objective_at, _start(init, content, regions, seed).to(device), schedule, **options)
    if cover is None:
        return made
    return Minimized(torch.lerp(content, made.image, cover), made.loss, made.parts, made.steps)


def texture(
    vgg: VGG,
    styles: Sequence[Style],
    size: Size,
    *,
    tv_weight: float = 0.0,
    style_layers: Sequence[str] = STYLE_LAYERS,
    style_losses: Mapping[str, float] = GRAM,
    style_scale: float = 1.0,
    num_steps: int = 200,
    seed: int = 0,
    **options: Any,
) -> Minimized:
    """Synthesizes a texture of `size` (height, width) from noise: Gatys et al. 2015, eq. 5.

    A style keeps its size, or is reduced to that of the result if it is larger, and is then scaled by `style_scale`.
    options: those of `minimize`. Raises ValueError for an invalid argument, and DivergedError.
    """
    noise = _noise(size, seed)
    _check(noise, [Region(styles)], num_steps)
    weights = {"style_loss": 1.0, "tv_loss": tv_weight}

    def scale_at(level: Size) -> Callable[[Tensor], float]:
        return lambda image: style_scale * min(1.0, max(size) / max(image.shape[2:])) * max(level) / max(size)

    def objective_at(level: Size, k: int) -> Objective:
        region = Region(styles)
        return _objective(
            vgg, weights, {}, [_read(vgg, region, level, scale_at(level), style_layers, style_losses, seed + k)]
        )

    schedule = levels(size, num_steps, COARSEST_NOISE)
    return minimize(objective_at, noise.to(vgg.mean.device), schedule, **options)


def invert(
    vgg: VGG,
    content: Tensor,
    layer: str,
    *,
    tv_weight: float = 0.1,
    num_steps: int = 200,
    seed: int = 0,
    **options: Any,
) -> Minimized:
    """Inverts features: an image, from noise, with the features of `content` at `layer` (Mahendran and Vedaldi 2015).

    Eq. 1 there. content: (1, 3, h, w) in [0, 1]. The parts of the loss are content_loss, which is the relative error of
    the features, tv_loss and range_loss. options: those of `minimize`. Raises ValueError for an invalid argument, and
    DivergedError.
    """
    _check(content, [], num_steps)
    content = content.to(vgg.mean.device)
    weights = {"content_loss": 1.0, "tv_loss": tv_weight}

    def objective_at(size: Size, level: int) -> Objective:
        return _objective(vgg, weights, vgg(resized(content, size), [layer]), [])

    size = content.shape[2], content.shape[3]
    noise = _noise(size, seed).to(content.device)
    return minimize(objective_at, noise, levels(size, num_steps, COARSEST_NOISE), **options)


def perceptual_loss(
    vgg: VGG,
    style: Tensor,
    size: int,
    *,
    content_weight: float = 1.0,
    style_weight: float = 20.0,
    tv_weight: float = 10.0,
) -> Callable[[Tensor, Tensor], tuple[Tensor, dict[str, Tensor]]]:
    """Returns the objective of `transfer` as a function of contents and images (n, 3, h, w), to train a network by.

    Johnson et al. 2016, section 3.2. The style (1, 3, h, w) is scaled to `size` pixels on its longer side. The function
    returns the loss, a mean over the images, and its parts.
    """
    weights = {"content_loss": content_weight, "style_loss": style_weight, "tv_loss": tv_weight}
    region = Region([Style(style)])
    read = _read(vgg, region, (size, size), _scale((size, size), 1.0), STYLE_LAYERS, GRAM, 0)

    def loss_of(contents: Tensor, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.no_grad():
            targets = vgg(contents, CONTENT_LAYERS)
        return _objective(vgg, weights, targets, [read])(images)

    return loss_of


def memory_needed(vgg: VGG, height: int, width: int, style_scale: float = 1.0) -> int:
    """Bytes that optimizing an image of this size needs, measured (`python -m bench.style`) and rounded up.

    A style needs half as much per pixel, because its features have no gradient; its size relative to the image is
    `style_scale`.
    """
    pixel = BYTES_A_PIXEL[vgg.compute_dtype.itemsize]
    return int(pixel * height * width * max(1.0, style_scale**2 / 2))


# --- the objective --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Read:
    """A region at one level: the style targets and positions by layer, and the share of the image's area."""

    targets: dict[str, list[StyleTarget]]
    places: dict[str, Tensor] | None
    area: float


def _objective(
    vgg: VGG, weights: Mapping[str, float], content: Mapping[str, Tensor], regions: Sequence[_Read]
) -> Objective:
    """Returns the objective: the weighted sum of content and style losses, total variation and range loss."""
    weights = {**weights, "range_loss": RANGE_WEIGHT}
    styled = {layer for region in regions for layer in region.targets}
    layers = tuple({*content, *styled})

    def objective(pixels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        distances: dict[str, list[Tensor]] = {"content_loss": [], "style_loss": []}
        for layer, features in vgg.in_turn(pixels, layers):
            if layer in content:
                distances["content_loss"].append(content_loss(features, content[layer]) / len(content))
            for region in regions if layer in styled else ():
                x = positions(features, region.places[layer] if region.places else None)
                distances["style_loss"].append(
                    region.area / len(styled) * style_loss({layer: x}, region.targets[layer])
                )
        parts = {name: torch.stack(values).sum() for name, values in distances.items() if values}
        parts["tv_loss"] = total_variation(pixels)
        parts["range_loss"] = (pixels - pixels.clamp(0, 1)).square().mean()
        loss = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        return loss, {name: part.detach() for name, part in parts.items()}

    return objective


def _read(
    vgg: VGG,
    region: Region,
    size: Size,
    scale_of: Callable[[Tensor], float],
    layers: Sequence[str],
    losses: Mapping[str, float],
    seed: int,
) -> _Read:
    """Computes the targets of a region for an image of `size`, with its styles scaled by `scale_of`."""
    device, weighted_features = vgg.mean.device, []
    for style in region.styles:
        scale, (height, width) = scale_of(style.image), style.image.shape[2:]
        scaled = max(MIN_VGG_SIDE, round(height * scale)), max(MIN_VGG_SIDE, round(width * scale))
        with torch.no_grad():
            features = vgg(resized(style.image.to(device), scaled), layers)
        places = None if style.mask is None else _places(style.mask.to(device), scaled, layers)
        weighted_features.append(
            ({layer: positions(x, places[layer] if places else None) for layer, x in features.items()}, style.weight)
        )
    targets: dict[str, list[StyleTarget]] = {}
    for target in style_targets(weighted_features, losses, seed):
        targets.setdefault(target.layer, []).append(target)
    if region.mask is None:
        return _Read(targets, None, 1.0)
    places = _places(_smaller(region.mask.to(device), size), size, layers)
    return _Read(targets, places, float(region.mask.mean()))


def _places(mask: Tensor, size: Size, layers: Sequence[str]) -> dict[str, Tensor]:
    """Positions of each layer, for an image of `size`, that are at least half inside the mask, or the best one."""
    halved = {layer: int(layer.removeprefix("relu")[0]) - 1 for layer in layers}  # once between two blocks
    shares = {layer: _smaller(mask, (size[0] >> k, size[1] >> k)).flatten() for layer, k in halved.items()}
    return {layer: (share >= min(0.5, float(share.max()))).nonzero()[:, 0] for layer, share in shares.items()}


def _smaller(mask: Tensor, size: Sequence[int]) -> Tensor:
    return F.adaptive_avg_pool2d(mask, (size[0], size[1]))


def _scale(size: Size, style_scale: float) -> Callable[[Tensor], float]:
    return lambda image: style_scale * max(size) / max(image.shape[2:])


def _start(init: str | Tensor, content: Tensor, regions: Sequence[Region], seed: int) -> Tensor:
    if isinstance(init, Tensor):
        return init
    if init == "content":
        return content
    if init == "noise":
        return _noise(content.shape[2:], seed)
    if init == "style":
        styles = [style for region in regions for style in region.styles]
        return _covering(max(styles, key=lambda style: style.weight).image, content.shape[2:])
    raise ValueError(f"init must be content, style, noise or an image, not {init!r}")


def _noise(size: Sequence[int], seed: int) -> Tensor:
    """Gray with a tenth of white noise: stronger noise remains visible where the network is insensitive to it."""
    return 0.45 + 0.1 * torch.rand(1, 3, *size, generator=seeded(seed))


def _covering(image: Tensor, size: Sequence[int]) -> Tensor:
    """Scales an image to cover `size`, keeping its aspect ratio, and crops the center."""
    height, width = image.shape[2:]
    scale = max(size[0] / height, size[1] / width)
    scaled = resized(image, (max(size[0], round(height * scale)), max(size[1], round(width * scale))))
    top, left = (scaled.shape[2] - size[0]) // 2, (scaled.shape[3] - size[1]) // 2
    return scaled[:, :, top : top + size[0], left : left + size[1]]


def _check(content: Tensor, regions: Sequence[Region], num_steps: int) -> None:
    if content.dim() != 4 or content.shape[:2] != (1, 3) or min(content.shape[2:]) < MIN_VGG_SIDE:
        shape = tuple(content.shape)
        raise ValueError(f"content must be (1, 3, h, w) with sides of at least {MIN_VGG_SIDE}, not {shape}")
    for region in regions:
        if not region.styles or any(s.image.shape[:2] != (1, 3) or not s.weight > 0 for s in region.styles):
            raise ValueError("a region must have one or more styles: images (1, 3, h, w) with weights above 0")
        for mask, of in [(region.mask, content), *((style.mask, style.image) for style in region.styles)]:
            if mask is not None and (mask.shape != (1, 1, *of.shape[2:]) or not mask.max() >= 0.5):
                raise ValueError(f"a mask must be (1, 1, {of.shape[2]}, {of.shape[3]}) with values of at least 0.5")
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, not {num_steps}")
