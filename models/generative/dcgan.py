"""DCGAN for 64 x 64 images, with an encoder from images to z.

Radford, Metz and Chintala 2016, "Unsupervised representation learning with deep convolutional generative adversarial
networks": strided convolutions, batch normalization except in the first and last layers, ReLU in G, leaky ReLU in D. Of
latents it is a latent model as in Rombach et al. 2022, section 3.1, with a GAN in place of the diffusion.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from models.generative.base import LatentAutoencoder
from models.generative.gan import Generator

SIDE = 64
GROUP = 8  # images whose spread the discriminator of latents sees


class Dcgan(Generator, LatentAutoencoder):
    """A generator with an encoder from images in [0, 1] to z (n, latent_dim).

    vae: an AutoencoderKL whose latents (n, channels, h, w) both work on; None for pixels.
    """

    def __init__(self, layers: nn.Module, latent_dim: int, encoder: nn.Module, vae: Any = None) -> None:
        super().__init__(layers, latent_dim)
        self.encoder, self.vae = encoder, vae

    def generate(self, z: Tensor) -> Tensor:
        """Generates what a discriminator judges: images in [0, 1], or latents."""
        return self.layers(z).float() if self.vae else super().decode(z)

    def decode(self, z: Tensor) -> Tensor:
        """Decodes z (n, latent_dim) to images (n, channels, 64, 64) in [0, 1]."""
        if not self.vae:
            return self.generate(z)
        from models.diffusion.autoencoders import decoded_images

        return decoded_images(self.vae, self.generate(z)).clamp(0, 1)

    def encode(self, images: Tensor) -> Tensor:
        """Encodes images (n, channels, 64, 64) in [0, 1] as z (n, latent_dim)."""
        z: Tensor = self.encoder(self.vae.encode(2 * images - 1).latent_dist.mode() if self.vae else images).float()
        return z


def dcgan(
    image_size: int,
    channels: int,
    latent_dim: int,
    base_channels: int,
    encoder_channels: int,
    autoencoder: Mapping[str, Any] | None = None,
) -> Dcgan:
    """Builds both networks, untrained; raises ValueError unless `image_size` is 64.

    autoencoder: arguments of `autoencoder_kl`, for RGB images; None for a model of pixels.
    """
    if image_size != SIDE:
        raise ValueError(f"image_size must be {SIDE}, got {image_size}")
    if autoencoder is None:
        layers = generator_layers(channels, latent_dim, base_channels)
        return Dcgan(layers, latent_dim, encoder_layers(channels, latent_dim, encoder_channels))
    from models.diffusion.autoencoders import autoencoder_kl  # loads diffusers, which a DCGAN of pixels does without

    channels, side = autoencoder["latent_channels"], SIDE // 2 ** (len(autoencoder["block_out_channels"]) - 1)
    layers = latent_generator_layers(channels, latent_dim, base_channels, side)
    encoder = encoder_layers(channels, latent_dim, encoder_channels, side)
    return Dcgan(layers, latent_dim, encoder, autoencoder_kl(**autoencoder))


def generator_layers(channels: int, latent_dim: int, base_channels: int) -> nn.Sequential:
    """Layers from z (n, latent_dim) to images in [-1, 1]: 4 x 4 with 8 `base_channels`, then doubled four times."""
    layers = _grown(latent_dim, base_channels, SIDE // 2)
    return nn.Sequential(*layers, nn.ConvTranspose2d(base_channels, channels, 4, 2, 1), nn.Tanh()).apply(_initialize)


def latent_generator_layers(channels: int, latent_dim: int, base_channels: int, side: int) -> nn.Sequential:
    """Layers from z (n, latent_dim) to latents (n, channels, side, side), which have no bounds."""
    layers = _grown(latent_dim, base_channels, side)
    last = [nn.Conv2d(base_channels, base_channels, 3, 1, 1, bias=False), nn.BatchNorm2d(base_channels), nn.ReLU()]
    return nn.Sequential(*layers, *last, nn.Conv2d(base_channels, channels, 3, 1, 1)).apply(_initialize)


def _grown(latent_dim: int, base_channels: int, side: int) -> list[nn.Module]:
    """Layers from z (n, latent_dim) to (n, base_channels, side, side), with twice the channels at each half of it."""
    widths = [base_channels * 2**k for k in reversed(range(_doublings(side) + 1))]
    layers: list[nn.Module] = [nn.Unflatten(1, (latent_dim, 1, 1)), *_up(latent_dim, widths[0], stride=1)]
    for before, after in pairwise(widths):
        layers += _up(before, after, stride=2)
    return layers


def _doublings(side: int) -> int:
    """How often 4 is doubled to the side."""
    return int(math.log2(side // 4))


def _up(before: int, after: int, stride: int) -> list[nn.Module]:
    return [
        nn.ConvTranspose2d(before, after, 4, stride, stride - 1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    ]


def discriminator(channels: int, base_channels: int) -> nn.Sequential:
    """Builds a discriminator from images in [0, 1] to logits (n, 1).

    Without its last two layers it returns features (n, 8 base_channels, 4, 4).
    """
    return _down(channels, 1, base_channels)


def latent_discriminator(channels: int, base_channels: int, side: int) -> nn.Sequential:
    """Builds a discriminator from latents (n, channels, side, side) to logits (n, 1), without batch normalization.

    Its last convolution but one sees how much the latents of a group differ (Karras et al. 2018, "Progressive growing
    of GANs", section 3). Without its last two layers it returns features (n, width, 4, 4).
    """
    widths = [base_channels * 2**k for k in range(_doublings(side) + 1)]
    layers: list[nn.Module] = [nn.Conv2d(channels, base_channels, 3, 1, 1), nn.LeakyReLU(0.2)]
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 4, 2, 1), nn.LeakyReLU(0.2)]
    layers += [_Spread(), nn.Conv2d(widths[-1] + 1, widths[-1], 3, 1, 1), nn.LeakyReLU(0.2)]
    network = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4), nn.Flatten())
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, a=0.2)
    return network


class _Spread(nn.Module):
    """Adds a channel: the mean standard deviation of features within each group of `GROUP` images, or the batch."""

    def forward(self, x: Tensor) -> Tensor:
        groups = x.reshape(GROUP, -1, *x.shape[1:]) if len(x) % GROUP == 0 else x[:, None]
        spread = (groups.float().var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3)).to(x.dtype)
        channel = spread.repeat(len(x) // len(spread))[:, None, None, None].expand(-1, 1, *x.shape[2:])
        return torch.cat([x, channel], 1)


def encoder_layers(channels: int, latent_dim: int, base_channels: int, side: int = SIDE) -> nn.Sequential:
    """Layers from images in [0, 1], or latents of a side, to z (n, latent_dim), like the discriminator of pixels."""
    return _down(channels, latent_dim, base_channels, side)


def _down(channels: int, outputs: int, base_channels: int, side: int = SIDE) -> nn.Sequential:
    widths = [base_channels * factor for factor in (1, 2, 4, 8)[-_doublings(side) :]]
    base_channels = widths[0]
    layers: list[nn.Module] = [nn.Conv2d(channels, base_channels, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
    for before, after in pairwise(widths):
        conv = nn.Conv2d(before, after, 4, 2, 1, bias=False)
        layers += [conv, nn.BatchNorm2d(after), nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], outputs, 4), nn.Flatten()).apply(_initialize)


def _initialize(module: nn.Module) -> None:
    """Initializes convolutions with N(0, 0.02) and the scales of batch normalization with N(1, 0.02) (section 4)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1, 0.02)
