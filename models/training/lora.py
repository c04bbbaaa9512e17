"""Trains a LoRA of a text-to-image model: `python -m models.training.lora --data hats.zip --start FOLDER --id hats`.

Hu et al. 2022, "LoRA: low-rank adaptation of large language models".
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from diffusers.training_utils import cast_training_params, compute_snr
from diffusers.utils.state_dict_utils import convert_state_dict_to_kohya
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from torch import Tensor, nn

from models.catalogue import Card, base_of
from models.data.dataset import Dataset
from models.diffusion.text_to_image import TextToImageModel, generate
from models.errors import DataError
from models.familiarity import word_facts
from models.tensors import autocast, fast_dtype, on_device
from models.training.autoencoder import encoded
from models.training.denoising import noised
from models.training.recipe import Recipe, Trained, command
from models.training.run import Run, Schedule, averaged

PREVIEWS = 2  # images of each prompt
LARGE = 256  # side in pixels from which activations are computed again in the backward pass, to save memory
# Linear layers of the UNet's transformers and the attention of text encoders, as kohya's scripts.
UNET = ("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2")
TEXT_ENCODER = ("q_proj", "k_proj", "v_proj", "out_proj")


@dataclass(frozen=True)
class LoraSettings:
    """Hyperparameters of a LoRA."""

    rank: int = field(default=8, metadata={"help": "of the change of each layer"})
    alpha: float | None = field(default=None, metadata={"help": "its scale is alpha / rank; the rank when absent"})
    train_text_encoder: bool = field(default=False, metadata={"help": "change the text encoders too"})
    prompts: tuple[str, ...] = field(default=(), metadata={"help": "of the samples; captions of the set when absent"})
    learning_rate: float = field(default=1e-3, metadata={"help": "of AdamW, falling to 0 along a cosine"})
    snr_gamma: float | None = field(
        default=None, metadata={"help": "of Min-SNR weighting; all timesteps count the same when absent"}
    )
    ema_decay: float = field(default=0.99, metadata={"help": "of the moving average of the weights, which is stored"})


def train_lora(dataset: Dataset, settings: LoraSettings, run: Run) -> Trained:
    """Trains low-rank changes of the start's UNet, and of its text encoders, to predict the noise of captioned images.

    The start itself does not change. Raises DataError without captions, and for a start that is no latent diffusion
    model with a UNet.
    """
    if not dataset.captions:
        raise DataError("a LoRA needs captions")
    model, card = _start(run)
    pipeline, size = model.pipeline, dataset.images.shape[1]
    if run.device.type == "cuda":
        model.to(fast_dtype(run.device))
    on_device(model, run.device)
    latents = _latents(pipeline.vae, torch.from_numpy(dataset.images).permute(0, 3, 1, 2).to(run.device))
    torch.manual_seed(run.schedule.seed)
    parts = _adapted(pipeline, settings)
    if size >= LARGE:
        pipeline.unet.enable_gradient_checkpointing()
    learned = nn.ParameterList(each for part in parts.values() for each in part.parameters() if each.requires_grad)
    average, kept = averaged(learned, settings.ema_decay)
    optimizer = torch.optim.AdamW(learned.parameters(), lr=settings.learning_rate)
    scheduler: Any = DDPMScheduler.from_config(model.scheduler.config)
    rows = torch.arange(len(dataset), device=run.device)
    captions = [_cut(pipeline.tokenizer, caption) for caption in dataset.captions]
    prompts = settings.prompts or tuple(dict.fromkeys(dataset.captions))[:4]
    run.sample_captions = [prompt for prompt in prompts for _ in range(PREVIEWS)]

    def sample() -> Tensor:
        with _holding(learned, kept), torch.no_grad(), autocast(run.device):
            seeds = range(run.schedule.seed, run.schedule.seed + len(run.sample_captions))
            return generate(
                model, run.sample_captions, seeds=seeds, width=size, height=size, **_sampling(card.architecture)
            )

    pipeline.unet.train()  # gradient checkpointing needs it; there is no dropout
    for _ in run.steps(sample, learned=learned, average=average, optimizer=optimizer):
        run.set_learning_rate(optimizer, settings.learning_rate)
        clean, chosen = run.batch(latents, rows)
        noisy, timesteps, target = noised(clean.float(), scheduler)
        with autocast(run.device):
            with torch.set_grad_enabled(settings.train_text_encoder):
                condition = _condition(pipeline, [captions[row] for row in chosen.tolist()], size)
            predicted = pipeline.unet(noisy, timesteps, **condition).sample
        errors = F.mse_loss(predicted.float(), target, reduction="none").mean((1, 2, 3))
        loss = (errors * _weights(scheduler, timesteps, settings.snr_gamma)).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(learned)
        run.log(noise_loss=loss)
    with _holding(learned, kept):
        state = _state(parts, (settings.alpha or settings.rank) / settings.rank)
    architecture = {"name": "lora", "base": base_of(card), "rank": settings.rank, "parts": [*parts]}
    return Trained(architecture, state, facts=word_facts(dataset))


def _start(run: Run) -> tuple[TextToImageModel, Card]:
    if run.start is None:
        raise DataError("start: a text-to-image model is needed, of which the LoRA is trained")
    model, card = run.start
    if not isinstance(model, TextToImageModel) or not hasattr(model.pipeline, "unet"):
        raise DataError(f"start: {card.id} is no text-to-image model with a UNet, of which a LoRA can be trained")
    return model, card


def _sampling(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """Returns how samples of a model are generated, by its card."""
    guided = architecture.get("guided", True)
    return {
        "num_inference_steps": architecture.get("num_inference_steps", 25),
        "guidance_scale": architecture.get("guidance_scale", 4.0) if guided else 0.0,
    }


def _latents(vae: Any, images: Tensor) -> Tensor:
    """Encodes uint8 images (n, 3, h, w) as the latents (n, channels, h / 8, w / 8) that the UNet sees."""
    latents = encoded(vae, images, max(1, LARGE**2 * 16 // images[0, 0].numel()))
    return latents * float(vae.config.scaling_factor)


def _adapted(pipeline: Any, settings: LoraSettings) -> dict[str, Any]:
    """Adds trainable low-rank layers to a pipeline's networks; returns these by name."""
    names = ["unet", *(["text_encoder", "text_encoder_2"] if settings.train_text_encoder else [])]
    parts = {name: part for name in names if (part := getattr(pipeline, name, None)) is not None}
    for name, part in parts.items():
        targets = UNET if name == "unet" else TEXT_ENCODER
        alpha: Any = settings.alpha or settings.rank  # peft takes fractions too
        part.add_adapter(
            LoraConfig(r=settings.rank, lora_alpha=alpha, init_lora_weights="gaussian", target_modules=[*targets])
        )
    cast_training_params([*parts.values()])
    return parts


def _cut(tokenizer: Any, caption: str) -> str:
    """Cuts a caption off where the tokenizer would, because pipelines log what is cut."""
    token_ids = tokenizer(caption, verbose=False).input_ids
    text: str = tokenizer.decode(token_ids[1 : tokenizer.model_max_length - 1])
    return caption if len(token_ids) <= tokenizer.model_max_length else text


def _condition(pipeline: Any, texts: list[str], size: int) -> dict[str, Any]:
    """Encodes texts as the UNet's arguments; SDXL also takes a pooled embedding and the size of the images."""
    encodings = pipeline.encode_prompt(
        texts, device=pipeline.unet.device, num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    condition: dict[str, Any] = {"encoder_hidden_states": encodings[0]}
    if len(encodings) > 2:
        times = torch.tensor([[size, size, 0, 0, size, size]] * len(texts), device=encodings[0].device)
        condition["added_cond_kwargs"] = {"text_embeds": encodings[2], "time_ids": times}
    return condition


def _weights(scheduler: Any, timesteps: Tensor, gamma: float | None) -> Tensor:
    """Weights (n,) of the errors at timesteps: Hang et al. 2023, "Efficient diffusion training via Min-SNR", eq. 10."""
    if gamma is None:
        return torch.ones(len(timesteps), device=timesteps.device)
    snr: Tensor = compute_snr(scheduler, timesteps)
    weights: Tensor = snr.clamp(max=gamma) / (snr + (scheduler.config.prediction_type == "v_prediction"))
    return weights


@contextmanager
def _holding(learned: nn.ParameterList, kept: nn.ParameterList) -> Iterator[None]:
    """Replaces the trained weights by the averaged ones, inside."""
    trained = [each.detach().clone() for each in learned]
    _copy(learned, kept)
    try:
        yield
    finally:
        _copy(learned, trained)


@torch.no_grad()
def _copy(targets: nn.ParameterList, values: Any) -> None:
    for target, value in zip(targets, values, strict=True):
        target.copy_(value)


def _state(parts: Mapping[str, Any], scale: float) -> dict[str, Tensor]:
    """Returns the tensors under kohya's names, which web UIs and diffusers load; the scale is within the weights.

    Without those of layers that did not change: SDXL does not use the last layer of its first text encoder.
    """
    state = {}
    for part, module in parts.items():
        prefix = f"{part}." if part == "unet" else f"{part}.text_model."  # which transformers leaves out since 5.0
        layers = get_peft_model_state_dict(module)
        for name, value in layers.items():
            if layers[name.replace(".lora_A.", ".lora_B.")].half().any():
                scaled = value * scale if ".lora_B." in name else value
                state[prefix + name.removeprefix("text_model.")] = scaled
    return dict(convert_state_dict_to_kohya(state))


RECIPE = Recipe(
    name="lora",
    task="lora",
    title="LoRA",
    settings=LoraSettings,
    schedule=Schedule(num_steps=400, batch_size=4, sample_every=100, checkpoint_every=100),
    train=train_lora,
    captions=True,
)

if __name__ == "__main__":
    raise SystemExit(command(RECIPE))
