import math

import pytest
import torch
from torch.distributions import Normal
from torch.distributions import kl_divergence as reference

from models.generative.vae import (
    Vae,
    bernoulli_loss,
    conv_vae,
    gaussian_loss,
    kl_divergence,
    mlp_vae,
    next_to_z,
    whiten,
)


@pytest.mark.parametrize(("make", "size", "channels"), [(mlp_vae, 28, 1), (conv_vae, 64, 3), (conv_vae, 16, 3)])
def test_shapes_and_range(make: object, size: int, channels: int) -> None:
    vae = make(size, channels, 5)  # type: ignore[operator]
    images = torch.rand(2, channels, size, size)
    mu, log_var = vae.posterior(images)
    decoded = vae.decode(mu)
    assert mu.shape == log_var.shape == (2, 5)
    assert decoded.shape == images.shape and decoded.min() >= 0 and decoded.max() <= 1
    assert torch.equal(vae.encode(images), mu)


@pytest.mark.parametrize("size", [8, 28, 48])
def test_sizes_the_convolutions_cannot_halve_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="image_size"):
        conv_vae(size, 3, 4)


@pytest.mark.parametrize(("size", "channels"), [(128, 1), (64, 3)])
def test_patches_are_the_channels_of_the_ends(size: int, channels: int) -> None:
    vae = conv_vae(size, channels, 5, 8, patch_size=4)
    images = torch.rand(2, channels, size, size)
    assert vae.decode(vae.encode(images)).shape == images.shape
    with pytest.raises(ValueError, match="power of two from 64, got 32"):
        conv_vae(32, channels, 5, 8, patch_size=4)


def test_kl_divergence_by_hand_and_by_torch() -> None:
    assert kl_divergence(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2)).item() == pytest.approx(0.5)
    mu, log_var = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    wanted = reference(Normal(mu, (0.5 * log_var).exp()), Normal(torch.zeros(()).double(), 1.0)).sum(1)
    assert torch.allclose(kl_divergence(mu, log_var), wanted)


def test_bernoulli_loss_of_a_coin_is_ln_2_a_pixel() -> None:
    images = (torch.rand(3, 1, 4, 4) > 0.5).float()
    assert torch.allclose(bernoulli_loss(torch.full_like(images, 0.5), images), torch.full((3,), 16 * math.log(2)))


def test_gaussian_loss_is_least_at_the_image_and_its_slope_does_not_depend_on_scale() -> None:
    images = torch.rand(2, 3, 4, 4)
    losses = [gaussian_loss(images + error, images).mean() for error in (0.01, 0.1, 0.5)]
    assert losses[0] < losses[1] < losses[2]
    # With the variance at its optimum, ten times the error costs D ln 10 more, wherever one stands.
    assert (losses[1] - losses[0]).item() == pytest.approx(48 * math.log(10), rel=1e-4)


def skewed_vae(spread: float) -> tuple[Vae, torch.Tensor]:
    """One of perceptrons whose three z are far from 0 and correlated; their variances differ by `spread` or less."""
    torch.manual_seed(0)
    vae = mlp_vae(8, 1, 3)
    with torch.no_grad():
        mixing = torch.tensor([[6.0, 0.0, 0.0], [4.0, 2.0, 0.0], [-3.0, 1.0, 3.0]])
        weight, bias = next_to_z(vae)[0].parameters()
        weight.copy_(torch.cat([mixing @ weight[:3], spread * weight[3:]]))
        bias.copy_(torch.tensor([2.0, -1.0, 0.5, -4.0, -3.0, -5.0]))
    return vae, torch.randint(0, 256, (400, 1, 8, 8), dtype=torch.uint8)


@pytest.mark.parametrize("spread", [0.0, 3.0])
def test_whitened_z_fit_the_prior_and_images_stay_the_same(spread: float) -> None:
    vae, pixels = skewed_vae(spread)
    images = pixels.float() / 255
    with torch.no_grad():
        reconstructed = vae.decode(vae.encode(images))
        whiten(vae, pixels)
        mu, log_var = vae.posterior(images)
        assert torch.allclose(vae.decode(mu), reconstructed, atol=1e-5)
    assert torch.allclose(mu.mean(0), torch.zeros(3), atol=1e-4)
    variance = log_var.exp().mean(0)
    # The mean posterior covariance is diagonal: what the axes share, they share in the means, and there is nothing.
    assert torch.allclose(
        torch.cov(mu.T, correction=0) + variance.diag(), torch.eye(3), atol=1e-3 if not spread else 0.03
    )
    assert (variance.diff() > 0).all(), "the axis that says most comes first"


def test_a_whitened_posterior_is_the_same_distribution() -> None:
    """Of one variance for all images the means and the covariance are those of z, in other coordinates."""
    vae, pixels = skewed_vae(0.0)
    images = pixels[:5].float() / 255
    with torch.no_grad():
        mu, log_var = vae.posterior(images)
        first = next_to_z(vae)[1]
        before = first(mu), first.weight @ log_var[0].exp().diag() @ first.weight.T
        whiten(vae, pixels)
        mu, log_var = vae.posterior(images)
        first = next_to_z(vae)[1]
        after = first(mu), first.weight @ log_var[0].exp().diag() @ first.weight.T
    assert torch.allclose(before[0], after[0], atol=1e-4)
    assert torch.allclose(before[1], after[1], rtol=1e-3, atol=1e-5)


def test_z_that_are_all_but_the_same_are_whitened_too() -> None:
    """As of a few images and many z: covariances of low rank, and variances as far apart as they may be."""
    vae, pixels = skewed_vae(0.0)
    with torch.no_grad():
        weight, bias = next_to_z(vae)[0].parameters()
        weight[:3] = 1e6 * weight[0]
        bias[3:] = -30.0
        whiten(vae, pixels[:2])
        mu, log_var = vae.posterior(pixels[:2].float() / 255)
    assert all(value.isfinite().all() for value in (mu, log_var, vae.decode(mu)))
