"""A generative adversarial network of perceptrons for digits.

Goodfellow et al. 2014, "Generative adversarial nets".
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.generative.base import LatentModel


class Generator(LatentModel):
    """z (n, latent_dim), standard normal, to images (n, channels, h, w) in [0, 1]; `layers` end in tanh."""

    def __init__(self, layers: nn.Module, latent_dim: int) -> None:
        super().__init__()
        self.layers = layers
        self.latent_dim = latent_dim

    def decode(self, z: Tensor) -> Tensor:
        """Decodes z (n, latent_dim) to images (n, channels, h, w) in [0, 1]."""
        images: Tensor = self.layers(z).float()
        return (images + 1) / 2


def mlp_generator(image_size: int, channels: int, latent_dim: int, hidden: int = 256) -> Generator:
    """Builds a generator with two hidden layers and batch normalization."""
    pixels = channels * image_size**2
    layers = nn.Sequential(
        *(nn.Linear(latent_dim, hidden), nn.BatchNorm1d(hidden), nn.LeakyReLU(0.2)),
        *(nn.Linear(hidden, hidden), nn.BatchNorm1d(hidden), nn.LeakyReLU(0.2)),
        *(nn.Linear(hidden, pixels), nn.Tanh(), nn.Unflatten(1, (channels, image_size, image_size))),
    )
    return Generator(layers, latent_dim)


def mlp_discriminator(image_size: int, channels: int, hidden: int = 512) -> nn.Sequential:
    """Builds a discriminator from images in [0, 1] to logits (n, 1), above 0 for real images.

    Dropout keeps it from becoming too strong for the generator.
    """
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(channels * image_size**2, hidden), nn.LeakyReLU(0.2), nn.Dropout(0.3)),
        *(nn.Linear(hidden, hidden // 2), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(hidden // 2, 1)),
    )


def discriminator_loss(real: Tensor, fake: Tensor, target: float = 0.9) -> Tensor:
    """-log D(x) - log(1 - D(G(z))) of logits, with the target for real.

    A target below 1 is one-sided label smoothing (Salimans et al. 2016).
    """
    on_real = F.binary_cross_entropy_with_logits(real, torch.full_like(real, target))
    return on_real + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))


def generator_loss(fake: Tensor) -> Tensor:
    """-log D(G(z)) of logits, the non-saturating loss (section 3)."""
    return F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))


def gradient_penalty(critic: nn.Module, real: Tensor) -> Tensor:
    """R1: half the mean squared norm of the gradients of the logits by real x (Mescheder et al. 2018, eq. 9).

    Mescheder, Geiger and Nowozin 2018, "Which training methods for GANs do actually converge?"
    """
    x = real.detach().requires_grad_()
    (gradients,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    penalty: Tensor = gradients.square().flatten(1).sum(1).mean() / 2
    return penalty
