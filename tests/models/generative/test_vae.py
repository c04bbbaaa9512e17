import math

import pytest
import torch
from torch.distributions import Normal
from torch.distributions import kl_divergence as reference

from models.generative.vae import bernoulli_loss, conv_vae, gaussian_loss, kl_divergence, mlp_vae


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


def test_kl_divergence_by_hand_and_by_torch() -> None:
    assert kl_divergence(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2)).item() == pytest.approx(0.5)
    mu, log_var = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    wanted = reference(Normal(mu, (0.5 * log_var).exp()), Normal(torch.zeros(()).double(), 1.0)).sum(1)
    assert torch.allclose(kl_divergence(mu, log_var), wanted)


def test_bernoulli_loss_of_a_coin_is_ln_2_a_pixel() -> None:
    images = (torch.rand(3, 1, 4, 4) > 0.5).float()
    assert torch.allclose(bernoulli_loss(torch.full_like(images, 0.5), images), torch.full((3,), 16 * math.log(2)))


def test_gaussian_loss_is_least_at_the_picture_and_its_slope_does_not_depend_on_scale() -> None:
    images = torch.rand(2, 3, 4, 4)
    losses = [gaussian_loss(images + error, images).mean() for error in (0.01, 0.1, 0.5)]
    assert losses[0] < losses[1] < losses[2]
    # With the variance at its optimum, ten times the error costs D ln 10 more, wherever one stands.
    assert (losses[1] - losses[0]).item() == pytest.approx(48 * math.log(10), rel=1e-4)
