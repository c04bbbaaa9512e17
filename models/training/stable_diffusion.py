"""Trains a text-to-image model: `python -m models.training.stable_diffusion --data avatars --id my-model`.

The CLIP and the autoencoder are trained first, by their own recipes; the text encoder is trained further here.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler
from numpy.typing import NDArray
from torch import Tensor, nn

from models.build import build
from models.clip import Clip, tokenized
from models.data.dataset import Dataset
from models.data.paraphrases import known_words, said
from models.diffusion.embedding import NOISE
from models.diffusion.text_to_image import TextToImageModel, assembled, generate
from models.errors import DataError
from models.tensors import autocast, expect_class, on_device
from models.training.autoencoder import encoded, found_kl
from models.training.denoising import noised
from models.training.recipe import Recipe, Trained, architecture_of, command, part_of
from models.training.run import Run, Schedule, averaged


@dataclass(frozen=True)
class StableDiffusionSettings:
    """Hyperparameters of a text-to-image model."""

    clip: str | None = field(
        default=None, metadata={"help": "folder of the training of the CLIP; that of the start when absent"}
    )
    autoencoder: str | None = field(
        default=None, metadata={"help": "folder of the training of the autoencoder; that of the start when absent"}
    )
    block_out_channels: tuple[int, ...] = field(default=(64, 128, 192), metadata={"help": "widths, multiples of 32"})
    layers_per_block: int = field(default=1, metadata={"help": "residual blocks of each level"})
    learning_rate: float = field(default=5e-4, metadata={"help": "of AdamW, falling to 0 along a cosine"})
    dropped: float = field(default=0.1, metadata={"help": "share of captions left out, for guidance"})
    paraphrased: float = field(
        default=0.0,
        metadata={"help": "share of captions that are written in other words, anew each time; avatars only"},
    )
    timestep_location: float | None = field(
        default=None, metadata={"help": "location of logit-normal timesteps; uniform when absent"}
    )
    ema_decay: float = field(default=0.999, metadata={"help": "of the moving average of the weights, which is stored"})


def train_stable_diffusion(dataset: Dataset, settings: StableDiffusionSettings, run: Run) -> Trained:
    """Trains to predict v of noisy latents (Salimans and Ho 2022, section 4), conditioned on the image's caption.

    Some captions are left out (Ho and Salimans 2022, "Classifier-free diffusion guidance", algorithm 1). The text
    encoder is trained too: for a contrastive loss the set of words is enough, for images their relations matter. Raises
    DataError.
    """
    if not dataset.captions:
        raise DataError("text to image needs captions")
    images = torch.from_numpy(dataset.images).permute(0, 3, 1, 2).to(run.device)
    start, vae, parts, before = _parts(settings, run)
    architecture = {
        "name": "stable-diffusion",
        "block_out_channels": list(settings.block_out_channels),
        "layers_per_block": settings.layers_per_block,
        "image_size": images.shape[-1],
        **parts,
    }
    latents = encoded(on_device(vae, run.device), images)  # which are constant
    torch.manual_seed(run.schedule.seed)
    model = expect_class(build(architecture), TextToImageModel)
    unet, text_encoder, tokenizer = (getattr(model.pipeline, name) for name in ("unet", "text_encoder", "tokenizer"))
    if isinstance(start, TextToImageModel):
        unet.load_state_dict(start.pipeline.unet.state_dict())
        text_encoder.load_state_dict(start.pipeline.text_encoder.state_dict())
    else:
        text_encoder.load_state_dict(start.model.text_model.state_dict())
    rows = torch.arange(len(dataset))
    learned = on_device(nn.ModuleDict({"unet": unet, "text_encoder": text_encoder}), run.device)
    average, kept = averaged(learned, settings.ema_decay)
    trained = assembled(tokenizer, kept["text_encoder"], kept["unet"], vae)
    optimizer = torch.optim.AdamW(learned.parameters(), lr=settings.learning_rate, weight_decay=0.0)
    scheduler: Any = DDIMScheduler(**NOISE)
    size = images.shape[-1]

    run.sample_captions = dataset.captions[: min(16, run.schedule.batch_size)]

    def sample() -> Tensor:
        with torch.inference_mode(), autocast(run.device):
            seeds = range(len(run.sample_captions))
            return generate(trained, run.sample_captions, seeds=seeds, width=size, height=size)

    for _ in run.steps(sample, model=learned, average=average, optimizer=optimizer):
        run.set_learning_rate(optimizer, settings.learning_rate)
        clean, chosen = run.batch(latents, rows.to(run.device))
        noisy, timesteps, velocity = noised(clean.float(), scheduler, settings.timestep_location)
        texts = _texts(dataset, chosen.cpu().numpy(), settings)
        with autocast(run.device):
            ids = tokenized(tokenizer, texts, tokenizer.model_max_length).to(run.device)
            states = learned["text_encoder"](ids)[0]
            predicted = learned["unet"](noisy, timesteps, states).sample
        loss = F.mse_loss(predicted.float(), velocity)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(learned)
        run.log(v_loss=loss)
    words = {"words": known_words(), "typos": True} if settings.paraphrased else {}
    return Trained(architecture, trained.state_dict(), before, facts=words)


def _texts(dataset: Dataset, rows: NDArray[np.int64], settings: StableDiffusionSettings) -> list[str]:
    """Returns the texts of some images: captions, paraphrases, or nothing; by torch's global generator."""
    texts = [dataset.captions[row] for row in rows]
    if settings.paraphrased:
        rng = np.random.default_rng(int(torch.randint(2**62, ())))
        others = said(dataset.attributes[rows], dataset.attribute_names, rng)
        places = torch.rand(len(rows)) < settings.paraphrased
        texts = [pair[0] if place else text for text, pair, place in zip(texts, others, places, strict=True)]
    kept = torch.rand(len(rows)) >= settings.dropped
    return [text if keep else "" for text, keep in zip(texts, kept, strict=True)]


def _parts(
    settings: StableDiffusionSettings, run: Run
) -> tuple[TextToImageModel | Clip, Any, dict[str, Any], dict[str, Any]]:
    """Returns the initial model, the autoencoder, their architectures, and how they were trained; raises DataError."""
    before: dict[str, Any] = {}
    if run.start:
        start, card = run.start
        if not isinstance(start, TextToImageModel):
            raise DataError(f"start: {card.id} is not a text-to-image model")
        parts = {name: card.architecture[name] for name in ("text", "autoencoder")}
        if not settings.autoencoder:
            return start, start.pipeline.vae, parts, before
    else:
        if not settings.clip:
            raise DataError("text to image needs a start, or a CLIP and an autoencoder")
        start, card = part_of(run.find(settings.clip), "clip")
        if not isinstance(start, Clip):
            raise DataError(f"{settings.clip} is not a CLIP")
        parts, before = {"text": architecture_of(card)}, {"clip": card.training}
        if not settings.autoencoder:
            raise DataError("text to image needs an autoencoder: give `autoencoder` or a start that has one")
    vae, card = found_kl(run, settings.autoencoder)
    return start, vae, parts | {"autoencoder": architecture_of(card)}, before | {"autoencoder": card.training}


RECIPE = Recipe(
    name="stable-diffusion",
    task="text-to-image",
    title="Latent text-to-image model in the shape of Stable Diffusion",
    settings=StableDiffusionSettings,
    schedule=Schedule(num_steps=6000, batch_size=32),
    train=train_stable_diffusion,
    captions=True,
)

if __name__ == "__main__":
    raise SystemExit(command(RECIPE))
