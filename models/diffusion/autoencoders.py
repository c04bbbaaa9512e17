"""Small autoencoders between images and the latents that diffusion models work in, as classes of diffusers.

Van den Oord et al. 2017, "Neural discrete representation learning"; Zheng et al. 2022, "MoVQ: modulating quantized
vectors for high-fidelity image generation"; Rombach et al. 2022, "High-resolution image synthesis with latent diffusion
models", section 3.1.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from diffusers import AutoencoderKL, VQModel
from torch import Tensor, nn

# Of norms: diffusers' 32 leave groups of one channel here, and norms remove a group's mean, an image's very color.
GROUPS = 8


def movq(
    block_out_channels: Sequence[int], layers_per_block: int, latent_channels: int, num_vq_embeddings: int
) -> nn.Module:
    """An untrained autoencoder of RGB images that halves them between its levels; widths are multiples of 32.

    `encode` gives latents (n, latent_channels, h, w), and a pipeline's `decode` takes them without quantizing.
    """
    depth = len(block_out_channels)
    autoencoder: Any = VQModel(
        block_out_channels=tuple(block_out_channels),
        down_block_types=("DownEncoderBlock2D",) * depth,
        up_block_types=("UpDecoderBlock2D",) * depth,
        layers_per_block=layers_per_block,
        latent_channels=latent_channels,
        vq_embed_dim=latent_channels,
        num_vq_embeddings=num_vq_embeddings,
        norm_type="spatial",
        mid_block_add_attention=False,
    )
    return cast(nn.Module, autoencoder)


def autoencoder_kl(block_out_channels: Sequence[int], layers_per_block: int, latent_channels: int) -> nn.Module:
    """An untrained one whose latents are Gaussians, the other things as with `movq`; its latents need no scale."""
    depth = len(block_out_channels)
    autoencoder: Any = AutoencoderKL(
        block_out_channels=tuple(block_out_channels),
        down_block_types=("DownEncoderBlock2D",) * depth,
        up_block_types=("UpDecoderBlock2D",) * depth,
        layers_per_block=layers_per_block,
        latent_channels=latent_channels,
        norm_num_groups=GROUPS,
        scaling_factor=1.0,
        force_upcast=False,
        mid_block_add_attention=False,
    )
    return cast(nn.Module, autoencoder)


@torch.no_grad()
def standardize(autoencoder: nn.Module, mean: Tensor, std: Tensor) -> None:
    """Change the weights so that latents z become (z - mean) / std, both (latent_channels,), and decode as before.

    A diffusion model wants latents of mean 0 and variance 1, and the pipeline has no place for a scale.
    """
    parts: Any = autoencoder
    channels = len(mean)
    parts.quant_conv.weight[:channels].div_(std[:, None, None, None])
    parts.quant_conv.bias[:channels].sub_(mean).div_(std)
    if isinstance(autoencoder, AutoencoderKL):
        parts.quant_conv.bias[channels:].sub_(2 * std.log())  # the other half is the logarithm of the variance
    else:
        parts.quantize.embedding.weight.sub_(mean).div_(std)
    for name, layer in parts.named_modules():
        # What reads latents: the way into the decoder, and its norms.
        if name == "post_quant_conv" or name.endswith(("conv_y", "conv_b")):
            layer.bias.add_(layer.weight[:, :, 0, 0] @ mean)
            layer.weight.mul_(std[None, :, None, None])
