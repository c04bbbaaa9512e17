"""Text to images by latent diffusion, with the pipelines of diffusers: small models trained here, and full-size ones.

Rombach et al. 2022, "High-resolution image synthesis with latent diffusion models".
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from diffusers import (
    AutoencoderKL,
    AutoPipelineForImage2Image,
    AutoPipelineForInpainting,
    AutoPipelineForText2Image,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FluxPipeline,
    LCMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
)
from torch import Tensor, nn

from models.clip import clip
from models.diffusion.autoencoders import GROUPS, autoencoder_kl
from models.diffusion.embedding import HEAD_DIM, NOISE
from models.diffusion.prompts import embeddings, is_weighted, reads_weights, unweighted
from models.seeds import seeded

SchedulerName = Literal["ddim", "euler", "dpm-solver++", "unipc", "lcm"]
SCHEDULERS: dict[str, Any] = {
    "ddim": DDIMScheduler,
    "euler": EulerDiscreteScheduler,
    "dpm-solver++": DPMSolverMultistepScheduler,
    "unipc": UniPCMultistepScheduler,
    "lcm": LCMScheduler,
}
T5_LENGTH = 256  # tokens; FLUX schnell was trained with no more


class TextToImageModel(nn.Module):
    """A pipeline of diffusers as a module: its networks are the module's, under the names the pipeline has for them."""

    def __init__(self, pipeline: Any) -> None:
        super().__init__()
        pipeline.set_progress_bar_config(disable=True)
        self.pipeline: Any = pipeline
        for name, part in pipeline.components.items():
            if isinstance(part, nn.Module):
                self.add_module(name, part)

    @cached_property
    def latent_colors(self) -> Tensor:
        """The linear map (channels + 1, 3) from a place's latents and a 1 to its color in [0, 1], for fast previews.

        Of least squares on images of soft random colors, which its own encoder turns into latents.
        """
        vae, device = self.pipeline.vae, self.pipeline._execution_device
        colors = torch.rand(16, 3, 4, 4, generator=torch.Generator().manual_seed(0))
        images = F.interpolate(colors.to(device), 128, mode="bicubic").clamp(0, 1).to(vae.dtype)
        with torch.inference_mode():
            latents = vae.encode(2 * images - 1).latent_dist.mode()
        latents = (latents - (getattr(vae.config, "shift_factor", None) or 0)) * vae.config.scaling_factor
        small = F.interpolate(images, latents.shape[2:], mode="area")
        rows, targets = (part.movedim(1, 3).flatten(0, 2).float().cpu() for part in (latents, small))
        found: Tensor = torch.linalg.lstsq(F.pad(rows, (0, 1), value=1.0), targets).solution
        return found.to(device)


def load_text_to_image(folder: Path, dtype: torch.dtype = torch.float32) -> TextToImageModel:
    """A full-size model from its folder, laid out as diffusers publishes pipelines; safetensors and json only.

    Raises OSError or ValueError where a part is missing or does not fit. No safety checker is loaded.
    """
    pipeline: Any = AutoPipelineForText2Image.from_pretrained(
        folder,
        torch_dtype=dtype,
        use_safetensors=True,
        local_files_only=True,
        **({"safety_checker": None, "feature_extractor": None} if _has_checker(folder) else {}),
    )
    if not isinstance(getattr(pipeline, "vae", None), AutoencoderKL):
        raise ValueError(f"{type(pipeline).__name__} has no AutoencoderKL, which previews and tiles need")
    # One image of a batch at a time, and of larger ones than it was trained on a tile: decoding takes most memory.
    pipeline.vae.enable_slicing()
    pipeline.vae.enable_tiling()
    return TextToImageModel(pipeline)


def _has_checker(folder: Path) -> bool:
    index: dict[str, Any] = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    return "safety_checker" in index


def stable_diffusion(
    block_out_channels: Sequence[int],
    layers_per_block: int,
    image_size: int,
    text: Mapping[str, Any],
    autoencoder: Mapping[str, Any],
) -> TextToImageModel:
    """An untrained one; widths are multiples of 32.

    text, autoencoder: the arguments of `models.clip.clip`, of which the text tower is used, and of `autoencoder_kl`.
    """
    depth, latent_channels = len(block_out_channels), autoencoder["latent_channels"]
    unet: Any = UNet2DConditionModel(
        sample_size=image_size // 2 ** (len(autoencoder["block_out_channels"]) - 1),
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=tuple(block_out_channels),
        layers_per_block=layers_per_block,
        norm_num_groups=GROUPS,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * (depth - 1),
        up_block_types=("CrossAttnUpBlock2D",) * (depth - 1) + ("UpBlock2D",),
        attention_head_dim=tuple(width // HEAD_DIM for width in block_out_channels),  # diffusers means the heads by it
        cross_attention_dim=text["hidden_size"],
    )
    texts = clip(**text)
    return assembled(texts.tokenizer, texts.model.text_model, unet, autoencoder_kl(**autoencoder))


def assembled(tokenizer: Any, text_encoder: nn.Module, unet: nn.Module, vae: nn.Module) -> TextToImageModel:
    """The parts of a small model in the pipeline of Stable Diffusion."""
    return TextToImageModel(
        StableDiffusionPipeline(
            vae,
            text_encoder,
            tokenizer,
            unet,
            DDIMScheduler(**NOISE, steps_offset=1),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    )


def generate(
    model: TextToImageModel,
    prompts: Sequence[str],
    *,
    seeds: Sequence[int],
    negative_prompts: Sequence[str] | None = None,
    images: Tensor | None = None,
    masks: Tensor | None = None,
    strength: float = 0.8,
    width: int,
    height: int,
    num_inference_steps: int = 25,
    guidance_scale: float = 4.0,
    scheduler: SchedulerName | None = None,
    on_step: Callable[[int, Tensor], None] = lambda step, latents: None,
) -> Tensor:
    """Images (n, 3, height, width) in [0, 1], one for each prompt and seed, the same alone and in any batch, nearly.

    images: what to start from, (n, 3, height, width) in [0, 1], with the noise of the last `strength` of the steps
    (Meng et al. 2022, "SDEdit"). masks: (n, 1, height, width), the share of what is made anew in each pixel: latents
    change where it is above 0, what is 0 stays exact. Without masks the whole changes.
    scheduler: by name; the model's own when absent. `on_step` is called with the number of each step, from 1, and the
    latents, and may raise to stop.
    """
    pipeline, packed = model.pipeline, isinstance(model.pipeline, FluxPipeline)
    given: dict[str, Any] = {"width": width, "height": height}
    if packed:
        given |= {"max_sequence_length": T5_LENGTH}
    if images is not None:
        inpaints = packed and masks is not None
        pipeline = (AutoPipelineForInpainting if inpaints else AutoPipelineForImage2Image).from_pipe(pipeline)
        pipeline.set_progress_bar_config(disable=True)
        # FLUX rounds the steps up and needs the size; the others round them down and have the image's.
        steps = int(num_inference_steps * strength)
        given = given | {"strength": steps / num_inference_steps} if packed else {"strength": strength}
        given |= {"image": images} | ({"mask_image": (masks > 0).float()} if inpaints and masks is not None else {})
    if scheduler:
        pipeline.scheduler = _scheduler(scheduler, model.pipeline.scheduler.config, num_inference_steps)
    keep = None
    if images is not None and masks is not None and not packed:
        keep = _keeper(pipeline, images, masks, seeds)

    def on_step_end(pipeline: Any, step: int, timestep: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        if keep:
            tensors["latents"] = keep(pipeline.scheduler, timestep, tensors["latents"])
        latents = tensors["latents"]
        if packed:  # two by two places to a token
            latents = FluxPipeline._unpack_latents(latents, height, width, pipeline.vae_scale_factor)
        on_step(step + 1, latents)
        return tensors

    made: Tensor = pipeline(
        **_texts(pipeline, prompts, negative_prompts),
        **given,
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        generator=[seeded(seed) for seed in seeds],
        output_type="pt",
        callback_on_step_end=on_step_end,
    ).images
    made = made.float()
    if images is None or masks is None:
        return made
    # The way to latents and back changes every pixel.
    return torch.lerp(images.to(made), made, masks.to(made))


def _scheduler(name: SchedulerName, config: Any, num_inference_steps: int) -> Any:
    if name != "lcm":
        return SCHEDULERS[name].from_config(config)
    # LCM takes its steps from those it was distilled with, 50 unless said, which must divide the training's.
    total = config["num_train_timesteps"]
    original = next(n for n in range(min(max(50, num_inference_steps), total), total + 1) if total % n == 0)
    return SCHEDULERS[name].from_config(config, original_inference_steps=original)


def _texts(pipeline: Any, prompts: Sequence[str], negative_prompts: Sequence[str] | None) -> dict[str, Any]:
    """The prompts as the pipeline takes them: texts, or their embeddings where one of them is weighted."""
    every = [*prompts, *(negative_prompts or ())]
    if reads_weights(pipeline) and any(is_weighted(prompt) for prompt in every):
        negative = embeddings(pipeline, negative_prompts, "negative_") if negative_prompts else {}
        return embeddings(pipeline, prompts) | negative
    return {"prompt": list(prompts)} | ({"negative_prompt": list(negative_prompts)} if negative_prompts else {})


def _keeper(
    pipeline: Any, images: Tensor, masks: Tensor, seeds: Sequence[int]
) -> Callable[[Any, Tensor, Tensor], Tensor]:
    """What brings latents outside the masks back to the images', as noisy as they have to be after a timestep.

    As StableDiffusionInpaintPipeline does (Lugmayr et al. 2022, "RePaint", eq. 8, without its resampling), which takes
    latents of four channels only.
    """
    vae, device = pipeline.vae, pipeline._execution_device
    clean = vae.encode((2 * images - 1).to(device, vae.dtype)).latent_dist.mode() * vae.config.scaling_factor
    noise = torch.stack([torch.randn(clean.shape[1:], generator=seeded(seed)) for seed in seeds])
    noise, anew = noise.to(clean), F.interpolate(masks.to(clean), clean.shape[2:], mode="area") > 0

    def keep(scheduler: Any, timestep: Tensor, latents: Tensor) -> Tensor:
        later = scheduler.timesteps[scheduler.timesteps < timestep][:1]
        kept = scheduler.add_noise(clean, noise, later) if len(later) else clean
        return torch.where(anew, latents, kept.to(latents))

    return keep


def cut_off(model: TextToImageModel, prompt: str) -> str:
    """The end of a prompt that the text encoder does not read; empty where it reads all.

    Raises ValueError for a weighted prompt that cannot be read.
    """
    pipeline: Any = model.pipeline
    tokenizer, length = pipeline.tokenizer, pipeline.tokenizer.model_max_length
    if isinstance(model.pipeline, FluxPipeline):
        tokenizer, length = pipeline.tokenizer_2, T5_LENGTH
    if reads_weights(pipeline) and is_weighted(prompt):
        prompt = unweighted(prompt)
    token_ids = tokenizer(prompt, verbose=False).input_ids
    if len(token_ids) <= length:
        return ""
    # The last one is the end, which is always read.
    text: str = tokenizer.decode(token_ids[length - 1 : -1])
    return text


def preview(latents: Tensor, colors: Tensor) -> Tensor:
    """Small images (n, 3, h, w) in [0, 1] of latents (n, channels, h, w), by the map `latent_colors`."""
    rows = F.pad(latents.movedim(1, 3).float(), (0, 1), value=1.0)
    return (rows @ colors).movedim(3, 1).clamp(0, 1)
