"""Trains an unconditional diffusion model: `python -m models.training.ddpm --data digits --id ddpm-digits`."""

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.build import build
from models.data.dataset import DataError, Dataset
from models.diffusion.unconditional import Ddpm, make_scheduler
from models.diffusion.unconditional import sample as denoise
from models.tensors import autocast, on_device
from models.training.autoencoder import encoded
from models.training.denoising import noised
from models.training.recipe import Recipe, Trained, architecture_of, command, frozen_model
from models.training.run import Run, Schedule, averaged


@dataclass(frozen=True)
class DdpmSettings:
    """What a diffusion model is trained with."""

    autoencoder: str = field(default="", metadata={"help": "the folder of an autoencoder's training; none: of pixels"})
    start: str = field(default="", metadata={"help": "folder of an earlier training, which has its own shape"})
    block_out_channels: tuple[int, ...] = field(default=(32, 64, 64), metadata={"help": "of the UNet, level by level"})
    layers_per_block: int = field(default=1, metadata={"help": "residual blocks of each level"})
    patch_size: int = field(default=2, metadata={"help": "side of the blocks of pixels or latents the UNet works on"})
    learning_rate: float = field(default=1e-3, metadata={"help": "of AdamW, falling to 0 along a cosine"})
    timestep_location: float | None = field(
        default=None, metadata={"help": "of logit-normal times; none: uniform ones"}
    )
    ema_decay: float = field(default=0.998, metadata={"help": "of the average, which is what is kept"})


def train_ddpm(dataset: Dataset, settings: DdpmSettings, run: Run) -> Trained:
    """Predict v at a drawn time (Ho et al. 2020, algorithm 1, with the target of Salimans and Ho 2022)."""
    images = torch.from_numpy(dataset.images).permute(0, 3, 1, 2).to(run.device)
    torch.manual_seed(run.schedule.seed)
    made = _started(settings.start, images) if settings.start else _untrained(settings, images)
    model, architecture, before = made
    model = on_device(model, run.device)
    clean = encoded(model.vae, images) if model.vae else images  # which never change
    average, kept = averaged(model, settings.ema_decay)
    optimizer = torch.optim.AdamW(model.unet.parameters(), lr=settings.learning_rate, weight_decay=0.0)
    scheduler = make_scheduler("ddpm")
    start = model.noise(range(16)).to(run.device)

    def sample() -> Tensor:
        with autocast(run.device):
            return denoise(kept, start, num_inference_steps=25)

    for _ in run.steps(sample, model=model, average=average, optimizer=optimizer):
        run.set_learning_rate(optimizer, settings.learning_rate)
        (real,) = run.batch(clean)
        x = real.float() if model.vae else real.float() / 127.5 - 1
        noisy, timesteps, velocity = noised(x, scheduler, settings.timestep_location)
        with autocast(run.device):
            predicted = model(noisy, timesteps)
        loss = F.mse_loss(predicted, velocity)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.unet.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(model)
        run.log(v_loss=loss)
    return Trained(architecture, kept.state_dict(), before)


def _started(folder: str, images: Tensor) -> tuple[Ddpm, dict[str, Any], dict[str, Any]]:
    """The model of an earlier training on such pictures, its architecture, and how it was trained before."""
    model, card = frozen_model(folder)
    if not isinstance(model, Ddpm):
        raise DataError(f"{folder} is no unconditional diffusion model")
    if images.shape[1:] != (card.architecture["channels"], *[card.architecture["image_size"]] * 2):
        raise DataError(f"the model of {folder} has pictures of another size or kind than {tuple(images.shape)}")
    model.unet.requires_grad_(True)
    return model, card.architecture, {"start": card.training}


def _untrained(settings: DdpmSettings, images: Tensor) -> tuple[Ddpm, dict[str, Any], dict[str, Any]]:
    """A new model for such pictures, its architecture, and how its autoencoder was trained before."""
    architecture: dict[str, Any] = {
        "name": "ddpm",
        "image_size": images.shape[-1],
        "channels": images.shape[1],
        "block_out_channels": list(settings.block_out_channels),
        "layers_per_block": settings.layers_per_block,
        "patch_size": settings.patch_size,
    }
    vae, before = None, {}
    if settings.autoencoder:
        vae, card = frozen_model(settings.autoencoder)
        architecture["autoencoder"], before["autoencoder"] = architecture_of(card), card.training
    model = build(architecture)
    assert isinstance(model, Ddpm)
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
