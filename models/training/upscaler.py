"""Trains an upscaler by 4: `python -m models.training.upscaler --data avatars-256 --id upscaler-avatars`."""

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from torch import Tensor

from models.data.dataset import Dataset
from models.diffusion import embedding
from models.diffusion.embedding import Kandinsky
from models.diffusion.unconditional import Ddpm, make_scheduler
from models.errors import DataError
from models.tensors import autocast, on_device
from models.training.autoencoder import BATCH, decoded, image_losses
from models.training.ddpm import known_attributes
from models.training.recipe import Recipe, Trained, command, frozen_model, initial_model
from models.training.run import Run, Schedule, averaged
from models.upscale.real_esrgan import SCALE, SRVGGNetCompact

LEAST_SIGNAL = 0.8  # share of the variance at the noisiest timestep at which a model estimates


@dataclass(frozen=True)
class UpscalerSettings:
    """Hyperparameters of an upscaler."""

    num_feat: int = field(default=48, metadata={"help": "channels of its convolutions"})
    num_conv: int = field(default=12, metadata={"help": "convolutions between the first and the last"})
    crop_size: int = field(default=32, metadata={"help": "side of the parts of small images it learns from"})
    learning_rate: float = field(default=1e-3, metadata={"help": "of Adam, falling to 0 along a cosine"})
    noise: float = field(default=0.04, metadata={"help": "the largest standard deviation of noise on an image"})
    sharpness_weight: float = field(
        default=1.0, metadata={"help": "of the distance between the spreads of differences in blocks of 8 x 8 pixels"}
    )
    generators: tuple[str, ...] = field(
        default=(),
        metadata={"help": "folders or ids of diffusion models, whose estimates are upscaled too"},
    )
    ema_decay: float = field(default=0.998, metadata={"help": "of the moving average of the weights, which is stored"})


def train_upscaler(dataset: Dataset, settings: UpscalerSettings, run: Run) -> Trained:
    """Trains to restore images from their means over blocks of 4 x 4 pixels, with the losses of an autoencoder.

    With `generators`, the small images are also what these models make of them, so that it learns their errors. There
    is no adversarial loss: drawn images have no texture.
    """
    large = torch.from_numpy(dataset.images).permute(0, 3, 1, 2)
    if large.shape[1] != 3 or large.shape[2] < SCALE * settings.crop_size or large.shape[2] % SCALE:
        raise DataError(f"an upscaler needs images in color of a side of at least {SCALE * settings.crop_size} pixels")
    small = torch.cat(
        [F.avg_pool2d(part.to(run.device).float(), SCALE).round().byte().cpu() for part in large.split(BATCH)]
    )
    torch.manual_seed(run.schedule.seed)
    inputs = [small, *(column for folder in settings.generators for column in _made(folder, small, dataset, run))]
    architecture = {
        "name": "srvgg-net-compact",
        "num_feat": settings.num_feat,
        "num_conv": settings.num_conv,
        "channels": 3,
    }
    model = initial_model(SRVGGNetCompact, architecture, run)
    average, kept = averaged(model, settings.ema_decay)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)

    @torch.inference_mode()
    def sample() -> Tensor:
        shown = torch.stack([column[k] for k in range(4) for column in inputs]).to(run.device).float() / 255
        made: Tensor = kept(shown)
        return made

    for _ in run.steps(sample, model=model, average=average, optimizer=optimizer):
        run.set_learning_rate(optimizer, settings.learning_rate)
        real, *columns = run.batch(large, *inputs)
        given, real = _crops(torch.stack(columns), real, settings.crop_size)
        given, real = given.to(run.device) / 255, real.to(run.device) / 127.5 - 1
        spread = settings.noise * torch.rand(len(given), 1, 1, 1, device=run.device).square()
        with autocast(run.device):
            made = model(given + spread * torch.randn_like(given))
        losses = image_losses(made.float() * 2 - 1, real, sharpness_weight=settings.sharpness_weight)
        optimizer.zero_grad()
        losses["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(model)
        run.log(**losses)
    return Trained(architecture, kept.state_dict())


def _crops(columns: Tensor, real: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Cuts out a part of each image, of one of the columns (k, n, 3, h, w), and the same of `real` (n, 3, 4h, 4w)."""
    pieces, targets = [], []
    for k, image in enumerate(real):
        column = int(torch.randint(len(columns), ()))
        top, left = (int(torch.randint(side - size + 1, ())) for side in columns.shape[-2:])
        pieces.append(columns[column, k, :, top : top + size, left : left + size])
        rows, places = (slice(SCALE * start, SCALE * (start + size)) for start in (top, left))
        targets.append(image[:, rows, places])
    return torch.stack(pieces).float(), torch.stack(targets).float()


@torch.no_grad()
def _made(folder: str, small: Tensor, dataset: Dataset, run: Run) -> tuple[Tensor, Tensor]:
    """Passes uint8 images (n, 3, h, w) through a diffusion model: as they are, and estimated from noise."""
    model, _ = frozen_model(folder)
    if not isinstance(model, Kandinsky | Ddpm):
        raise DataError(f"{folder} is not a diffusion model")
    model = on_device(model, run.device)
    attributes = known_attributes(dataset, model.attributes if isinstance(model, Ddpm) else ())
    made: tuple[list[Tensor], list[Tensor]] = ([], [])
    for part, has in zip(small.split(BATCH), attributes.split(BATCH), strict=True):
        images, has = part.to(run.device).float() / 255, has.to(run.device)
        with autocast(run.device):
            both = _of_kandinsky(model, images) if isinstance(model, Kandinsky) else _of_ddpm(model, images, has)
        for column, result in zip(made, both, strict=True):
            column.append(result.float().clamp(0, 1).mul(255).round().byte().cpu())
    return torch.cat(made[0]), torch.cat(made[1])


def _of_kandinsky(model: Kandinsky, images: Tensor) -> tuple[Tensor, Tensor]:
    scheduler: Any = DDPMScheduler(**embedding.NOISE)
    latents = model.movq.encode(images * 2 - 1).latents.float()
    noisy, timesteps = _noised(scheduler, latents)
    estimated = model.estimate(noisy, timesteps, model.encode_images(images))
    return decoded(model.movq, latents) / 2 + 0.5, decoded(model.movq, estimated) / 2 + 0.5


def _of_ddpm(model: Ddpm, images: Tensor, attributes: Tensor) -> tuple[Tensor, Tensor]:
    scheduler: Any = make_scheduler("ddpm", of_latents=True)
    x = model.encode(images).float()
    noisy, timesteps = _noised(scheduler, x)
    velocity = model(noisy, timesteps, attributes if model.attributes else None)
    signal = scheduler.alphas_cumprod.to(x.device)[timesteps][:, None, None, None]
    return model.decode(x), model.decode(signal.sqrt() * noisy - (1 - signal).sqrt() * velocity)


def _noised(scheduler: Any, clean: Tensor) -> tuple[Tensor, Tensor]:
    """Adds noise of random timesteps (n,) to clean latents, as much as leaves `LEAST_SIGNAL`; returns both."""
    n_timesteps = int((scheduler.alphas_cumprod > LEAST_SIGNAL).sum())
    timesteps = torch.randint(n_timesteps, (len(clean),), device=clean.device)
    return scheduler.add_noise(clean, torch.randn_like(clean), timesteps), timesteps


RECIPE = Recipe(
    name="upscaler",
    task="upscaling",
    title="Upscaler by 4",
    settings=UpscalerSettings,
    schedule=Schedule(num_steps=6000, batch_size=8),
    train=train_upscaler,
    image_size=256,
)

if __name__ == "__main__":
    raise SystemExit(command(RECIPE))
