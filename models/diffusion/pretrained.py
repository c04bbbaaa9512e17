"""Full-size CLIP-embedding spaces from published weights: Kandinsky 2.2, Stable unCLIP, and an IP-Adapter.

Razzhigaev et al. 2023, "Kandinsky: an improved text-to-image synthesis with image prior and latent diffusion"; Ramesh
et al. 2022, "Hierarchical text-conditional image generation with CLIP latents"; Ye et al. 2023, "IP-Adapter: text
compatible image prompt adapter for text-to-image diffusion models".
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    KandinskyV22Pipeline,
    KandinskyV22PriorPipeline,
    PriorTransformer,
    StableDiffusionPipeline,
    StableUnCLIPImg2ImgPipeline,
    UnCLIPScheduler,
    UNet2DConditionModel,
    VQModel,
)
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer, CLIPVisionModelWithProjection
from transformers.utils.constants import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from models.diffusion.embedding import step_end_callback
from models.tensors import seeded

AT_ONCE = 4  # images of 512 or 768 px per batch: batches of callers are sized for small models
TEXT_SEED = 0  # of the noise that a prior draws, so that a text always has the same embedding
ADAPTER = "ip-adapter_sd15.safetensors"

OnStep = Callable[[], None]
# (image_embeds (n, dim), one generator each, number of steps, on_step) -> images (n, 3, h, w) in [0, 1]
Draw = Callable[[Tensor, list[torch.Generator], int, OnStep], Tensor]
Read = Callable[[Sequence[str]], Tensor]


class NoTextStartError(ValueError):
    """A model without a prior was asked for the embedding of a text."""


class Pretrained(nn.Module):
    """A CLIP image encoder and the parts that decode its image_embeds (n, dim), which are not normalized.

    draw: decodes a batch of embeddings. read: embeds texts; None for a model without a prior. Both use `parts`.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        image_size: int,
        image_encoder: nn.Module,
        processor: Mapping[str, Any],
        parts: Mapping[str, nn.Module],
        draw: Draw,
        read: Read | None = None,
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.image_encoder: Any = image_encoder
        self.parts = nn.ModuleDict(dict(parts))  # so that they move to a device with the rest
        self.draw = draw
        self.read = read
        self.register_buffer("mean", torch.tensor(processor["image_mean"])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(processor["image_std"])[:, None, None], persistent=False)

    @property
    def dim(self) -> int:
        """Number of values of an embedding."""
        return int(self.image_encoder.config.projection_dim)

    def encode_images(self, images: Tensor) -> Tensor:
        """Encodes images (n, 3, h, h) in [0, 1] as image_embeds (n, dim)."""
        side = self.image_encoder.config.image_size
        seen = F.interpolate(images.float(), (side, side), mode="bicubic", antialias=True).clamp(0, 1)
        pixel_values = ((seen - self.mean) / self.std).to(self.image_encoder.dtype)
        embeds: Tensor = self.image_encoder(pixel_values).image_embeds
        return embeds.float()

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Returns the image_embeds (n, dim) that the prior predicts for texts; raises NoTextStartError without one."""
        if self.read is None:
            raise NoTextStartError("This space has no text start: its model has no prior. Start from an image.")
        return self.read(texts).float()

    def decode(
        self,
        image_embeds: Tensor,
        *,
        seeds: Sequence[int],
        num_inference_steps: int = 25,
        on_step: OnStep = lambda: None,
    ) -> Tensor:
        """Decodes embeddings (n, dim) to images (n, 3, image_size, image_size) in [0, 1], `AT_ONCE` at a time.

        Each image depends on its own seed only. `on_step` is called after each denoising step.
        """
        batches = []
        for start in range(0, len(image_embeds), AT_ONCE):
            embeds = image_embeds[start : start + AT_ONCE].to(self.image_encoder.dtype)
            generators = [seeded(seed) for seed in seeds[start : start + AT_ONCE]]
            batches.append(self.draw(embeds, generators, num_inference_steps, on_step).float().clamp(0, 1))
        return torch.cat(batches)


def load_pretrained(name: str, folder: Path, image_size: int, dtype: torch.dtype = torch.float32) -> Pretrained:
    """Loads a model of an architecture in `PRETRAINED` from its folder, which has one subfolder for each part.

    Reads safetensors and json only. Raises OSError, ValueError or RuntimeError if a part is missing or does not fit.
    """
    return PRETRAINED[name](folder, image_size, dtype)


def _kandinsky(folder: Path, image_size: int, dtype: torch.dtype) -> Pretrained:
    encoder = _clip(CLIPVisionModelWithProjection, folder / "image_encoder", dtype)
    parts = {
        "unet": _part(UNet2DConditionModel, folder / "unet", dtype),
        "movq": _part(VQModel, folder / "movq", dtype),
        "prior": _part(PriorTransformer, folder / "prior", dtype),
        "text_encoder": _clip(CLIPTextModelWithProjection, folder / "text_encoder", dtype),
    }
    decoder: Any = KandinskyV22Pipeline(parts["unet"], _config(DDPMScheduler, folder / "scheduler"), parts["movq"])
    prior: Any = KandinskyV22PriorPipeline(
        prior=parts["prior"],
        image_encoder=encoder,
        text_encoder=parts["text_encoder"],
        tokenizer=_config(CLIPTokenizer, folder / "tokenizer"),
        scheduler=_config(UnCLIPScheduler, folder / "prior_scheduler"),
        image_processor=None,
    )

    def draw(embeds: Tensor, generators: list[torch.Generator], steps: int, on_step: OnStep) -> Tensor:
        images: Tensor = decoder(
            embeds,
            prior.get_zero_embed(len(embeds)),  # the negative embedding of guidance: a black image
            height=image_size,
            width=image_size,
            num_inference_steps=steps,
            generator=generators,
            output_type="pt",
            callback_on_step_end=step_end_callback(on_step),
        ).images
        return (images.float() + 1) / 2  # this pipeline returns tensors in [-1, 1]

    def read(texts: Sequence[str]) -> Tensor:
        generators = [torch.Generator().manual_seed(TEXT_SEED) for _ in texts]
        embeds: Tensor = prior(list(texts), generator=generators).image_embeds
        return embeds

    processor = _json(folder / "image_processor" / "preprocessor_config.json")
    return _quiet(Pretrained(image_size, encoder, processor, parts, draw, read), decoder, prior)


def _stable_unclip(folder: Path, image_size: int, dtype: torch.dtype) -> Pretrained:
    encoder = _clip(CLIPVisionModelWithProjection, folder / "image_encoder", dtype)
    parts = {
        "unet": _part(UNet2DConditionModel, folder / "unet", dtype),
        "vae": _part(AutoencoderKL, folder / "vae", dtype),
        "text_encoder": _clip(CLIPTextModel, folder / "text_encoder", dtype),
        "image_normalizer": _part(StableUnCLIPImageNormalizer, folder / "image_normalizer", dtype),
    }
    pipeline: Any = StableUnCLIPImg2ImgPipeline(
        **parts,
        image_encoder=encoder,
        feature_extractor=None,
        tokenizer=_config(CLIPTokenizer, folder / "tokenizer"),
        scheduler=_config(DPMSolverMultistepScheduler, folder / "scheduler"),
        image_noising_scheduler=_config(DDPMScheduler, folder / "image_noising_scheduler"),
    )

    def draw(embeds: Tensor, generators: list[torch.Generator], steps: int, on_step: OnStep) -> Tensor:
        images: Tensor = pipeline(
            prompt=[""] * len(embeds),
            image_embeds=embeds,
            noise_level=0,
            height=image_size,
            width=image_size,
            num_inference_steps=steps,
            generator=generators,
            output_type="pt",
            callback=lambda step, timestep, latents: on_step(),
            callback_steps=1,
        ).images
        return images

    processor = _json(folder / "feature_extractor" / "preprocessor_config.json")
    return _quiet(Pretrained(image_size, encoder, processor, parts, draw), pipeline)


def _ip_adapter(folder: Path, image_size: int, dtype: torch.dtype) -> Pretrained:
    encoder = _clip(CLIPVisionModelWithProjection, folder / "image_encoder", dtype)
    parts = {
        "unet": _part(UNet2DConditionModel, folder / "unet", dtype),
        "vae": _part(AutoencoderKL, folder / "vae", dtype),
        "text_encoder": _clip(CLIPTextModel, folder / "text_encoder", dtype),
    }
    pipeline: Any = StableDiffusionPipeline(
        **parts,
        tokenizer=_config(CLIPTokenizer, folder / "tokenizer"),
        scheduler=_config(DPMSolverMultistepScheduler, folder / "scheduler"),
        image_encoder=encoder,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.load_ip_adapter(
        str(folder),
        subfolder="",
        weight_name=ADAPTER,
        image_encoder_folder=None,
        local_files_only=True,
        low_cpu_mem_usage=False,
    )

    def draw_one(embed: Tensor, generator: torch.Generator, steps: int, on_step: OnStep) -> Tensor:
        image: Tensor = pipeline(
            prompt="",
            # The unconditional embedding is 0, as in the adapter's training.
            ip_adapter_image_embeds=[torch.stack([torch.zeros_like(embed), embed])[:, None]],  # (2, 1, dim)
            height=image_size,
            width=image_size,
            num_inference_steps=steps,
            generator=generator,
            output_type="pt",
            callback_on_step_end=step_end_callback(on_step),
        ).images[0]
        return image

    def draw(embeds: Tensor, generators: list[torch.Generator], steps: int, on_step: OnStep) -> Tensor:
        # One at a time: the pipeline conditions all images of a batch on the same embeddings.
        drawn = [draw_one(*each, steps, on_step) for each in zip(embeds, generators, strict=True)]
        return torch.stack(drawn)

    # The encoder is published without a processor; CLIP's own is the one it was trained with.
    processor = {"image_mean": OPENAI_CLIP_MEAN, "image_std": OPENAI_CLIP_STD}
    return _quiet(Pretrained(image_size, encoder, processor, parts, draw), pipeline)


PRETRAINED: dict[str, Callable[[Path, int, torch.dtype], Pretrained]] = {
    "kandinsky-2.2": _kandinsky,
    "stable-unclip": _stable_unclip,
    "ip-adapter": _ip_adapter,
}


def _part(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    return kind.from_pretrained(
        folder, torch_dtype=dtype, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False
    )


def _clip(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    return kind.from_pretrained(folder, dtype=dtype, use_safetensors=True, local_files_only=True)


def _config(kind: Any, folder: Path) -> Any:
    return kind.from_pretrained(folder, local_files_only=True)


def _json(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def _quiet(model: Pretrained, *pipelines: Any) -> Pretrained:
    for pipeline in pipelines:
        pipeline.set_progress_bar_config(disable=True)
    return model
