"""Variational autoencoders: multilayer perceptrons for digits, convolutions for color images.

Kingma and Welling 2014, "Auto-encoding variational Bayes".
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.generative.base import LatentAutoencoder

LOG_VAR = 20.0  # log variances are clamped to [-20, 20]


class Vae(LatentAutoencoder):
    """A VAE over images (n, channels, h, w) in [0, 1] with a standard normal prior on z (n, latent_dim)."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, latent_dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.latent_dim = latent_dim

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Returns `mu` and `log_var` of q(z|x), each (n, latent_dim)."""
        mu, log_var = self.encoder(images * 2 - 1).float().chunk(2, dim=1)
        return mu, log_var.clamp(-LOG_VAR, LOG_VAR)

    def encode(self, images: Tensor) -> Tensor:
        """Encodes images as posterior means (n, latent_dim)."""
        return self.posterior(images)[0]

    def decode(self, z: Tensor) -> Tensor:
        """Decodes z (n, latent_dim) to images (n, channels, h, w) in [0, 1], the means of p(x|z)."""
        return torch.sigmoid(self.decoder(z).float())


def mlp_vae(image_size: int, channels: int, latent_dim: int, hidden: int = 256) -> Vae:
    """Builds a VAE of perceptrons with two hidden layers in the encoder and in the decoder."""
    pixels = channels * image_size**2
    encoder = nn.Sequential(
        *(nn.Flatten(), nn.Linear(pixels, hidden), nn.SiLU()),
        *(nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 2 * latent_dim)),
    )
    decoder = nn.Sequential(
        *(nn.Linear(latent_dim, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU()),
        *(nn.Linear(hidden, pixels), nn.Unflatten(1, (channels, image_size, image_size))),
    )
    return Vae(encoder, decoder, latent_dim)


def conv_vae(image_size: int, channels: int, latent_dim: int, base_channels: int = 32, patch_size: int = 1) -> Vae:
    """Builds a VAE of strided convolutions down to 4 x 4.

    patch_size: above 1, patches of so many pixels a side are the channels of the first and of the last layer (Shi et
    al. 2016, "Real-time single image and video super-resolution using an efficient sub-pixel convolutional neural
    network"): few layers then work at the images' own size, which costs most of the time. Raises ValueError unless
    `image_size / patch_size` is a power of two of at least 16.
    """
    side = image_size // patch_size
    if side < 16 or side & (side - 1) or side * patch_size != image_size:
        raise ValueError(f"image_size must be a power of two from {16 * patch_size}, got {image_size}")
    widths = [min(base_channels * 2**i, 4 * base_channels) for i in range(int(math.log2(side)) - (patch_size == 1) - 1)]
    down, up = _patches(channels, base_channels, patch_size) if patch_size > 1 else _ends(channels, base_channels)
    for before, after in pairwise(widths):
        down += [nn.Conv2d(before, after, 4, 2, 1), nn.GroupNorm(8, after), nn.SiLU()]
        up = [nn.ConvTranspose2d(after, before, 4, 2, 1), nn.GroupNorm(8, before), nn.SiLU(), *up]
    top = widths[-1]
    encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(16 * top, 2 * latent_dim))
    decoder = nn.Sequential(nn.Linear(latent_dim, 16 * top), nn.SiLU(), nn.Unflatten(1, (top, 4, 4)), *up)
    return Vae(encoder, decoder, latent_dim)


def _ends(channels: int, width: int) -> tuple[list[nn.Module], list[nn.Module]]:
    """First layers of the encoder and last ones of the decoder, with a stride of 2."""
    down: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.GroupNorm(8, width), nn.SiLU()]
    return down, [nn.ConvTranspose2d(width, channels, 4, 2, 1)]


def _patches(channels: int, width: int, patch_size: int) -> tuple[list[nn.Module], list[nn.Module]]:
    """First layers of the encoder and last ones of the decoder, at a place for each patch."""
    values = channels * patch_size**2

    def conv(before: int, after: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, 1, 1), nn.GroupNorm(8, after), nn.SiLU()]

    last = [nn.Conv2d(width, values, 3, 1, 1), nn.PixelShuffle(patch_size)]
    return [nn.PixelUnshuffle(patch_size), *conv(values, width)], [*conv(width, width), *last]


def next_to_z(vae: Vae) -> tuple[nn.Linear, nn.Linear]:
    """Returns the last layer of the encoder, the first half of whose rows are the means, and the decoder's first."""
    last = [part for part in vae.encoder.modules() if isinstance(part, nn.Linear)][-1]
    first = next(part for part in vae.decoder.modules() if isinstance(part, nn.Linear))
    return last, first


@torch.no_grad()
def whiten(vae: Vae, images: Tensor) -> None:
    """Changes the coordinates of z in place so that the codes of `images` (n, channels, h, w) match the prior.

    Trained z may be correlated, and most draws from the prior then fall where there are no images. With z = m + L w,
    where m and L L^T are the mean and covariance of the aggregate posterior, draws of w come from its Gaussian (Ghosh
    et al. 2020, "From variational to deterministic autoencoders", section 4). L also makes the mean posterior
    covariance diagonal, so that q(w|x) still has one variance per axis: `log_var` is exact at the mean variance and of
    first order elsewhere. The axes of w are ordered by information. Both maps are folded into the layers next to z, so
    that reconstructions from the means stay the same.
    """
    posteriors = [vae.posterior(part.float() / 255) for part in images.split(1000)]
    mu, log_var = (torch.cat(parts).double() for parts in zip(*posteriors, strict=True))
    mean, variance = mu.mean(0), log_var.exp().mean(0)
    covariance = torch.cov(mu.T, correction=0) + variance.diag()
    covariance.diagonal().mul_(1 + 1e-9)  # nearly constant z still have a Cholesky factor
    factor = torch.linalg.cholesky(covariance)
    inverse = torch.linalg.inv(factor)
    posterior_variance, axes = torch.linalg.eigh(inverse @ variance.diag() @ inverse.T)
    posterior_variance.clamp_min_(math.exp(-LOG_VAR))
    factor, inverse = factor @ axes, axes.T @ inverse
    # log var(w_i) = log sum_j inverse_ij^2 var(z_j), linear in log var(z_j) with these weights, which sum to 1.
    shares = inverse.square() * variance / posterior_variance[:, None]
    shift = posterior_variance.log() - shares @ variance.log()
    last, first = next_to_z(vae)
    weight, bias = last.weight.double(), last.bias.double()
    last.weight.copy_(torch.cat([inverse @ weight.chunk(2)[0], shares @ weight.chunk(2)[1]]))
    last.bias.copy_(torch.cat([inverse @ (bias.chunk(2)[0] - mean), shares @ bias.chunk(2)[1] + shift]))
    first.bias.copy_(first.bias.double() + first.weight.double() @ mean)
    first.weight.copy_(first.weight.double() @ factor)


def kl_divergence(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mu, exp(log_var)) || N(0, 1)) in nats, (n,): -1/2 sum(1 + log_var - mu^2 - exp(log_var)); appendix B."""
    return -0.5 * (1 + log_var - mu**2 - log_var.exp()).sum(1)


def bernoulli_loss(decoded: Tensor, images: Tensor) -> Tensor:
    """-log p(x|z) in nats, (n,), each value of an image the mean of a Bernoulli variable; for gray images."""
    # PyTorch rejects NaN here (on a GPU it ends the process); as a loss, NaN reports that the run diverged.
    loss = F.binary_cross_entropy(decoded.nan_to_num(0.5), images, reduction="none") + 0 * decoded
    return loss.flatten(1).sum(1)


def gaussian_loss(decoded: Tensor, images: Tensor) -> Tensor:
    """-log p(x|z) in nats up to a constant, (n,), with the variance that fits the batch best; for color images.

    Rybkin, Daniilidis and Levine 2021, "Simple and effective VAE training with calibrated decoders", eq. 5: the two
    losses need no relative weight.
    """
    errors = (decoded - images).square().flatten(1)
    return 0.5 * errors.shape[1] * (errors.mean(1) / errors.mean().detach() + errors.mean().detach().log())
