"""Runs style transfers by diffusion: each denoising step is guided towards the style."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jobs.requests.base import seeds_from
from jobs.requests.style_diffusion import DiffusionTransfer
from models.diffusion.style_guidance import (
    Denoiser,
    GuidedStep,
    prompted_denoiser,
    style_guided,
    unconditional_denoiser,
)
from models.diffusion.text_to_image import TextToImageModel, cut_off
from models.diffusion.unconditional import Ddpm, generators_of
from models.grids import labeled_grid, sheet
from models.perceptual.losses import StyleTarget, positions, style_loss, style_targets
from models.perceptual.vgg import VGG
from models.tensors import autocast, expect_class, to_tensor
from worker.libraries import versions_of
from worker.run import JobResult, OutputImage, Pixels, Task
from worker.runners.fast import blended, has_vector, style_image
from worker.runners.images import center_crop, fit
from worker.runners.loaded import revision_of
from worker.runners.network import Network, load_network, loaded_vgg, pixels
from worker.runners.unfamiliar import warn_of_images, warn_of_prompt

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
    targets = _targets(
        vgg, [(style_image(task, style), weight) for style, weight in blended(params.style)], side, params
    )

    def loss(images: Tensor) -> Tensor:
        features = vgg(_vgg_input(images), params.style_layers)
        return style_loss({layer: positions(maps) for layer, maps in features.items()}, targets) * len(images)

    prompt, module = params.prompt or "", network.module
    cut = cut_off(module, prompt, chunked=False) if isinstance(module, TextToImageModel) else ""
    warn_of_prompt(task, network, "prompt", prompt, weighted=False, cut=cut)
    start = None
    if params.content:
        center = center_crop(task.read_image(params.content), side, side)[None]
        warn_of_images(task, network, "content", center)
        start = to_tensor(center, network.device).expand(len(seeds), -1, -1, -1)
        start = start[:, : network.card.architecture.get("channels", 3)]
    columns, losses = [], []
    for index in range(len(params.scales)):
        images = _denoise(task, network, params, loss, seeds, index, start)
        columns.append(pixels(images))
        with torch.no_grad():
            losses.append([round(float(loss(image[None])), 5) for image in images])
    rows = np.stack(columns, axis=1)  # (seeds, scales, h, w, 3)
    outputs = [OutputImage(row[k], seed=seed) for row, seed in zip(rows, seeds, strict=True) for k in range(len(row))]
    if len(outputs) > 1:
        titles = [f"scale {scale:g}" for scale in params.scales]
        outputs.append(OutputImage(labeled_grid(rows, [f"seed {seed}" for seed in seeds], titles), "grid"))
    metrics: dict[str, Any] = {"style_loss": np.transpose(losses).tolist()}  # (seeds, scales), as the grid
    metrics |= {"prompt_cut": cut} if cut else {}
    used = {network.card.id: network.revision, VGG_ID: revision_of(VGG_ID)}
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
        done, total = index * n_steps + step.step, len(params.scales) * n_steps
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
