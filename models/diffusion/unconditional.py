"""Denoising diffusion without prompts, of pixels or of latents, with the UNet and the schedulers of diffusers.

Ho, Jain and Abbeel 2020, "Denoising diffusion probabilistic models"; Song, Meng and Ermon 2021, "Denoising diffusion
implicit models"; Lu et al. 2022, "DPM-Solver++"; Rombach et al. 2022, "High-resolution image synthesis with latent
diffusion models"; Ho and Salimans 2022, "Classifier-free diffusion guidance".
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, UNet2DModel
from torch import Tensor, nn

from models.diffusion.autoencoders import autoencoder_kl, decoded_images
from models.errors import AttributesNotFoundError
from models.tensors import seeded

SchedulerName = Literal["ddpm", "ddim", "dpm-solver++"]
MAX_ATTRIBUTE_ROWS = 1024  # images of the training data whose attributes are stored with the model
# Nichol and Dhariwal 2021: the cosine schedule wastes fewer steps on pure noise than the linear one.
NOISE = {"num_train_timesteps": 1000, "beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}


class Ddpm(nn.Module):
    """A UNet over blocks of x (n, *shape): images in [-1, 1] of one size, or the latents of an autoencoder.

    x is folded into blocks of `patch_size` before the UNet and unfolded after it. The folding is a permutation, so the
    diffusion process is the same, and each step costs `patch_size`^2 times less.

    block_out_channels: multiples of 8. autoencoder: arguments of `autoencoder_kl`, for RGB images; None for a model of
    pixels. attributes: names of the attributes that the UNet is conditioned on, besides the timestep; samples get those
    of a training image, see `draw`.
    """

    def __init__(
        self,
        image_size: int,
        channels: int,
        block_out_channels: Sequence[int],
        layers_per_block: int,
        patch_size: int,
        autoencoder: Mapping[str, Any] | None = None,
        attributes: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if any(width % 8 for width in block_out_channels):
            raise ValueError(f"block_out_channels must be multiples of 8, got {list(block_out_channels)}")
        depth = len(block_out_channels)
        self.vae: Any = autoencoder_kl(**autoencoder) if autoencoder else None
        if autoencoder:
            channels = autoencoder["latent_channels"]
            image_size //= 2 ** (len(autoencoder["block_out_channels"]) - 1)
        self.shape, self.patch_size = (channels, image_size, image_size), patch_size
        # The UNet halves its input once per level: images of 28 pixels are padded to 32.
        unit = patch_size * 2 ** (depth - 1)
        self.padding = -image_size % unit
        unet: Any = UNet2DModel(
            sample_size=(image_size + self.padding) // patch_size,
            in_channels=channels * patch_size**2,
            out_channels=channels * patch_size**2,
            block_out_channels=tuple(block_out_channels),
            layers_per_block=layers_per_block,
            down_block_types=("DownBlock2D",) * (depth - 1) + ("AttnDownBlock2D",),
            up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * (depth - 1),
            norm_num_groups=8,
            attention_head_dim=min(32, block_out_channels[-1]),
            class_embed_type="identity" if attributes else None,
        )
        self.attributes = tuple(attributes)
        if attributes:
            # An image has several attributes, whose embeddings are summed and added to that of the timestep. They
            # start at zero, so that a new attribute changes nothing yet.
            embedding = nn.Linear(len(attributes), 4 * block_out_channels[0])
            nn.init.zeros_(embedding.weight)
            nn.init.zeros_(embedding.bias)
            unet.class_embedding = embedding
            self.rows: Tensor
            self.register_buffer("rows", pack_attributes(torch.zeros(MAX_ATTRIBUTE_ROWS, len(attributes))))
        self.unet = unet

    def forward(self, noisy: Tensor, timesteps: Tensor, attributes: Tensor | None = None) -> Tensor:
        """Predicts v = sqrt(alpha_bar) noise - sqrt(1 - alpha_bar) x_0, of the shape of `noisy`.

        attributes: (n, k), 1 for an attribute that an image has, -1 for one that it lacks, 0 for one not given; None
        gives none.
        """
        if attributes is None and self.attributes:
            attributes = noisy.new_zeros(len(noisy), len(self.attributes))
        before = self.padding // 2
        pad = (before, self.padding - before) * 2
        folded = F.pixel_unshuffle(F.pad(noisy, pad), self.patch_size)
        predicted: Tensor = self.unet(folded, timesteps, attributes).sample
        unfolded = F.pixel_shuffle(predicted.float(), self.patch_size)
        size = self.shape[-1]
        return unfolded[..., before : before + size, before : before + size]

    @property
    def latent_dim(self) -> int:
        """Number of values of the starting noise."""
        return math.prod(self.shape)

    def encode(self, images: Tensor) -> Tensor:
        """Encodes images (n, channels, h, w) in [0, 1] as clean x (n, *shape)."""
        signed = 2 * images - 1
        return self.vae.encode(signed).latent_dist.mode() if self.vae else signed

    def decode(self, x: Tensor) -> Tensor:
        """Decodes clean x (n, *shape) to images (n, channels, h, w) in about [0, 1]."""
        return decoded_images(self.vae, x) if self.vae else (x + 1) / 2

    def draw(self, generators: Sequence[torch.Generator], wanted: Sequence[str] = ()) -> tuple[Tensor, Tensor | None]:
        """Draws the starting noise (n, *shape) and the attributes (n, k) of -1 and 1 of each generator's image.

        An image does not depend on its batch; pass the same generators on to `sample`. The attributes are those of a
        random training image that has every `wanted` one, so that they occur together as in the training data; None for
        a model without attributes. Raises AttributesNotFoundError if none of the `MAX_ATTRIBUTE_ROWS` images has all.
        """
        noise = torch.stack([torch.randn(self.shape, generator=generator) for generator in generators])
        if not self.attributes:
            return noise, None
        rows = unpack_attributes(self.rows.cpu(), len(self.attributes))
        rows = rows[(rows[:, [self.attributes.index(name) for name in wanted]] > 0).all(1)]
        if not len(rows):
            message = f"none of {MAX_ATTRIBUTE_ROWS:,} images of the training data has {', '.join(wanted)} at once"
            raise AttributesNotFoundError(message)
        return noise, rows[[int(torch.randint(len(rows), (), generator=generator)) for generator in generators]]


def generators_of(seeds: Iterable[int]) -> list[torch.Generator]:
    """Returns a generator for each seed."""
    return [seeded(seed) for seed in seeds]


def pack_attributes(rows: Tensor) -> Tensor:
    """Packs attributes (n, k) into uint8 (n, ceil(k / 8)): a bit is set for a value above 0, lowest bit first."""
    bits = F.pad(rows > 0, (0, -rows.shape[1] % 8)).unflatten(1, (-1, 8))
    codes: Tensor = (bits << torch.arange(8)).sum(-1).byte()
    return codes


def unpack_attributes(bits: Tensor, k: int) -> Tensor:
    """Unpacks the result of `pack_attributes` to (n, k) of -1 and 1."""
    return ((bits[..., None] >> torch.arange(8)) & 1).flatten(1)[:, :k].float() * 2 - 1


@dataclass(frozen=True)
class DenoisingStep:
    """One denoising step, counted from 1: the noisy x (n, *shape) at `timestep`, and the predicted x0 (n, *shape)."""

    step: int
    timestep: int
    noisy: Tensor
    pred_original_sample: Tensor


def make_scheduler(name: SchedulerName, *, of_latents: bool = False) -> Any:
    """Returns a scheduler: DDPM adds noise at every step, DDIM (eta 0) and DPM-Solver++ do not.

    DPM-Solver++ needs the fewest steps. of_latents: disables DDPM's clipping of the predicted x0 to [-1, 1], which is
    the range of images but not of latents.
    """
    if name == "ddpm":
        return DDPMScheduler(**NOISE, timestep_spacing="trailing", clip_sample=not of_latents)
    if name == "ddim":
        # Clipping the predicted x0 without changing the predicted noise would leave the sampling path.
        return DDIMScheduler(**NOISE, timestep_spacing="trailing", clip_sample=False)
    # Lu et al. 2022, section 7, use the second order for strong guidance; here the third order is as good or better.
    options = {"algorithm_type": "dpmsolver++", "solver_order": 3}
    return DPMSolverMultistepScheduler(**NOISE, timestep_spacing="trailing", **options)


@torch.inference_mode()
def sample(
    model: Ddpm,
    noise: Tensor,
    attributes: Tensor | None = None,
    *,
    scheduler: SchedulerName = "ddim",
    num_inference_steps: int = 50,
    guidance_scale: float = 1.25,
    generators: Sequence[torch.Generator] | None = None,
    on_step: Callable[[DenoisingStep], None] = lambda step: None,
) -> Tensor:
    """Denoises starting noise (n, *shape) to images (n, channels, h, w) in [0, 1].

    attributes: (n, k), what the images are conditioned on. guidance_scale: of classifier-free guidance; 1 disables it,
    and each step then costs half. generators: one per image, for the noise that `ddpm` adds. `on_step` is called after
    every step and may raise to stop.
    """
    stepper = make_scheduler(scheduler, of_latents=model.vae is not None)
    stepper.set_timesteps(num_inference_steps)
    extra = {"generator": generators} if scheduler == "ddpm" else {}
    noisy = noise
    for step, timestep in enumerate(stepper.timesteps, 1):
        # 1. Predict v.
        predicted = _guided(model, noisy, timestep.to(noisy.device), attributes, guidance_scale)
        # 2. x_t -> x_t-1.
        pred_original_sample = predict_original_sample(stepper, noisy, predicted, int(timestep))
        taken = DenoisingStep(step, int(timestep), noisy, pred_original_sample)
        noisy = stepper.step(predicted, timestep, noisy, **extra).prev_sample
        on_step(taken)
    return model.decode(noisy).clamp(0, 1)


def _guided(model: Ddpm, noisy: Tensor, timestep: Tensor, attributes: Tensor | None, scale: float) -> Tensor:
    """Classifier-free guidance: v = v_u + scale (v_c - v_u) (Ho and Salimans 2022, eq. 6, with w = scale - 1)."""
    if attributes is None or scale == 1:
        predicted: Tensor = model(noisy, timestep, attributes)
        return predicted
    both = model(torch.cat([noisy, noisy]), timestep, torch.cat([torch.zeros_like(attributes), attributes]))
    unconditional, conditional = both.chunk(2)
    guided: Tensor = unconditional + scale * (conditional - unconditional)
    return guided


def predict_original_sample(stepper: Any, noisy: Tensor, predicted: Tensor, timestep: int) -> Tensor:
    """Predicted x0 of a v-prediction: x_0 = sqrt(alpha_bar) x_t - sqrt(1 - alpha_bar) v."""
    alpha_bar = stepper.alphas_cumprod[timestep].to(noisy.device)
    clean: Tensor = alpha_bar.sqrt() * noisy - (1 - alpha_bar).sqrt() * predicted
    return clean
