"""Text-to-image generation by latent diffusion, with diffusers pipelines: small models trained here and full-size ones.

Rombach et al. 2022, "High-resolution image synthesis with latent diffusion models".
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import (
    AutoencoderKL,
    AutoPipelineForImage2Image,
    AutoPipelineForInpainting,
    AutoPipelineForText2Image,
    DDIMScheduler,
    FluxImg2ImgPipeline,
    FluxInpaintPipeline,
    FluxPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from torch import Tensor, nn

from models.catalogue import CHECKPOINT, VAE
from models.clip import clip
from models.diffusion.autoencoders import GROUPS, autoencoder_kl
from models.diffusion.control import Control
from models.diffusion.embedding import HEAD_DIM, NOISE
from models.diffusion.prompts import embeddings, is_plain, n_chunks, reads_weights
from models.diffusion.schedulers import for_steps, make_scheduler
from models.diffusion.single_file import load_vae, pipeline_of_checkpoint
from models.tensors import seeded

Keep = Callable[[Any, int, Tensor], Tensor]  # (scheduler, evaluations left, latents) -> latents
T5_LENGTH = 256  # tokens; FLUX schnell was trained with no more


class TextToImageModel(nn.Module):
    """A diffusers pipeline as a module; its networks are submodules under the names that they have in the pipeline."""

    def __init__(self, pipeline: Any) -> None:
        super().__init__()
        pipeline.set_progress_bar_config(disable=True)
        self.pipeline: Any = pipeline
        self.scheduler: Any = pipeline.scheduler  # the model's own, which jobs replace in the pipeline
        for name, part in pipeline.components.items():
            if isinstance(part, nn.Module):
                self.add_module(name, part)

    @property
    def execution_device(self) -> torch.device:
        """The device that the model computes on; weights that do not fit may be elsewhere."""
        return torch.device(self.pipeline._execution_device)

    @cached_property
    def latent_colors(self) -> Tensor:
        """Linear map (channels + 1, 3) from the latents of a position and a 1 to its color in [0, 1], for previews.

        Fitted by least squares to images of smooth random colors and their latents.
        """
        vae, device = self.pipeline.vae, self.pipeline._execution_device
        colors = torch.rand(16, 3, 4, 4, generator=torch.Generator().manual_seed(0))
        images = F.interpolate(colors.to(device), 128, mode="bicubic").clamp(0, 1).to(vae.dtype)
        with torch.inference_mode():
            latents = vae.encode(2 * images - 1).latent_dist.mode()
        latents = (latents - (getattr(vae.config, "shift_factor", None) or 0)) * vae.config.scaling_factor
        small = F.interpolate(images, latents.shape[2:], mode="area")
        rows, targets = (part.movedim(1, 3).flatten(0, 2).float().cpu() for part in (latents, small))
        solution: Tensor = torch.linalg.lstsq(F.pad(rows, (0, 1), value=1.0), targets).solution
        return solution.to(device)


def load_text_to_image(folder: Path, dtype: torch.dtype = torch.float32) -> TextToImageModel:
    """Loads a full-size model from a folder in the layout of diffusers, or with a checkpoint instead of weights.

    Reads safetensors, json and word lists only. Raises OSError or ValueError if a part is missing or does not fit. No
    safety checker is loaded.
    """
    vae = load_vae(folder / VAE, dtype) if (folder / VAE).is_file() else None
    if (folder / CHECKPOINT).is_file():
        pipeline = pipeline_of_checkpoint(folder / CHECKPOINT, dtype, vae)
    else:
        pipeline = _pipeline_of(folder, dtype, vae)
    if not isinstance(getattr(pipeline, "vae", None), AutoencoderKL):
        raise ValueError(f"{type(pipeline).__name__} has no AutoencoderKL, which previews and tiles need")
    # Decodes one image of a batch at a time, and large images in tiles: decoding needs the most memory.
    pipeline.vae.enable_slicing()
    pipeline.vae.enable_tiling()
    return TextToImageModel(pipeline)


def _pipeline_of(folder: Path, dtype: torch.dtype, vae: AutoencoderKL | None) -> Any:
    return AutoPipelineForText2Image.from_pretrained(
        folder,
        torch_dtype=dtype,
        use_safetensors=True,
        local_files_only=True,
        **({"safety_checker": None, "feature_extractor": None} if _has_checker(folder) else {}),
        **({"vae": vae} if vae else {}),
    )


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
    """Builds an untrained model.

    block_out_channels: multiples of 32. text: the arguments of `models.clip.clip`, whose text tower is used.
    autoencoder: the arguments of `autoencoder_kl`.
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
        attention_head_dim=tuple(width // HEAD_DIM for width in block_out_channels),  # numbers of heads
        cross_attention_dim=text["hidden_size"],
    )
    texts = clip(**text)
    return assembled(texts.tokenizer, texts.model.text_model, unet, autoencoder_kl(**autoencoder))


def assembled(tokenizer: Any, text_encoder: nn.Module, unet: nn.Module, vae: nn.Module) -> TextToImageModel:
    """Assembles the parts of a small model in a Stable Diffusion pipeline."""
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
    scheduler: str | None = None,
    eta: float = 0.0,
    clip_skip: int = 0,
    control: Control | None = None,
    image_prompt: Tensor | None = None,
    on_step: Callable[[int, Tensor], None] = lambda step, latents: None,
) -> Tensor:
    """Generates images (n, 3, height, width) in [0, 1], one for each prompt and seed.

    An image does not depend on its batch, up to rounding. images: initial images (n, 3, height, width) in [0, 1],
    noised for the last `strength` of the steps (Meng et al. 2022, "SDEdit"). masks: (n, 1, height, width), the share of
    the generated image in each pixel: latents change where it is above 0, pixels at 0 stay exact; without masks
    everything changes. scheduler: by name, by default the model's own. eta: share of DDPM's noise that each step of
    DDIM adds. clip_skip: last layers of CLIP that are not used. control: a ControlNet and an image for each prompt.
    image_prompt: embeddings of an image for an adapter on the model, see `models.diffusion.image_prompt`. `on_step` is
    called with the number of each step, from 1, and the latents, and may raise to stop; a step may be two evaluations
    of the network.
    """
    start = _controlled(model.pipeline, control) if control else model.pipeline
    pipeline, arguments = _pipeline(start, images, masks, strength, (width, height), num_inference_steps)
    if control:
        arguments |= {"image" if images is None else "control_image": control.images, **control.arguments()}
    if image_prompt is not None:
        arguments |= {"ip_adapter_image_embeds": [image_prompt]}
    own = model.scheduler
    steps = num_inference_steps
    pipeline.scheduler = make_scheduler(scheduler, own.config, steps, seeds) if scheduler else for_steps(own, steps)
    n_steps = num_inference_steps if images is None else int(num_inference_steps * strength)
    keep = None
    if images is not None and masks is not None and not isinstance(model.pipeline, FluxPipeline):
        keep = _keeper(pipeline, images, masks, seeds)
    generated: Tensor = pipeline(
        **_texts(pipeline, prompts, negative_prompts, clip_skip),
        **arguments,
        **({"eta": eta} if eta else {}),
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        generator=[seeded(seed) for seed in seeds],
        output_type="pt",
        callback_on_step_end=_step_end_callback(on_step, n_steps, (width, height), keep),
    ).images.float()
    return generated if images is None or masks is None else _pasted(generated, images, masks)


def _step_end_callback(
    on_step: Callable[[int, Tensor], None], n_steps: int, size: tuple[int, int], keep: Keep | None
) -> Callable[..., dict[str, Tensor]]:
    """Returns what a pipeline calls after each evaluation: it keeps latents, and reports one of `n_steps` steps."""

    def on_step_end(pipeline: Any, step: int, timestep: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        evaluated, n_evaluations, factor = step + 1, pipeline.num_timesteps, pipeline.vae_scale_factor
        if keep:
            tensors["latents"] = keep(pipeline.scheduler, n_evaluations - evaluated, tensors["latents"])
        latents = tensors["latents"]
        if isinstance(pipeline, FluxPipeline | FluxImg2ImgPipeline | FluxInpaintPipeline):  # 2 x 2 positions per token
            latents = FluxPipeline._unpack_latents(latents, size[1], size[0], factor)
        done = evaluated * n_steps // n_evaluations
        if done > step * n_steps // n_evaluations:
            on_step(done, latents)
        return tensors

    return on_step_end


def _pasted(generated: Tensor, images: Tensor, masks: Tensor) -> Tensor:
    """Copies the pixels outside the masks from the images: encoding and decoding changes every pixel."""
    return torch.lerp(images.to(generated), generated, masks.to(generated))


def _controlled(pipeline: Any, control: Control) -> Any:
    controlled: Any = AutoPipelineForText2Image.from_pipe(pipeline, controlnet=control.network)
    controlled.set_progress_bar_config(disable=True)
    return controlled


def _pipeline(
    pipeline: Any,
    images: Tensor | None,
    masks: Tensor | None,
    strength: float,
    size: tuple[int, int],
    num_inference_steps: int,
) -> tuple[Any, dict[str, Any]]:
    """Returns the pipeline for the task (text to image, image to image, inpainting) and its arguments."""
    packed = isinstance(pipeline, FluxPipeline)
    arguments: dict[str, Any] = {"width": size[0], "height": size[1]}
    if packed:
        arguments |= {"max_sequence_length": T5_LENGTH}
    if images is None:
        return pipeline, arguments
    inpaints = packed and masks is not None
    pipeline = (AutoPipelineForInpainting if inpaints else AutoPipelineForImage2Image).from_pipe(pipeline)
    pipeline.set_progress_bar_config(disable=True)
    # FLUX rounds the number of steps up and needs the size; the others round it down and use the image's size.
    steps = int(num_inference_steps * strength)
    arguments = arguments | {"strength": steps / num_inference_steps} if packed else {"strength": strength}
    arguments |= {"image": images} | ({"mask_image": (masks > 0).float()} if inpaints and masks is not None else {})
    return pipeline, arguments


def _texts(
    pipeline: Any, prompts: Sequence[str], negative_prompts: Sequence[str] | None, clip_skip: int
) -> dict[str, Any]:
    """Returns the pipeline's arguments for the prompts: texts, or embeddings if it cannot encode one of them itself."""
    every = [*prompts, *(negative_prompts or ())]
    # With `clip_skip` itself, the pipeline of Stable Diffusion reads negative prompts with all layers.
    if reads_weights(pipeline) and (clip_skip or not all(is_plain(pipeline, prompt) for prompt in every)):
        return embeddings(pipeline, prompts, negative_prompts or [""] * len(prompts), clip_skip)
    return {"prompt": list(prompts)} | ({"negative_prompt": list(negative_prompts)} if negative_prompts else {})


def _keeper(pipeline: Any, images: Tensor, masks: Tensor, seeds: Sequence[int]) -> Keep:
    """Returns a function that resets latents outside the masks to the images' latents, noised for the next evaluation.

    As in StableDiffusionInpaintPipeline (Lugmayr et al. 2022, "RePaint", eq. 8, without its resampling), which supports
    latents with four channels only.
    """
    vae, device = pipeline.vae, pipeline._execution_device
    clean = vae.encode((2 * images - 1).to(device, vae.dtype)).latent_dist.mode() * vae.config.scaling_factor
    noise = torch.stack([torch.randn(clean.shape[1:], generator=seeded(seed)) for seed in seeds])
    noise, anew = noise.to(clean), F.interpolate(masks.to(clean), clean.shape[2:], mode="area") > 0

    def keep(scheduler: Any, n_left: int, latents: Tensor) -> Tensor:
        if n_left and not getattr(scheduler, "state_in_first_order", True):
            return latents  # between the two evaluations of a step
        kept = scheduler.add_noise(clean, noise, scheduler.timesteps[-n_left:][:1]) if n_left else clean
        return torch.where(anew, latents, kept.to(latents))

    return keep


def chunks(model: TextToImageModel, *prompts: str) -> int:
    """Number of chunks of tokens that the longest of some prompts takes; images of one batch need the same number.

    Raises ValueError for a weighted prompt that cannot be parsed.
    """
    if not reads_weights(model.pipeline):
        return 1
    return max(n_chunks(model.pipeline, prompt) for prompt in prompts)


def cut_off(model: TextToImageModel, prompt: str, *, chunked: bool = True) -> str:
    """Returns the end of a prompt that exceeds the text encoder's length.

    chunked: whether longer prompts are read in chunks, where the encoder is CLIP.
    """
    pipeline: Any = model.pipeline
    if chunked and reads_weights(pipeline):
        return ""
    tokenizer, length = pipeline.tokenizer, pipeline.tokenizer.model_max_length
    if isinstance(model.pipeline, FluxPipeline):
        tokenizer, length = pipeline.tokenizer_2, T5_LENGTH
    token_ids = tokenizer(prompt, verbose=False).input_ids
    if len(token_ids) <= length:
        return ""
    # The last token marks the end and is always kept.
    text: str = tokenizer.decode(token_ids[length - 1 : -1])
    return text


def preview(latents: Tensor, colors: Tensor) -> Tensor:
    """Maps latents (n, channels, h, w) to small images (n, 3, h, w) in [0, 1]; colors: `latent_colors` of the model."""
    rows = F.pad(latents.movedim(1, 3).float(), (0, 1), value=1.0)
    return (rows @ colors).movedim(3, 1).clamp(0, 1)
