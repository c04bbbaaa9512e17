"""Runs style transfers by diffusion: new pictures, denoised towards a style."""

from collections.abc import Callable, Sequence
from importlib.metadata import version

import numpy as np
import torch
from torch import Tensor
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
from models.diffusion.text_to_image import TextToImageModel
from models.diffusion.unconditional import Ddpm, generators_of
from models.grids import labeled_grid, sheet
from models.perceptual.losses import StyleTarget, positions, style_loss, style_targets
from models.perceptual.vgg import VGG
from models.tensors import autocast, to_tensor
from worker.run import JobResult, OutputImage, Pixels, Task
from worker.runners.fast import blended
from worker.runners.images import center_crop, fit
from worker.runners.loaded import revision_of
from worker.runners.network import Network, load_network, loaded_vgg, pixels
from worker.runners.unfamiliar import warn_of_images, warn_of_prompt

VGG_ID = "vgg16"  # the one that is on every machine; a guided step wants no deeper layers
LEAST_SIDE = 64  # pixels a side in which the network still sees something; smaller pictures are enlarged for it


def run_style_diffusion(task: Task[DiffusionTransfer]) -> JobResult:
    """The pictures of each scale of guidance, and their style losses; raises `AtelierError` where weights lack."""
    params = task.params
    network = load_network(task, params.model)
    vgg = loaded_vgg(task, VGG_ID)
    task.notes["device"] = str(network.device)
    side = int(network.card.architecture["image_size"])
    seeds = seeds_from(task.seed, params.num_images_per_prompt)
    targets = _targets(vgg, [(task.read_image(name), weight) for name, weight in blended(params.style)], side, params)

    def loss(pictures: Tensor) -> Tensor:
        features = vgg(_seen(pictures), params.style_layers)
        return style_loss({layer: positions(found) for layer, found in features.items()}, targets) * len(pictures)

    warn_of_prompt(task, network, "prompt", params.prompt or "", weighted=False)
    start = None
    if params.content:
        center = center_crop(task.read_image(params.content), side, side)[None]
        warn_of_images(task, network, "content", center)
        start = to_tensor(center, network.device).expand(len(seeds), -1, -1, -1)
        start = start[:, : network.card.architecture.get("channels", 3)]
    columns, losses = [], []
    for place in range(len(params.scales)):
        made = _made(task, network, params, loss, seeds, place, start)
        columns.append(pixels(made))
        with torch.no_grad():
            losses.append([round(float(loss(picture[None])), 5) for picture in made])
    rows = np.stack(columns, axis=1)  # (seeds, scales, h, w, 3)
    pictures = [OutputImage(row[k], seed=seed) for row, seed in zip(rows, seeds, strict=True) for k in range(len(row))]
    if len(pictures) > 1:
        titles = [f"scale {scale:g}" for scale in params.scales]
        pictures.append(OutputImage(labeled_grid(rows, [f"seed {seed}" for seed in seeds], titles), "grid"))
    metrics = {"style_loss": np.transpose(losses).tolist()}  # as the grid: a row each seed, a column each scale
    used = {network.card.id: network.revision, VGG_ID: revision_of(VGG_ID)}
    return JobResult(pictures, used, {name: version(name) for name in ("torch", "diffusers")}, metrics)


def _made(
    task: Task,
    network: Network,
    params: DiffusionTransfer,
    loss: Callable[[Tensor], Tensor],
    seeds: Sequence[int],
    place: int,
    start: Tensor | None,
) -> Tensor:
    """The pictures of the scale at `place`, (n, channels, h, w) in [0, 1]."""
    n_steps = params.num_inference_steps
    if start is not None:
        n_steps = min(int(n_steps * (params.strength or 1)), n_steps)

    def on_step(taken: GuidedStep) -> None:
        done, total = place * n_steps + taken.step, len(params.scales) * n_steps
        task.report_progress(done, total, "denoising", lambda: sheet(pixels(taken.pred_original_sample)))

    with autocast(network.device):
        return style_guided(
            _denoiser(network, params, seeds, told=start is None),
            loss,
            seeds=seeds,
            scale=torch.full((len(seeds),), params.scales[place], device=network.device),
            num_inference_steps=params.num_inference_steps,
            guided_from=params.guided_from,
            guided_to=params.guided_to,
            start=start,
            strength=params.strength or 1.0,
            on_step=on_step,
        )


def _denoiser(network: Network, params: DiffusionTransfer, seeds: Sequence[int], *, told: bool) -> Denoiser:
    """told: whether a model without prompts is told the attributes of each seed, which are not those of a content."""
    side = int(network.card.architecture["image_size"])
    if isinstance(network.module, Ddpm):
        _, attributes = network.module.draw(generators_of(seeds))
        return unconditional_denoiser(
            network.module, attributes.to(network.device) if told and attributes is not None else None
        )
    assert isinstance(network.module, TextToImageModel)
    return prompted_denoiser(
        network.module,
        [params.prompt or ""] * len(seeds),
        width=side,
        height=side,
        guidance_scale=params.guidance_scale or 0.0,
    )


def _targets(
    vgg: VGG, styles: Sequence[tuple[Pixels, float]], side: int, params: DiffusionTransfer
) -> list[StyleTarget]:
    """What is wanted of the pictures, at their size."""
    device = vgg.mean.device
    found = []
    with torch.no_grad():
        for picture, weight in styles:
            features = vgg(to_tensor(fit(picture, max(side, LEAST_SIDE))[None], device), params.style_layers)
            found.append(({layer: positions(value) for layer, value in features.items()}, weight))
    return style_targets(found, dict(params.style_losses.items()))


def _seen(pictures: Tensor) -> Tensor:
    """Pictures as the feature network sees them: in colour, and large enough."""
    colour = pictures.expand(-1, 3, -1, -1)
    larger = LEAST_SIDE / colour.shape[-1]
    return F.interpolate(colour, scale_factor=larger, mode="bilinear") if larger > 1 else colour
