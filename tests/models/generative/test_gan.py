import math

import pytest
import torch
from torch import nn

from models.generative.dcgan import dcgan, discriminator
from models.generative.gan import discriminator_loss, generator_loss, mlp_discriminator, mlp_generator


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


def test_dcgan_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="image_size must be 64"):
        dcgan(32, 3, 8, 8, 8)
