"""Runs style transfers by diffusion: each denoising step is guided towards the style, then strokes are painted."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jobs.requests.base import filled, seeds_from
from jobs.requests.style_diffusion import DiffusionTransfer
from models.diffusion.style_guidance import (
    Denoiser,
    GuidedStep,
    paint_strokes,
    prompted_denoiser,
    style_guided,
    unconditional_denoiser,
)
from models.diffusion.text_to_image import TextToImageModel, cut_off
from models.diffusion.unconditional import Ddpm, generators_of
from models.grids import labeled_grid, sheet
from models.perceptual.losses import StyleTarget, positions, style_loss, style_targets
from models.perceptual.vgg import VGG
from models.seeds import folded
from models.stylize.gatys import Style
from models.stylize.minimize import OptimizationStep
from models.tensors import autocast, expect_class, to_tensor
from models.upscale.real_esrgan import Upscaler
from worker.libraries import versions_of
from worker.run import JobResult, OutputImage, Pixels, Task
from worker.runners.fast import blended, has_vector, style_image
from worker.runners.images import center_crop, fit
from worker.runners.loaded import revision_of
from worker.runners.network import Network, load_network, loaded_vgg, pixels
from worker.runners.unfamiliar import warn_of_images, warn_of_prompt
from worker.runners.upscale import upscaled

MIN_STROKES_SIDE = 256  # of a model whose guided images show strokes by themselves
VGG_ID = "vgg16"  # installed on every machine; guidance needs no deeper layers
MIN_VGG_SIDE = 64  # smaller images are enlarged for the feature network, which has too few features of them


def run_style_diffusion(task: Task[DiffusionTransfer]) -> JobResult:
    """The images of each guidance scale, their grid and their style losses."""
    params = task.params
    network = load_network(task, params.model, nn.Module)
    vgg = loaded_vgg(task, VGG_ID)
    task.notes["device"] = str(network.device)
    side = int(network.card.architecture["image_size"])
    seeds = seeds_from(task.seed, params.num_images_per_prompt)
    styles = [(style_image(task, style), weight) for style, weight in blended(params.style)]
    prompt, module = params.prompt or "", network.module
    cut = cut_off(module, prompt, chunked=False) if isinstance(module, TextToImageModel) else ""
    warn_of_prompt(task, network, "prompt", prompt, weighted=False, cut=cut)
    start = None
    if params.content:
        center = center_crop(task.read_image(params.content), side, side)[None]
        warn_of_images(task, network, "content", center)
        start = to_tensor(center, network.device).expand(len(seeds), -1, -1, -1)
        start = start[:, : network.card.architecture.get("channels", 3)]
    loss = _loss(vgg, styles, side, params)
    columns = [
        pixels(_denoise(task, network, params, loss, seeds, index, start)) for index in range(len(params.scales))
    ]
    rows = np.stack(columns, axis=1)  # (seeds, scales, h, w, 3)
    used = {network.card.id: network.revision, VGG_ID: revision_of(VGG_ID)}
    if params.scale_of_images > 1:
        upscaler = load_network(task, filled(params.upscaler), Upscaler)
        rows = _larger(task, network, upscaler, rows)
        used[upscaler.card.id] = upscaler.revision
    if _has_room(network, params):
        rows = _painted(task, vgg, styles, rows)
    outputs = [OutputImage(row[k], seed=seed) for row, seed in zip(rows, seeds, strict=True) for k in range(len(row))]
    if len(outputs) > 1:
        titles = [f"scale {scale:g}" for scale in params.scales]
        outputs.append(OutputImage(labeled_grid(rows, [f"seed {seed}" for seed in seeds], titles), "grid"))
    metrics: dict[str, Any] = {"style_loss": losses_of(vgg, styles, rows, params)}
    metrics |= {"prompt_cut": cut} if cut else {}
    if has_vector(params.style):
        used["fast-arbitrary"] = revision_of("fast-arbitrary")
    return JobResult(outputs, used, versions_of("torch", "diffusers"), metrics)


def _denoise(
    task: Task,
    network: Network,
    params: DiffusionTransfer,
    loss: Callable[[Tensor], Tensor],
    seeds: Sequence[int],
    index: int,
    start: Tensor | None,
) -> Tensor:
    """The images of the guidance scale with this index, (n, channels, h, w) in [0, 1]."""
    n_steps = params.num_inference_steps
    if start is not None:
        n_steps = min(int(n_steps * (params.strength or 1)), n_steps)

    def on_step(step: GuidedStep) -> None:
        done, total = index * n_steps + step.step, _phases(network, params) * len(params.scales) * n_steps
        task.report_progress(done, total, "denoising", lambda: sheet(pixels(step.pred_original_sample)))

    with autocast(network.device):
        return style_guided(
            _denoiser(network, params, seeds, conditioned=start is None),
            loss,
            seeds=seeds,
            scale=torch.full((len(seeds),), params.scales[index], device=network.device),
            num_inference_steps=params.num_inference_steps,
            guided_from=params.guided_from,
            guided_to=params.guided_to,
            start=start,
            strength=params.strength or 1.0,
            on_step=on_step,
        )


def _denoiser(network: Network, params: DiffusionTransfer, seeds: Sequence[int], *, conditioned: bool) -> Denoiser:
    """conditioned: whether a model without prompts is conditioned on the attributes of each seed, not of a content."""
    side = int(network.card.architecture["image_size"])
    if isinstance(network.module, Ddpm):
        _, attributes = network.module.draw(generators_of(seeds))
        return unconditional_denoiser(
            network.module, attributes.to(network.device) if conditioned and attributes is not None else None
        )
    return prompted_denoiser(
        expect_class(network.module, TextToImageModel),
        [params.prompt or ""] * len(seeds),
        width=side,
        height=side,
        guidance_scale=params.guidance_scale or 0.0,
    )


def _loss(
    vgg: VGG, styles: Sequence[tuple[Pixels, float]], side: int, params: DiffusionTransfer
) -> Callable[[Tensor], Tensor]:
    """The style loss of images of `side` pixels, summed over them; the styles are compared at the same size."""
    targets = _targets(vgg, styles, side, params)

    def loss(images: Tensor) -> Tensor:
        features = vgg(_vgg_input(images), params.style_layers)
        return style_loss({layer: positions(maps) for layer, maps in features.items()}, targets) * len(images)

    return loss


def losses_of(
    vgg: VGG, styles: Sequence[tuple[Pixels, float]], rows: Pixels, params: DiffusionTransfer
) -> list[list[float]]:
    """The style losses of finished images (seeds, scales, h, w, 3), at their size."""
    loss, device = _loss(vgg, styles, rows.shape[3], params), vgg.mean.device
    with torch.no_grad():
        return [[round(float(loss(to_tensor(image[None], device))), 5) for image in row] for row in rows]


def _larger(task: Task[DiffusionTransfer], network: Network, upscaler: Network[Upscaler], rows: Pixels) -> Pixels:
    """The images (seeds, scales, h, w, 3), upscaled."""
    phases = _phases(network, task.params)

    def report(done: int, total: int) -> None:
        task.report_progress(total + done, phases * total, "upscaling")

    images = list(rows.reshape(-1, *rows.shape[2:]))
    larger = np.stack(upscaled(upscaler, images, task.params.scale_of_images, report))
    return larger.reshape(*rows.shape[:2], *larger.shape[1:])


def _phases(network: Network, params: DiffusionTransfer) -> int:
    """Denoising, upscaling and painting, each of which is an equal part of the progress."""
    return 1 + (params.scale_of_images > 1) + _has_room(network, params)


def _has_room(network: Network, params: DiffusionTransfer) -> bool:
    """Whether strokes are painted: with guidance, on colors, enlarged, of a model too small to draw strokes itself."""
    architecture = network.card.architecture
    in_color = architecture.get("channels", 3) == 3
    small = int(architecture["image_size"]) < MIN_STROKES_SIDE
    return params.scale_of_images > 1 and in_color and small and any(params.scales)


def _painted(task: Task[DiffusionTransfer], vgg: VGG, styles: Sequence[tuple[Pixels, float]], rows: Pixels) -> Pixels:
    """The images (seeds, scales, h, w, 3) with strokes; those without guidance stay as they are."""
    params, device = task.params, vgg.mean.device
    tensors = [Style(to_tensor(image[None], device), weight) for image, weight in styles]
    guided = [(k, index) for k in range(len(rows)) for index, scale in enumerate(params.scales) if scale]
    made = rows.copy()
    for done, (k, index) in enumerate(guided):

        def on_step(step: OptimizationStep, done: int = done) -> None:
            steps, total = done * step.total + step.step, len(guided) * step.total
            task.report_progress(2 * total + steps, 3 * total, "painting", lambda: pixels(step.image())[0])

        painted = paint_strokes(
            vgg,
            to_tensor(rows[k, index][None], device),
            tensors,
            params.scales[index],
            style_layers=params.style_layers,
            style_losses=dict(params.style_losses.items()),
            seed=folded(task.seed),
            on_step=on_step,
        )
        made[k, index] = pixels(painted)[0]
    return made


def _targets(
    vgg: VGG, styles: Sequence[tuple[Pixels, float]], side: int, params: DiffusionTransfer
) -> list[StyleTarget]:
    """The style losses' targets: features of the styles at the size of the images."""
    device = vgg.mean.device
    weighted_features = []
    with torch.no_grad():
        for image, weight in styles:
            features = vgg(to_tensor(fit(image, max(side, MIN_VGG_SIDE))[None], device), params.style_layers)
            weighted_features.append(({layer: positions(maps) for layer, maps in features.items()}, weight))
    return style_targets(weighted_features, dict(params.style_losses.items()))


def _vgg_input(images: Tensor) -> Tensor:
    """Images (n, channels, h, w) in three channels, enlarged to at least MIN_VGG_SIDE."""
    rgb = images.expand(-1, 3, -1, -1)
    factor = MIN_VGG_SIDE / rgb.shape[-1]
    return F.interpolate(rgb, scale_factor=factor, mode="bilinear") if factor > 1 else rgb
