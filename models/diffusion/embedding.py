"""Image embeddings and their decoder in the layout of Kandinsky 2.2: a CLIP, and a UNet over the latents of a MoVQ.

Razzhigaev et al. 2023, "Kandinsky: an improved text-to-image synthesis with image prior and latent diffusion"; Zheng et
al. 2022, "MoVQ: modulating quantized vectors for high-fidelity image generation".
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, KandinskyV22Pipeline, UNet2DConditionModel
from torch import Tensor, nn

from models.clip import Clip
from models.clip import clip as small_clip
from models.diffusion.autoencoders import movq
from models.tensors import seeded

HEAD_DIM = 32
# As Kandinsky 2.2, with two differences. Trailing timestep spacing: few steps must start at the last timestep, where
# almost no signal is left. v-prediction: from pure noise, an error of predicted noise is fourteen times as large in the
# image, and colors would need days of training (Salimans and Ho 2022, section 4).
NOISE = {
    "prediction_type": "v_prediction",
    "num_train_timesteps": 1000,
    "beta_schedule": "linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "clip_sample": False,
    "timestep_spacing": "trailing",
}


class Kandinsky(nn.Module):
    """An image-embedding model: `clip` and `prior` make image_embeds (n, dim), `unet` and `movq` decode them.

    The prior of a text is linear and predicts the mean embedding of its images; in Ramesh et al. 2022, "Hierarchical
    text-conditional image generation with CLIP latents", section 2.2, a network samples one embedding instead.
    """

    def __init__(self, clip: Clip, prior: nn.Linear, unet: nn.Module, movq: nn.Module) -> None:
        super().__init__()
        self.clip = clip
        self.prior = prior
        self.unet: Any = unet
        self.movq: Any = movq

    @property
    def dim(self) -> int:
        """Number of values of an embedding."""
        return self.clip.dim

    @property
    def image_size(self) -> int:
        """Side in pixels of decoded images and of images to encode."""
        return self.clip.image_size

    def encode_images(self, images: Tensor) -> Tensor:
        """Encodes images (n, 3, image_size, image_size) in [0, 1] as image_embeds (n, dim)."""
        return self.clip.encode_images(images)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Returns the mean image_embeds (n, dim) of images with these texts; raises TextTooLongError."""
        self.clip.check_length(texts)
        token_ids = self.clip.tokenize(texts).to(self.prior.weight.device)
        embeds: Tensor = self.prior(F.normalize(self.clip.encode_texts(token_ids)))
        return embeds.float()

    def pipeline(self) -> Any:
        """Returns the diffusers pipeline over these parts."""
        pipeline: Any = KandinskyV22Pipeline(self.unet, DDPMScheduler(**NOISE), self.movq)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def decode(
        self,
        image_embeds: Tensor,
        *,
        seeds: Sequence[int],
        num_inference_steps: int = 25,
        guidance_scale: float = 2.0,
        on_step: Callable[[], None] = lambda: None,
    ) -> Tensor:
        """Decodes embeddings (n, dim) to images (n, 3, image_size, image_size) in [0, 1].

        seeds: one for each image; an image does not depend on its batch, up to rounding. `on_step` is called after each
        denoising step and may raise to stop.
        """
        side = self.image_size // getattr(self.movq, "patch_size", 1)
        images: Tensor = self.pipeline()(
            image_embeds,
            torch.zeros_like(image_embeds),  # the unconditional embedding that the UNet was trained with
            height=side,
            width=side,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            generator=[seeded(seed) for seed in seeds],
            output_type="pt",
            callback_on_step_end=step_end_callback(on_step),
        ).images
        return ((images.float() + 1) / 2).clamp(0, 1)  # the pipeline leaves tensors in [-1, 1]


def step_end_callback(on_step: Callable[[], None]) -> Callable[..., dict[str, Tensor]]:
    """Wraps `on_step` as the `callback_on_step_end` of diffusers pipelines."""

    def on_step_end(pipeline: Any, step: int, timestep: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        on_step()
        return tensors

    return on_step_end


def kandinsky(
    block_out_channels: Sequence[int], layers_per_block: int, clip: Mapping[str, Any], autoencoder: Mapping[str, Any]
) -> Kandinsky:
    """Builds an untrained model.

    block_out_channels: multiples of 32. clip, autoencoder: the arguments of `models.clip.clip` and of `movq`.
    """
    embedder = small_clip(**clip)
    depth, latent_channels = len(block_out_channels), autoencoder["latent_channels"]
    patch_size = autoencoder.get("patch_size", 1)
    unet: Any = UNet2DConditionModel(
        sample_size=embedder.image_size // patch_size // 2 ** (len(autoencoder["block_out_channels"]) - 1),
        in_channels=latent_channels,
        # One half is the prediction, the other a variance, which the pipeline drops because its scheduler learns none.
        out_channels=2 * latent_channels,
        block_out_channels=tuple(block_out_channels),
        layers_per_block=layers_per_block,
        down_block_types=("ResnetDownsampleBlock2D",) + ("SimpleCrossAttnDownBlock2D",) * (depth - 1),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D",) * (depth - 1) + ("ResnetUpsampleBlock2D",),
        resnet_time_scale_shift="scale_shift",
        attention_head_dim=HEAD_DIM,
        addition_embed_type="image",
        encoder_hid_dim_type="image_proj",
        encoder_hid_dim=embedder.dim,
        cross_attention_dim=2 * HEAD_DIM,
    )
    prior = nn.Linear(embedder.dim, embedder.dim)
    return Kandinsky(embedder, prior, unet, movq(**autoencoder))
