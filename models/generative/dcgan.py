"""DCGAN for 64 x 64 images, with an encoder from images to z.

Radford, Metz and Chintala 2016, "Unsupervised representation learning with deep convolutional generative adversarial
networks": strided convolutions, batch normalization except in the first and last layers, ReLU in G, leaky ReLU in D.
"""

from itertools import pairwise

from torch import Tensor, nn

from models.generative.base import LatentAutoencoder
from models.generative.gan import Generator

SIDE = 64


class Dcgan(Generator, LatentAutoencoder):
    """A generator with an encoder from images in [0, 1] to z (n, latent_dim)."""

    def __init__(self, layers: nn.Module, latent_dim: int, encoder: nn.Module) -> None:
        super().__init__(layers, latent_dim)
        self.encoder = encoder

    def encode(self, images: Tensor) -> Tensor:
        """Encodes images (n, channels, 64, 64) in [0, 1] as z (n, latent_dim)."""
        z: Tensor = self.encoder(images).float()
        return z


def dcgan(image_size: int, channels: int, latent_dim: int, base_channels: int, encoder_channels: int) -> Dcgan:
    """Builds both networks, untrained; raises ValueError unless `image_size` is 64."""
    if image_size != SIDE:
        raise ValueError(f"image_size must be {SIDE}, got {image_size}")
    layers = generator_layers(channels, latent_dim, base_channels)
    return Dcgan(layers, latent_dim, encoder_layers(channels, latent_dim, encoder_channels))


def generator_layers(channels: int, latent_dim: int, base_channels: int) -> nn.Sequential:
    """Layers from z (n, latent_dim) to images in [-1, 1]: 4 x 4 with 8 `base_channels`, then doubled four times."""
    widths = [base_channels * factor for factor in (8, 4, 2, 1)]
    layers: list[nn.Module] = [nn.Unflatten(1, (latent_dim, 1, 1)), *_up(latent_dim, widths[0], stride=1)]
    for before, after in pairwise(widths):
        layers += _up(before, after, stride=2)
    layers += [nn.ConvTranspose2d(base_channels, channels, 4, 2, 1), nn.Tanh()]
    return nn.Sequential(*layers).apply(_initialize)


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


def encoder_layers(channels: int, latent_dim: int, base_channels: int) -> nn.Sequential:
    """Layers from images in [0, 1] to z (n, latent_dim), with the architecture of the discriminator."""
    return _down(channels, latent_dim, base_channels)


def _down(channels: int, outputs: int, base_channels: int) -> nn.Sequential:
    widths = [base_channels * factor for factor in (1, 2, 4, 8)]
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
