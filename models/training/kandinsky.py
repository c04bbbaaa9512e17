"""Trains a decoder of CLIP's embeddings: `python -m models.training.kandinsky --data avatars --id kandinsky-avatars`.

The CLIP and the autoencoder are trained first, by their own recipes, and become parts of the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, VQModel
from torch import Tensor, nn

from models.catalogue import Card
from models.clip import Clip
from models.data.dataset import Dataset
from models.diffusion.embedding import NOISE, Kandinsky
from models.errors import DataError
from models.tensors import autocast, on_device
from models.training.autoencoder import BATCH, embedded, encoded
from models.training.denoising import noised
from models.training.recipe import Recipe, Trained, architecture_of, command, initial_model, part_of
from models.training.run import Run, Schedule, Start, averaged


@dataclass(frozen=True)
class KandinskySettings:
    """Hyperparameters of a decoder."""

    clip: str | None = field(
        default=None, metadata={"help": "folder of the training of the CLIP; that of the start when absent"}
    )
    autoencoder: str | None = field(
        default=None, metadata={"help": "folder of the training of the autoencoder; that of the start when absent"}
    )
    block_out_channels: tuple[int, ...] = field(default=(64, 96, 160), metadata={"help": "widths, multiples of 32"})
    layers_per_block: int = field(default=1, metadata={"help": "residual blocks of each level"})
    learning_rate: float = field(default=5e-4, metadata={"help": "of AdamW, falling to 0 along a cosine"})
    ridge: float = field(default=1.0, metadata={"help": "weight of the L2 penalty on the weights of the prior"})
    dropped: float = field(default=0.1, metadata={"help": "share of embeddings left out, for guidance"})
    guidance_scale: float = field(default=2.0, metadata={"help": "of samplings"})
    num_inference_steps: int = field(default=25, metadata={"help": "of samplings"})
    last_timestep: int = field(default=0, metadata={"help": "at which samplings end, for a decoder of estimates"})
    ema_decay: float = field(default=0.999, metadata={"help": "of the moving average of the weights, which is stored"})


@torch.no_grad()
def _texts_embedded(model: Clip, texts: Sequence[str]) -> Tensor:
    token_ids = model.tokenize(texts).to(model.mean.device)
    return torch.cat([model.encode_texts(part) for part in token_ids.split(BATCH)])


@torch.no_grad()
def linear_prior(text_embeds: Tensor, image_embeds: Tensor, ridge: float) -> nn.Linear:
    """Least-squares linear layer from normalized text_embeds to image_embeds, both (n, dim).

    Ridge regression: `ridge` times the squared weights is added to the sum of squares; the intercept is not penalized.
    """
    texts, images = F.normalize(text_embeds).double(), image_embeds.double()
    centered = texts - texts.mean(0)
    gram = centered.T @ centered + ridge * torch.eye(texts.shape[1], dtype=torch.float64, device=texts.device)
    weight = torch.linalg.solve(gram, centered.T @ (images - images.mean(0))).T
    prior = nn.Linear(texts.shape[1], images.shape[1], device=texts.device)
    prior.weight.copy_(weight)
    prior.bias.copy_(images.mean(0) - weight @ texts.mean(0))
    return prior


def _part(named: str | None, name: str, kind: type[Any], run: Run) -> tuple[Any, Card]:
    """Returns the CLIP or the autoencoder that the settings name, or that of the start; raises DataError."""
    if not named and not run.start:
        raise DataError("a decoder needs a start, or a CLIP and an autoencoder")
    model, card = part_of(run.find(named) if named else cast(Start, run.start), name)
    if not isinstance(model, kind):
        raise DataError(f"{named or card.id} is no model of this kind: {name}")
    return model, card


def train_kandinsky(dataset: Dataset, settings: KandinskySettings, run: Run) -> Trained:
    """Trains to predict v of noisy latents (Salimans and Ho 2022, section 4), conditioned on the image's embedding.

    Some embeddings are left out (Ho and Salimans 2022, "Classifier-free diffusion guidance", algorithm 1).
    """
    if not dataset.captions:
        raise DataError("a prior needs captions")
    images = torch.from_numpy(dataset.images).permute(0, 3, 1, 2).to(run.device)
    clip, clip_card = _part(settings.clip, "clip", Clip, run)
    movq, movq_card = _part(settings.autoencoder, "autoencoder", VQModel, run)
    names = ("guidance_scale", "num_inference_steps", "last_timestep")
    sampling: dict[str, Any] = {name: getattr(settings, name) for name in names}
    architecture = {
        "name": "kandinsky",
        "block_out_channels": list(settings.block_out_channels),
        "layers_per_block": settings.layers_per_block,
        "clip": architecture_of(clip_card),
        "autoencoder": architecture_of(movq_card),
        **sampling,
    }
    # Both networks are frozen, so every image is encoded once.
    image_embeds = embedded(on_device(clip, run.device), images)
    latents = encoded(on_device(movq, run.device), images)
    prior = linear_prior(_texts_embedded(clip, dataset.captions), image_embeds, settings.ridge)
    torch.manual_seed(run.schedule.seed)
    model = initial_model(Kandinsky, architecture, run, free=names)
    average, kept = averaged(model.unet, settings.ema_decay)
    trained = Kandinsky(clip, prior, kept, movq, **sampling)
    optimizer = torch.optim.AdamW(model.unet.parameters(), lr=settings.learning_rate, weight_decay=0.0)
    scheduler: Any = DDPMScheduler(**NOISE)

    def sample() -> Tensor:
        with autocast(run.device):
            embeds = image_embeds[: min(16, run.schedule.batch_size)]
            return trained.decode(embeds, seeds=range(len(embeds)))

    for _ in run.steps(sample, model=model.unet, average=average, optimizer=optimizer):
        run.set_learning_rate(optimizer, settings.learning_rate)
        clean, embeds = run.batch(latents, image_embeds)
        noisy, timesteps, velocity = noised(clean.float(), scheduler)
        left_in = torch.rand(len(embeds), 1, device=run.device) >= settings.dropped
        condition = {"image_embeds": embeds * left_in}
        with autocast(run.device):
            predicted = model.unet(noisy, timesteps, None, added_cond_kwargs=condition).sample
        loss = F.mse_loss(predicted[:, : clean.shape[1]].float(), velocity)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.unet.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(model.unet)
        run.log(v_loss=loss)
    parts = {"clip": clip_card.training, "autoencoder": movq_card.training}
    return Trained(architecture, trained.state_dict(), parts)


RECIPE = Recipe(
    name="kandinsky",
    task="embedding-to-image",
    title="CLIP space in the shape of Kandinsky 2.2",
    settings=KandinskySettings,
    schedule=Schedule(num_steps=8000, batch_size=32),
    train=train_kandinsky,
    captions=True,
)

if __name__ == "__main__":
    raise SystemExit(command(RECIPE))
