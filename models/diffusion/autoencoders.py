"""Small autoencoders for latent diffusion, built from diffusers classes.

Van den Oord et al. 2017, "Neural discrete representation learning"; Zheng et al. 2022, "MoVQ: modulating quantized
vectors for high-fidelity image generation"; Rombach et al. 2022, "High-resolution image synthesis with latent diffusion
models", section 3.1.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, VQModel
from diffusers.models.autoencoders.vq_model import VQEncoderOutput
from sklearn.decomposition import PCA
from torch import Tensor, nn

# Of group norms: the 32 of diffusers would leave groups of one channel, and a norm removes the mean of a group, which
# would be the color of the image.
GROUPS = 8
CHUNK = 16  # latents that a CPU decodes at a time: the features of more do not fit into its caches (bench/decode.py)


class PatchVQModel(VQModel):
    """A VQModel that encodes square patches by their principal components.

    Its decoder maps latents back to patches, and adds what convolutions over blocks of `patch_size` pixels find: lines
    that the components left out (a linear shortcut, as in Chen et al. 2024, "Deep compression autoencoder for efficient
    high-resolution diffusion models", section 3.2). Its latents need no training.
    """

    patch_size: int
    factor: int
    decoder: Any
    project: Any
    lift: Any

    def encode(self, x: Tensor, return_dict: bool = True) -> Any:
        """Encodes images (n, 3, h, w), as a VQModel does."""
        latents = self.project(F.pixel_unshuffle(x, self.factor))
        return VQEncoderOutput(latents=latents) if return_dict else (latents,)

    def decode(self, h: Tensor, *args: Any, return_dict: bool = True, **kwargs: Any) -> Any:
        """Decodes latents to images (n, 3, h, w), as a VQModel does."""
        decoded: Any = super().decode(h, *args, return_dict=True, **kwargs)  # type: ignore[misc]  # wrapped untyped
        decoded.sample = F.pixel_shuffle(decoded.sample, self.patch_size) + F.pixel_shuffle(self.lift(h), self.factor)
        return decoded if return_dict else (decoded.sample,)

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Fits the components to the patches of images (n, 3, h, w) in [-1, 1]; the convolutions add nothing then."""
        patches = F.pixel_unshuffle(images, self.factor).permute(0, 2, 3, 1).flatten(0, 2)
        pca = PCA(self.project.out_channels, random_state=0).fit(patches.cpu().numpy())
        axes, mean = torch.from_numpy(pca.components_), torch.from_numpy(pca.mean_)
        self.project.weight.copy_(axes[:, :, None, None])
        self.project.bias.copy_(-axes @ mean)
        self.lift.weight.copy_(axes.T[:, :, None, None])
        self.lift.bias.copy_(mean)
        nn.init.zeros_(self.decoder.conv_out.weight)
        nn.init.zeros_(self.decoder.conv_out.bias)


def movq(
    block_out_channels: Sequence[int],
    layers_per_block: int,
    latent_channels: int,
    num_vq_embeddings: int,
    patch_size: int = 1,
) -> nn.Module:
    """Builds an untrained autoencoder of RGB images, which halves their sides between its levels.

    block_out_channels: multiples of 32. patch_size: above 1 it is a `PatchVQModel`. `encode` returns latents
    (n, latent_channels, h, w); pipelines decode them without quantization.
    """
    depth = len(block_out_channels)
    kind: Any = VQModel if patch_size == 1 else PatchVQModel
    autoencoder = kind(
        in_channels=3 * patch_size**2,
        out_channels=3 * patch_size**2,
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
    if patch_size > 1:
        autoencoder.patch_size, autoencoder.factor = patch_size, patch_size * 2 ** (depth - 1)
        values = 3 * autoencoder.factor**2
        autoencoder.project = nn.Conv2d(values, latent_channels, 1)
        autoencoder.lift = nn.Conv2d(latent_channels, values, 1)
        del autoencoder.encoder, autoencoder.quant_conv
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


def decoded_images(autoencoder: Any, latents: Tensor) -> Tensor:
    """Decodes latents (n, channels, h, w) to images (n, 3, height, width) in about [0, 1]."""
    parts = latents.split(CHUNK) if latents.device.type == "cpu" else [latents]
    return torch.cat([autoencoder.decode(part).sample.float() for part in parts]).add(1).div(2)


@torch.no_grad()
def standardize(autoencoder: nn.Module, mean: Tensor, std: Tensor) -> None:
    """Changes the weights so that latents z become (z - mean) / std, both (latent_channels,), and decode as before.

    A diffusion model needs latents of mean 0 and variance 1, and the pipeline has no scaling factor.
    """
    parts: Any = autoencoder
    channels = len(mean)
    encoded = parts.project if isinstance(autoencoder, PatchVQModel) else parts.quant_conv
    encoded.weight[:channels].div_(std[:, None, None, None])
    encoded.bias[:channels].sub_(mean).div_(std)
    if isinstance(autoencoder, AutoencoderKL):
        encoded.bias[channels:].sub_(2 * std.log())  # the second half is the log variance
    else:
        parts.quantize.embedding.weight.sub_(mean).div_(std)
    for name, layer in parts.named_modules():
        # The layers that take latents: the input of the decoder, its shortcut and its norms.
        if name in ("post_quant_conv", "lift") or name.endswith(("conv_y", "conv_b")):
            layer.bias.add_(layer.weight[:, :, 0, 0] @ mean)
            layer.weight.mul_(std[None, :, None, None])
