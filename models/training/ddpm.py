"""Trains a diffusion model without prompts: `python -m models.training.ddpm --data digits --id ddpm-digits`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.build import build
from models.catalogue import Card
from models.data.dataset import Dataset
from models.diffusion.unconditional import MAX_ATTRIBUTE_ROWS, Ddpm, generators_of, make_scheduler, pack_attributes
from models.diffusion.unconditional import sample as denoise
from models.errors import DataError
from models.tensors import autocast, expect_class, on_device
from models.training.autoencoder import encoded, found_kl
from models.training.denoising import noised
from models.training.recipe import Recipe, Trained, architecture_of, command
from models.training.run import Run, Schedule, averaged

DROPPED_SHARE = 0.1  # share of images trained without their attributes, for classifier-free guidance


@dataclass(frozen=True)
class DdpmSettings:
    """Hyperparameters of a diffusion model."""

    autoencoder: str = field(
        default="", metadata={"help": "folder of an autoencoder's training; trains in pixel space when absent"}
    )
    attributes: tuple[str, ...] = field(
        default=(), metadata={"help": "attributes of the set that the model is conditioned on"}
    )
    block_out_channels: tuple[int, ...] = field(
        default=(32, 64, 64), metadata={"help": "channels of each level of the UNet"}
    )
    layers_per_block: int = field(default=1, metadata={"help": "residual blocks of each level"})
    patch_size: int = field(default=2, metadata={"help": "side of the blocks of pixels or latents the UNet works on"})
    learning_rate: float = field(default=1e-3, metadata={"help": "of AdamW, falling to 0 along a cosine"})
    timestep_location: float | None = field(
        default=None, metadata={"help": "location of logit-normal timesteps; uniform when absent"}
    )
    ema_decay: float = field(default=0.998, metadata={"help": "of the moving average of the weights, which is stored"})


def train_ddpm(dataset: Dataset, settings: DdpmSettings, run: Run) -> Trained:
    """Trains to predict v at random timesteps (Ho et al. 2020, algorithm 1; target of Salimans and Ho 2022)."""
    images = torch.from_numpy(dataset.images).permute(0, 3, 1, 2).to(run.device)
    torch.manual_seed(run.schedule.seed)
    before: dict[str, Any] = {}
    if run.start:
        model, architecture = _started(settings, images, *run.start)
    else:
        model, architecture, before = _untrained(settings, images, run)
    attributes = known_attributes(dataset, model.attributes).to(run.device)
    model = on_device(model, run.device)
    clean = encoded(model.vae, images) if model.vae else images  # which are constant
    average, kept = averaged(model, settings.ema_decay)
    optimizer = torch.optim.AdamW(model.unet.parameters(), lr=settings.learning_rate, weight_decay=0.0)
    scheduler = make_scheduler("ddpm")
    start = model.draw(generators_of(range(16)))[0].to(run.device)
    sampled_attributes = attributes[:16] if model.attributes else None

    def sample() -> Tensor:
        with autocast(run.device):
            return denoise(kept, start, sampled_attributes, num_inference_steps=25)

    for _ in run.steps(sample, model=model, average=average, optimizer=optimizer):
        run.set_learning_rate(optimizer, settings.learning_rate)
        real, has = run.batch(clean, attributes)
        x = real.float() if model.vae else real.float() / 127.5 - 1
        noisy, timesteps, velocity = noised(x, scheduler, settings.timestep_location)
        shown = has * (torch.rand(len(has), 1, device=has.device) >= DROPPED_SHARE) if model.attributes else None
        with autocast(run.device):
            predicted = model(noisy, timesteps, shown)
        loss = F.mse_loss(predicted, velocity)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.unet.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(model)
        run.log(v_loss=loss)
    state = dict(kept.state_dict())
    if model.attributes:
        rows = torch.randint(
            len(attributes), (MAX_ATTRIBUTE_ROWS,), generator=torch.Generator().manual_seed(run.schedule.seed)
        )
        state["rows"] = pack_attributes(attributes.cpu()[rows])
    return Trained(architecture, state, before)


def known_attributes(dataset: Dataset, names: Sequence[str]) -> Tensor:
    """Attributes that a model is conditioned on, (n, k) of -1 and 1; raises DataError for one that the set lacks."""
    has = np.array([dataset.attribute(name) for name in names]).reshape(len(names), len(dataset))
    return torch.from_numpy(has.T).float() * 2 - 1


def _started(settings: DdpmSettings, images: Tensor, earlier: nn.Module, card: Card) -> tuple[Ddpm, dict[str, Any]]:
    """Returns the model of an earlier training on images of this size, and its architecture; raises DataError."""
    if not isinstance(earlier, Ddpm):
        raise DataError(f"start: {card.id} is not a diffusion model without prompts")
    if images.shape[1:] != (card.architecture["channels"], *[card.architecture["image_size"]] * 2):
        raise DataError(f"start: {card.id} has images of another size or kind than {tuple(images.shape)}")
    if earlier.attributes and settings.attributes and earlier.attributes != settings.attributes:
        raise DataError(f"start: {card.id} is conditioned on other attributes: {', '.join(earlier.attributes)}")
    architecture = {**card.architecture, **({"attributes": list(settings.attributes)} if settings.attributes else {})}
    model = expect_class(build(architecture), Ddpm)
    model.load_state_dict({**model.state_dict(), **earlier.state_dict()})  # the weights of new attributes stay 0
    if model.vae:
        model.vae.requires_grad_(False)
    return model, architecture


def _untrained(settings: DdpmSettings, images: Tensor, run: Run) -> tuple[Ddpm, dict[str, Any], dict[str, Any]]:
    """Returns an untrained model for these images, its architecture, and how its autoencoder was trained."""
    architecture: dict[str, Any] = {
        "name": "ddpm",
        "image_size": images.shape[-1],
        "channels": images.shape[1],
        "block_out_channels": list(settings.block_out_channels),
        "layers_per_block": settings.layers_per_block,
        "patch_size": settings.patch_size,
    }
    if settings.attributes:
        architecture["attributes"] = list(settings.attributes)
    vae, before = None, {}
    if settings.autoencoder:
        vae, card = found_kl(run, settings.autoencoder)
        architecture["autoencoder"], before["autoencoder"] = architecture_of(card), card.training
    model = expect_class(build(architecture), Ddpm)
    if vae:
        model.vae.load_state_dict(vae.state_dict())
        model.vae.requires_grad_(False)
    return model, architecture, before


RECIPE = Recipe(
    name="ddpm",
    task="generation",
    title="Denoising diffusion model",
    settings=DdpmSettings,
    schedule=Schedule(num_steps=8000, batch_size=64),
    train=train_ddpm,
)

if __name__ == "__main__":
    raise SystemExit(command(RECIPE))
