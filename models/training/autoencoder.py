"""Trains the MoVQ an embedding decoder works in: `python -m models.training.autoencoder --data avatars --id movq`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.build import WEIGHTS, build
from models.data.dataset import Dataset
from models.diffusion.embedding import standardise
from models.tensors import autocast, load_weights, on_device
from models.training.recipe import Recipe, Trained, command
from models.training.run import Run, Schedule

BATCH = 256  # pictures encoded at a time


@dataclass(frozen=True)
class AutoencoderSettings:
    """What an autoencoder is trained with."""

    block_out_channels: tuple[int, ...] = field(default=(32, 64, 64), metadata={"help": "widths, multiples of 32"})
    layers_per_block: int = field(default=1, metadata={"help": "residual blocks of each level"})
    latent_channels: int = field(default=4, metadata={"help": "values of each place of the latents"})
    num_vq_embeddings: int = field(default=1024, metadata={"help": "vectors of the codebook"})
    learning_rate: float = field(default=1e-3, metadata={"help": "of Adam, falling to 0 along a cosine"})
    start: str = field(default="", metadata={"help": "folder of an earlier training to start from"})
    commitment_weight: float = field(default=0.25, metadata={"help": "of the distance from latents to their codes"})


@torch.inference_mode()
def encoded(model: Any, images: Tensor) -> Tensor:
    """The latents of uint8 pictures (n, 3, h, w), as fp16 (n, latent_channels, h, w)."""
    with autocast(images.device):
        latents = torch.cat([model.encode(part.float() / 127.5 - 1).latents for part in images.split(BATCH)])
    return latents.half()


def train_autoencoder(dataset: Dataset, settings: AutoencoderSettings, run: Run) -> Trained:
    """Absolute errors and commitment (van den Oord et al. 2017, eq. 3); at the end its latents are standardised.

    Errors are those of pixels and of the differences between neighbours (Mathieu et al. 2016, eq. 6), without which
    lines one pixel wide are the last to come. No adversary as in MoVQ: drawn pictures have no texture to make up.
    """
    images = torch.from_numpy(dataset.images).permute(0, 3, 1, 2).to(run.device)
    architecture = {
        "name": "movq",
        "block_out_channels": list(settings.block_out_channels),
        "layers_per_block": settings.layers_per_block,
        "latent_channels": settings.latent_channels,
        "num_vq_embeddings": settings.num_vq_embeddings,
    }
    torch.manual_seed(run.schedule.seed)
    model: Any = on_device(build(architecture), run.device)
    if settings.start:
        load_weights(model, Path(settings.start) / WEIGHTS)
    else:
        _spread_codes(model, encoded(model, images[:BATCH]))
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)

    @torch.inference_mode()
    def sample() -> Tensor:
        latents = encoded(model, images[:16]).float()
        rebuilt = model.decode(latents, force_not_quantize=True).sample / 2 + 0.5
        return torch.stack([images[:16].float() / 255, rebuilt], dim=1).flatten(0, 1)  # each beside its original

    for _ in run.steps(sample, model=model, optimizer=optimizer):
        run.set_learning_rate(optimizer, settings.learning_rate)
        (real,) = run.batch(images)
        real = real.float() / 127.5 - 1
        with autocast(run.device):
            latents = model.encode(real).latents.float()
            # The pipeline decodes latents as they are, which keeps more than their codes say: so do half of them here.
            as_codes, commitment, _ = model.quantize(latents)
            exact = (torch.rand(len(latents), 1, 1, 1, device=run.device) < 0.5).float()
            mixed = exact * latents + (1 - exact) * as_codes
            decoded = model.decode(mixed, force_not_quantize=True).sample
        errors = decoded.float() - real
        absolute_error = errors.abs().mean()
        edge_error = errors.diff(dim=2).abs().mean() + errors.diff(dim=3).abs().mean()
        loss = absolute_error + edge_error + settings.commitment_weight * commitment
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        run.log(absolute_error=absolute_error, edge_error=edge_error, commitment=commitment)
    latents = encoded(model, images).float()
    standardise(model, latents.mean((0, 2, 3)), latents.std((0, 2, 3)))
    return Trained(architecture, model.state_dict())


@torch.no_grad()
def _spread_codes(model: Any, latents: Tensor) -> None:
    """Start the codebook at latents of real pictures: where diffusers starts it, near 0, few codes are ever used."""
    vectors = latents.float().permute(0, 2, 3, 1).flatten(0, 2)
    weight = model.quantize.embedding.weight
    weight.copy_(vectors[torch.randint(len(vectors), (len(weight),))])


RECIPE = Recipe(
    name="autoencoder",
    task="autoencoding",
    title="MoVQ autoencoder",
    settings=AutoencoderSettings,
    schedule=Schedule(num_steps=1800, batch_size=16),
    train=train_autoencoder,
)

if __name__ == "__main__":
    raise SystemExit(command(RECIPE))
