import math

import pytest
import torch
from torch import nn

from models.generative.dcgan import dcgan, discriminator, latent_discriminator
from models.generative.gan import (
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    mlp_discriminator,
    mlp_generator,
)

AUTOENCODER = {"block_out_channels": [8, 8, 8], "layers_per_block": 1, "latent_channels": 4}


def test_shapes_and_range() -> None:
    generator, critic = mlp_generator(16, 1, 4), mlp_discriminator(16, 1)
    images = generator.decode(torch.randn(3, 4))
    assert images.shape == (3, 1, 16, 16) and images.min() >= 0 and images.max() <= 1
    assert critic(images).shape == (3, 1)


def test_losses_of_an_undecided_discriminator() -> None:
    zeros = torch.zeros(5, 1)
    assert discriminator_loss(zeros, zeros).item() == pytest.approx(2 * math.log(2))
    assert generator_loss(zeros).item() == pytest.approx(math.log(2))


def test_label_smoothing_puts_the_best_answer_for_real_at_nine_in_ten() -> None:
    fake, best = torch.full((1, 1), -20.0), math.log(0.9 / 0.1)
    losses = [discriminator_loss(torch.full((1, 1), best + step), fake).item() for step in (-0.5, 0, 0.5)]
    assert losses[1] == min(losses)


def test_dcgan_shapes() -> None:
    model = dcgan(64, 3, latent_dim=8, base_channels=8, encoder_channels=8).eval()
    images = model.decode(torch.randn(2, 8))
    assert images.shape == (2, 3, 64, 64) and images.min() >= 0 and images.max() <= 1
    assert model.encode(images).shape == (2, 8)
    critic = discriminator(3, 8)
    assert critic(images).shape == (2, 1) and critic[:-2](images).shape == (2, 64, 4, 4)


def test_dcgan_keeps_the_papers_rules() -> None:
    model = dcgan(64, 3, latent_dim=8, base_channels=8, encoder_channels=8)
    modules = list(model.layers.modules())
    assert not any(isinstance(module, nn.Linear | nn.MaxPool2d | nn.AvgPool2d | nn.LeakyReLU) for module in modules)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in modules) == 4  # not after the last layer
    first = modules[2]  # after the whole and the unflattening
    # The standard error of a standard deviation of so few weights is some percent.
    assert isinstance(first, nn.ConvTranspose2d) and first.weight.std().item() == pytest.approx(0.02, rel=0.2)


def test_label_smoothing_can_be_left_out() -> None:
    sure = torch.full((1, 1), 20.0)
    assert discriminator_loss(sure, -sure, target=1.0).item() == pytest.approx(0, abs=1e-6)
    assert discriminator_loss(sure, -sure).item() > 1


def test_gradient_penalty_of_a_linear_critic_is_half_its_squared_norm() -> None:
    linear = nn.Linear(4, 1)
    linear.weight = nn.Parameter(torch.tensor([[1.0, -2.0, 2.0, 4.0]]))
    penalty = gradient_penalty(nn.Sequential(nn.Flatten(), linear), torch.rand(3, 1, 2, 2))
    assert penalty.item() == pytest.approx(25 / 2)
    penalty.backward()
    torch.testing.assert_close(linear.weight.grad, linear.weight.data)  # of |w|^2 / 2


def test_dcgan_of_latents() -> None:
    model = dcgan(64, 3, latent_dim=8, base_channels=8, encoder_channels=8, autoencoder=AUTOENCODER).eval()
    latents, images = model.generate(torch.randn(2, 8)), model.decode(torch.randn(2, 8))
    assert latents.shape == (2, 4, 16, 16)
    assert images.shape == (2, 3, 64, 64) and images.min() >= 0 and images.max() <= 1
    assert model.encode(images).shape == (2, 8)
    critic = latent_discriminator(4, 8, 16)
    assert critic(latents).shape == (2, 1) and critic[:-2](latents).shape == (2, 32, 4, 4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in critic.modules())


@pytest.mark.parametrize("n", [4, 16])
def test_spread_of_a_batch(n: int) -> None:
    """Groups take every second image of 16; a batch that has no whole groups is one."""
    spread = latent_discriminator(1, 1, 8)[4]
    x = torch.arange(n).float()[:, None, None, None].expand(-1, 2, 3, 3)
    seen = spread(x)
    expected = 1.118034 if n == 4 else 4.582576  # deviations of 0..3 and of 0, 2, .. 14
    torch.testing.assert_close(seen[:, 2:], torch.full((n, 1, 3, 3), expected))
    assert torch.equal(seen[:, :2], x)


def test_dcgan_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="image_size must be 64"):
        dcgan(32, 3, 8, 8, 8)
