"""Small autoencoders for latent diffusion, built from diffusers classes.

Van den Oord et al. 2017, "Neural discrete representation learning"; Zheng et al. 2022, "MoVQ: modulating quantized
vectors for high-fidelity image generation"; Rombach et al. 2022, "High-resolution image synthesis with latent diffusion
models", section 3.1.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from diffusers import AutoencoderKL, VQModel
from torch import Tensor, nn

# Of group norms: the 32 of diffusers would leave groups of one channel, and a norm removes the mean of a group, which
# would be the color of the image.
GROUPS = 8


def movq(
    block_out_channels: Sequence[int], layers_per_block: int, latent_channels: int, num_vq_embeddings: int
) -> nn.Module:
    """Builds an untrained autoencoder of RGB images, which halves their sides between its levels.

    block_out_channels: multiples of 32. `encode` returns latents (n, latent_channels, h, w); pipelines decode them
    without quantization.
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
    """Builds an untrained variational autoencoder with the arguments of `movq`; its latents need no scaling factor."""
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
    """Changes the weights so that latents z become (z - mean) / std, both (latent_channels,), and decode as before.

    A diffusion model needs latents of mean 0 and variance 1, and the pipeline has no scaling factor.
    """
    parts: Any = autoencoder
    channels = len(mean)
    parts.quant_conv.weight[:channels].div_(std[:, None, None, None])
    parts.quant_conv.bias[:channels].sub_(mean).div_(std)
    if isinstance(autoencoder, AutoencoderKL):
        parts.quant_conv.bias[channels:].sub_(2 * std.log())  # the second half is the log variance
    else:
        parts.quantize.embedding.weight.sub_(mean).div_(std)
    for name, layer in parts.named_modules():
        # The layers that take latents: the input of the decoder, and its norms.
        if name == "post_quant_conv" or name.endswith(("conv_y", "conv_b")):
            layer.bias.add_(layer.weight[:, :, 0, 0] @ mean)
            layer.weight.mul_(std[None, :, None, None])
