"""Trains a decoder of CLIP embeddings: `python -m models.training.decoder --data avatars --id decoder-avatars`."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from torch import Tensor, nn

from models.build import WEIGHTS, build, load_model
from models.catalogue import Card, card
from models.clip import Clip
from models.data.dataset import Dataset
from models.diffusion.embedding import NOISE, EmbeddingDecoder
from models.tensors import autocast, load_weights, on_device
from models.training.autoencoder import BATCH, encoded
from models.training.recipe import CARD, Recipe, Trained, command
from models.training.run import Run, Schedule, averaged


@dataclass(frozen=True)
class DecoderSettings:
    """What a decoder is trained with."""

    clip: str = field(default="clip-avatars", metadata={"help": "whose embeddings: a model's id or its folder"})
    autoencoder: str = field(default="movq-avatars", metadata={"help": "whose latents: a model's id or its folder"})
    block_out_channels: tuple[int, ...] = field(default=(64, 96, 160), metadata={"help": "widths, multiples of 32"})
    layers_per_block: int = field(default=1, metadata={"help": "residual blocks of each level"})
    learning_rate: float = field(default=5e-4, metadata={"help": "of AdamW, falling to 0 along a cosine"})
    dropped: float = field(default=0.1, metadata={"help": "share of embeddings left out, for guidance"})
    ema_decay: float = field(default=0.999, metadata={"help": "of the average, which is what is kept"})


def frozen_model(name: str) -> tuple[nn.Module, dict[str, Any]]:
    """The trained model of an id, or of the folder its training left, and its architecture."""
    path = Path(name) / CARD
    if not path.is_file():
        return load_model(card(name)), card(name).architecture
    found = Card(**json.loads(path.read_text(encoding="utf-8")))
    model = build(found.architecture)
    load_weights(model, path.with_name(WEIGHTS))
    return model.eval().requires_grad_(False), found.architecture


@torch.inference_mode()
def embedded(model: Clip, images: Tensor) -> Tensor:
    """The image_embeds of uint8 pictures (n, 3, h, w), (n, dim)."""
    with autocast(images.device):
        return torch.cat([model.encode_images(part.float() / 255) for part in images.split(BATCH)])


def train_decoder(dataset: Dataset, settings: DecoderSettings, run: Run) -> Trained:
    """Predict the noise in latents at a drawn time (Ho et al. 2020, algorithm 1), given the picture's embedding.

    Some embeddings are left out (Ho and Salimans 2022, "Classifier-free diffusion guidance", algorithm 1).
    """
    images = torch.from_numpy(dataset.images).permute(0, 3, 1, 2).to(run.device)
    clip, _ = frozen_model(settings.clip)
    movq, autoencoder = frozen_model(settings.autoencoder)
    assert isinstance(clip, Clip)
    architecture = {
        "name": "embedding-decoder",
        "image_size": images.shape[-1],
        "dim": clip.dim,
        "block_out_channels": list(settings.block_out_channels),
        "layers_per_block": settings.layers_per_block,
        "autoencoder": {key: value for key, value in autoencoder.items() if key != "name"},
    }
    # Neither network changes, so every picture goes through them once.
    image_embeds = embedded(on_device(clip, run.device), images)
    latents = encoded(on_device(movq, run.device), images)
    torch.manual_seed(run.schedule.seed)
    model = on_device(build(architecture), run.device)
    assert isinstance(model, EmbeddingDecoder)
    average, kept = averaged(model.unet, settings.ema_decay)
    trained = EmbeddingDecoder(kept, movq)
    optimizer = torch.optim.AdamW(model.unet.parameters(), lr=settings.learning_rate, weight_decay=0.0)
    scheduler: Any = DDPMScheduler(**NOISE)

    def sample() -> Tensor:
        with autocast(run.device):
            return trained.decode(image_embeds[:16], seeds=range(16))

    for _ in run.steps(sample, model=model.unet, average=average, optimizer=optimizer):
        run.set_learning_rate(optimizer, settings.learning_rate)
        clean, embeds = run.batch(latents, image_embeds)
        clean = clean.float()
        noise = torch.randn_like(clean)
        # Spread evenly over the batch, which makes the loss less noisy than independent draws.
        places = (torch.arange(len(clean)) + torch.rand(len(clean))) / len(clean)
        timesteps = (places * scheduler.config.num_train_timesteps).long().to(run.device)
        noisy = scheduler.add_noise(clean, noise, timesteps)
        left_in = torch.rand(len(embeds), 1, device=run.device) >= settings.dropped
        condition = {"image_embeds": embeds * left_in}
        with autocast(run.device):
            predicted = model.unet(noisy, timesteps, None, added_cond_kwargs=condition).sample
        loss = F.mse_loss(predicted[:, : clean.shape[1]].float(), noise)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.unet.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(model.unet)
        run.log(noise_loss=loss)
    return Trained(architecture, trained.state_dict())


RECIPE = Recipe(
    name="decoder",
    task="embedding-to-image",
    title="Embedding decoder",
    settings=DecoderSettings,
    schedule=Schedule(num_steps=12_000, batch_size=32),
    train=train_decoder,
)

if __name__ == "__main__":
    raise SystemExit(command(RECIPE))
