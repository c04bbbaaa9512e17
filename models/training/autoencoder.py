"""Trains an autoencoder for latent diffusion: `python -m models.training.autoencoder --data avatars --id movq`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDPMScheduler
from torch import Tensor, nn

from models.catalogue import Card
from models.clip import Clip
from models.data.dataset import Dataset, color
from models.diffusion.autoencoders import standardize
from models.diffusion.embedding import NOISE, Kandinsky
from models.errors import DataError
from models.perceptual.losses import content_loss
from models.perceptual.vgg import VGG, load_vgg
from models.tensors import autocast, expect_class, on_device
from models.training.recipe import Recipe, Trained, command, frozen_model, initial_model, part_of
from models.training.run import Run, Schedule

BATCH = 256  # images encoded at a time
UNROUNDED = {"force_not_quantize": True}
PERCEPTUAL = ("relu1_2", "relu2_2")
ESTIMATED = (250, 500)  # timesteps at which a denoiser estimates latents
GRAIN = 0.025  # spread of differences in a plain area: noise of the images, which is not to be learned


@dataclass(frozen=True)
class AutoencoderSettings:
    """Hyperparameters of an autoencoder."""

    architecture: str = field(default="movq", metadata={"help": "movq or autoencoder-kl"})
    block_out_channels: tuple[int, ...] = field(default=(32, 64, 64), metadata={"help": "widths, multiples of 32"})
    layers_per_block: int = field(default=1, metadata={"help": "residual blocks of each level"})
    latent_channels: int = field(default=4, metadata={"help": "channels of the latents"})
    num_vq_embeddings: int = field(default=1024, metadata={"help": "vectors of a MoVQ's codebook"})
    patch_size: int = field(default=1, metadata={"help": "side of a MoVQ's patches in pixels"})
    learning_rate: float = field(default=1e-3, metadata={"help": "of Adam, falling to 0 along a cosine"})
    commitment_weight: float = field(default=0.25, metadata={"help": "of the distance from latents to a MoVQ's codes"})
    latent_noise: float = field(
        default=0.0, metadata={"help": "standard deviation of the noise on a MoVQ's latents; above 0 no codes are used"}
    )
    kl_weight: float = field(default=1e-4, metadata={"help": "of the KL divergence of an AutoencoderKL"})

    perceptual_weight: float = field(default=0.0, metadata={"help": "of the distance between VGG-16's features"})
    sharpness_weight: float = field(
        default=0.0, metadata={"help": "of the distance between the spreads of differences in blocks of 8 x 8 pixels"}
    )
    denoiser: str = field(
        default="", metadata={"help": "folder of a decoder of embeddings, whose estimates of latents are decoded too"}
    )
    learned: str = field(
        default="all", metadata={"help": "all; or decoder, to keep the latents of the start, which other models use"}
    )

    def __post_init__(self) -> None:
        if self.learned not in ("all", "decoder"):
            raise ValueError(f"learned must be all or decoder, got {self.learned!r}")
        if self.denoiser and self.learned != "decoder":
            raise ValueError("denoiser needs learned to be decoder: its UNet knows the latents of the start")
        if self.architecture not in ("movq", "autoencoder-kl"):
            raise ValueError(f"architecture must be movq or autoencoder-kl, got {self.architecture!r}")


@torch.inference_mode()
def encoded(model: Any, images: Tensor, batch: int = BATCH) -> Tensor:
    """Encodes uint8 images (n, 3, h, w), `batch` at a time, as fp16 latents (n, latent_channels, h, w)."""
    with autocast(images.device):
        encoded = [model.encode(part.float() / 127.5 - 1) for part in images.split(batch)]
    latents = [each.latent_dist.mode() if isinstance(model, AutoencoderKL) else each.latents for each in encoded]
    return torch.cat(latents).half()


@torch.inference_mode()
def embedded(model: Clip, images: Tensor) -> Tensor:
    """Encodes uint8 images (n, 3, h, w) as image_embeds (n, dim)."""
    with autocast(images.device):
        return torch.cat([model.encode_images(part.float() / 255) for part in images.split(BATCH)])


def found_kl(run: Run, name: str) -> tuple[Any, Card]:
    """Loads an AutoencoderKL that the settings name, frozen, or that of a model, and its card; raises DataError."""
    model, card = part_of(run.find(name), "autoencoder")
    if not isinstance(model, AutoencoderKL):
        raise DataError(f"{name} is not an autoencoder-kl")
    return model, card


def train_autoencoder(dataset: Dataset, settings: AutoencoderSettings, run: Run) -> Trained:
    """Trains with absolute errors and a regularizer of the latents, which are standardized at the end.

    Errors are those of pixels and of the differences between neighbors (Mathieu et al. 2016, eq. 6), without which
    lines one pixel wide are learned last. There is no adversarial loss, as in MoVQ: drawn images have no texture.
    """
    images = torch.from_numpy(color(dataset.images)).permute(0, 3, 1, 2).to(run.device)
    is_movq = settings.architecture == "movq"
    architecture = {
        "name": settings.architecture,
        "block_out_channels": list(settings.block_out_channels),
        "layers_per_block": settings.layers_per_block,
        "latent_channels": settings.latent_channels,
        **({"num_vq_embeddings": settings.num_vq_embeddings} if is_movq else {}),
        **({"patch_size": settings.patch_size} if is_movq and settings.patch_size > 1 else {}),
    }
    through, weight = _regularizer(settings)
    torch.manual_seed(run.schedule.seed)
    model: Any = initial_model(nn.Module, architecture, run, part="autoencoder")
    if is_movq and not run.start:
        if settings.patch_size > 1:
            model.fit(images[:BATCH].float() / 127.5 - 1)
        _spread_codes(model, encoded(model, images[:BATCH]))
    if settings.learned == "decoder":
        for part in ("encoder", "quant_conv", "project"):
            getattr(model, part, nn.Identity()).requires_grad_(False)
    vgg = load_vgg("vgg16", device=run.device) if settings.perceptual_weight else None
    estimate, columns = _estimates(settings.denoiser, images) if settings.denoiser else (None, (images,))
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=settings.learning_rate)

    @torch.inference_mode()
    def sample() -> Tensor:
        reconstruction = decoded(model, encoded(model, images[:16]).float()) / 2 + 0.5
        return torch.stack([images[:16].float() / 255, reconstruction], dim=1).flatten(
            0, 1
        )  # (original, reconstruction) pairs

    for _ in run.steps(sample, model=model, optimizer=optimizer):
        run.set_learning_rate(optimizer, settings.learning_rate)
        real, *embeds = run.batch(*columns)
        real = real.float() / 127.5 - 1
        with autocast(run.device):
            if estimate:
                reconstruction, held = decoded(model, estimate(model.encode(real).latents, *embeds)), real.new_zeros(())
            else:
                reconstruction, held = through(model, real)
        weights = {"perceptual_weight": settings.perceptual_weight, "sharpness_weight": settings.sharpness_weight}
        losses = image_losses(reconstruction.float(), real, vgg=vgg, **weights)
        loss = losses.pop("loss") + weight * held
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        run.log(**losses, **{"commitment" if is_movq else "kl": held})
    if settings.learned == "all":
        latents = encoded(model, images).float()
        standardize(model, latents.mean((0, 2, 3)), latents.std((0, 2, 3)))
    return Trained(architecture, model.state_dict())


def decoded(model: Any, latents: Tensor) -> Tensor:
    """Decodes latents, not quantized, to images (n, 3, h, w) in about [-1, 1], as a pipeline does."""
    images: Tensor = model.decode(latents, **({} if isinstance(model, AutoencoderKL) else UNROUNDED)).sample
    return images


def image_losses(
    reconstruction: Tensor,
    real: Tensor,
    *,
    sharpness_weight: float,
    vgg: VGG | None = None,
    perceptual_weight: float = 0.0,
) -> dict[str, Tensor]:
    """Errors of reconstructions by name, and `loss`, their weighted sum; images (n, 3, h, w) in [-1, 1]."""
    errors = reconstruction - real
    losses = {
        "absolute_error": errors.abs().mean(),
        "edge_error": errors.diff(dim=2).abs().mean() + errors.diff(dim=3).abs().mean(),
    }
    loss = losses["absolute_error"] + losses["edge_error"]
    if vgg:
        losses["perceptual_loss"] = _perceptual(vgg, reconstruction / 2 + 0.5, real / 2 + 0.5)
        loss = loss + perceptual_weight * losses["perceptual_loss"]
    if sharpness_weight:
        losses["softness"] = (_spread(reconstruction) - _spread(real)).abs().mean()
        loss = loss + sharpness_weight * losses["softness"]
    return {**losses, "loss": loss}


def _spread(images: Tensor) -> Tensor:
    """Standard deviation of differences between neighbors in blocks of 8 x 8 pixels, (n, 6, h / 8, w / 8).

    A reconstruction that is right on average but blurred has too little of it (Abrahamyan et al. 2022, "Gradient
    variance loss for structure-enhanced image super-resolution"). Less than `GRAIN` counts as that much.
    """
    down, right = images.diff(dim=2, append=images[:, :, -1:]), images.diff(dim=3, append=images[..., -1:])
    differences = torch.cat([down, right], dim=1)
    variance = F.avg_pool2d(differences.square(), 8) - F.avg_pool2d(differences, 8).square()
    return variance.clamp(min=GRAIN**2).sqrt()


def _perceptual(vgg: VGG, reconstruction: Tensor, real: Tensor) -> Tensor:
    """Perceptual loss (Johnson et al. 2016, eq. 2), without which faint lines such as mouths are lost.

    With the absolute error alone, the best prediction of an uncertain thin line is no line.
    """
    with torch.no_grad():
        target = vgg(real, PERCEPTUAL)
    features = vgg(reconstruction, PERCEPTUAL)
    return torch.stack([content_loss(features[layer], target[layer]) for layer in PERCEPTUAL]).mean()


def _regularizer(settings: AutoencoderSettings) -> tuple[Callable[[Any, Tensor], tuple[Tensor, Tensor]], float]:
    """Returns how images pass through the model, with a regularizer of the latents, and its weight."""
    if settings.architecture == "autoencoder-kl":
        return _through_kl, settings.kl_weight
    if settings.latent_noise:
        return partial(_through_noise, std=settings.latent_noise), settings.commitment_weight
    return _through_movq, settings.commitment_weight


def _estimates(folder: str, images: Tensor) -> tuple[Callable[[Tensor, Tensor], Tensor], tuple[Tensor, Tensor]]:
    """Returns a map from latents and image_embeds to a denoiser's estimates, and the columns of its batches.

    Three quarters of the latents get noise and are estimated from it with guidance, as at the end of a sampling; the
    decoder learns what such estimates should have been. The others stay as they are.
    """
    model, _ = frozen_model(folder)
    kandinsky = on_device(expect_class(model, Kandinsky), images.device)
    scheduler: Any = DDPMScheduler(**NOISE)

    @torch.no_grad()
    def estimate(latents: Tensor, image_embeds: Tensor) -> Tensor:
        count = 3 * len(latents) // 4
        timesteps = torch.randint(*ESTIMATED, (count,), device=latents.device)
        clean = latents[:count].float()
        noisy = scheduler.add_noise(clean, torch.randn_like(clean), timesteps)
        estimated = kandinsky.estimate(noisy, timesteps, image_embeds[:count])
        return torch.cat([estimated, latents[count:].float()])

    return estimate, (images, embedded(kandinsky.clip, images))


def _through_movq(model: Any, real: Tensor) -> tuple[Tensor, Tensor]:
    """Returns reconstructions and the commitment loss (van den Oord et al. 2017, eq. 3)."""
    latents = model.encode(real).latents.float()
    # The pipeline decodes latents without quantization, which keeps more detail; half of the latents do so here.
    as_codes, commitment, _ = model.quantize(latents)
    exact = (torch.rand(len(latents), 1, 1, 1, device=latents.device) < 0.5).float()
    return decoded(model, exact * latents + (1 - exact) * as_codes), commitment


def _through_noise(model: Any, real: Tensor, std: float) -> tuple[Tensor, Tensor]:
    """Returns reconstructions from noisy latents, so that the decoder bears the errors of a diffusion model.

    The second value keeps the latents from growing, which would make the noise small: their mean square beyond 1.
    """
    latents = model.encode(real).latents.float()
    growth = (latents.square().mean() - 1).clamp(min=0)
    return decoded(model, latents + std * torch.randn_like(latents)), growth


def _through_kl(model: Any, real: Tensor) -> tuple[Tensor, Tensor]:
    """Returns reconstructions and the KL divergence of the latents from a standard normal, per value."""
    posterior = model.encode(real).latent_dist
    latents = posterior.sample()
    return decoded(model, latents), posterior.kl().sum() / latents.numel()


@torch.no_grad()
def _spread_codes(model: Any, latents: Tensor) -> None:
    """Initializes the codebook with latents of real images: near 0, as in diffusers, few codes would be used."""
    vectors = latents.float().permute(0, 2, 3, 1).flatten(0, 2)
    weight = model.quantize.embedding.weight
    weight.copy_(vectors[torch.randint(len(vectors), (len(weight),))])


RECIPE = Recipe(
    name="autoencoder",
    task="autoencoding",
    title="Autoencoder",
    settings=AutoencoderSettings,
    schedule=Schedule(num_steps=1800, batch_size=16),
    train=train_autoencoder,
)

if __name__ == "__main__":
    raise SystemExit(command(RECIPE))
