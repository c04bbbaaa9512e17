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


class EarlyScheduler(DDPMScheduler):
    """A DDPM scheduler whose steps are spread from the noisiest timestep to `last_timestep`, and end there.

    The last step returns the estimate of the clean latents, whose last details a decoder adds that was trained on such
    estimates.
    """

    last_timestep = 0

    def set_timesteps(self, num_inference_steps: Any = None, device: Any = None, timesteps: Any = None) -> None:
        """Spreads the timesteps, as pipelines ask for it."""
        parent: Any = super()
        scheduler: Any = self
        noisiest = scheduler.config.num_train_timesteps - 1
        spread = torch.linspace(noisiest, self.last_timestep, num_inference_steps).round().int().tolist()
        parent.set_timesteps(device=device, timesteps=spread)


class Kandinsky(nn.Module):
    """An image-embedding model: `clip` and `prior` make image_embeds (n, dim), `unet` and `movq` decode them.

    The prior of a text is linear and predicts the mean embedding of its images; in Ramesh et al. 2022, "Hierarchical
    text-conditional image generation with CLIP latents", section 2.2, a network samples one embedding instead.
    Sampling has `num_inference_steps` with `guidance_scale`, and ends at `last_timestep`.
    """

    def __init__(
        self,
        clip: Clip,
        prior: nn.Linear,
        unet: nn.Module,
        movq: nn.Module,
        *,
        guidance_scale: float = 2.0,
        num_inference_steps: int = 25,
        last_timestep: int = 0,
    ) -> None:
        super().__init__()
        self.guidance_scale, self.num_inference_steps = guidance_scale, num_inference_steps
        self.last_timestep = last_timestep
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
        kind: Any = EarlyScheduler if self.last_timestep else DDPMScheduler
        scheduler = kind(**NOISE)
        scheduler.last_timestep = self.last_timestep
        pipeline: Any = KandinskyV22Pipeline(self.unet, scheduler, self.movq)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def estimate(self, noisy: Tensor, timesteps: Tensor, image_embeds: Tensor) -> Tensor:
        """Estimates latents from noisy ones (n, channels, h, w) at timesteps (n,) with guidance: predicted x0."""
        embeds = torch.cat([torch.zeros_like(image_embeds), image_embeds])
        condition = {"image_embeds": embeds}
        predicted = self.unet(torch.cat([noisy] * 2), torch.cat([timesteps] * 2), None, added_cond_kwargs=condition)
        without, given = predicted.sample[:, : noisy.shape[1]].float().chunk(2)
        velocity = without + self.guidance_scale * (given - without)
        scheduler: Any = DDPMScheduler(**NOISE)
        signal = scheduler.alphas_cumprod.to(noisy.device)[timesteps][:, None, None, None]
        estimated: Tensor = signal.sqrt() * noisy - (1 - signal).sqrt() * velocity
        return estimated

    def decode(
        self,
        image_embeds: Tensor,
        *,
        seeds: Sequence[int],
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        on_step: Callable[[], None] = lambda: None,
    ) -> Tensor:
        """Decodes embeddings (n, dim) to images (n, 3, image_size, image_size) in [0, 1].

        seeds: one for each image; an image does not depend on its batch, up to rounding. num_inference_steps,
        guidance_scale: the model's if absent. `on_step` is called after each denoising step and may raise to stop.
        """
        side = self.image_size // getattr(self.movq, "patch_size", 1)
        images: Tensor = self.pipeline()(
            image_embeds,
            torch.zeros_like(image_embeds),  # the unconditional embedding that the UNet was trained with
            height=side,
            width=side,
            num_inference_steps=num_inference_steps or self.num_inference_steps,
            guidance_scale=self.guidance_scale if guidance_scale is None else guidance_scale,
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
    block_out_channels: Sequence[int],
    layers_per_block: int,
    clip: Mapping[str, Any],
    autoencoder: Mapping[str, Any],
    **sampling: Any,
) -> Kandinsky:
    """Builds an untrained model.

    block_out_channels: multiples of 32. clip, autoencoder: the arguments of `models.clip.clip` and of `movq`. sampling:
    arguments of `Kandinsky` where they are not the defaults.
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
    return Kandinsky(embedder, prior, unet, movq(**autoencoder), **sampling)
