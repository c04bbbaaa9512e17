import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor, nn

from models.generative.classifier import Classifier
from models.generative.vae import Vae
from models.metrics import certain, density_and_coverage, elbo, frechet_distance

RNG = np.random.default_rng(0)


def test_frechet_distance_by_hand() -> None:
    # One dimension: (mean difference)^2 + (difference of standard deviations)^2. Made to have these to the digit.
    a = np.array([[-1.0], [1.0]]) / math.sqrt(2)
    b = 3 * a + 2
    assert frechet_distance(np.hstack([a, a * 0]), np.hstack([b, b * 0])) == pytest.approx(2**2 + (3 - 1) ** 2)


def test_frechet_distance_by_the_matrix_root_of_scipy() -> None:
    a, b = RNG.normal(size=(500, 6)) @ RNG.normal(size=(6, 6)), RNG.normal(size=(400, 6)) @ RNG.normal(size=(6, 6)) + 1
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    wanted = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b - 2 * sqrtm(cov_a @ cov_b).real)
    assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-8)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-8)


def test_frechet_distance_to_itself_is_nothing() -> None:
    a = RNG.normal(size=(100, 8))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_density_and_coverage_of_the_same_law_are_about_one() -> None:
    real, fake = RNG.normal(size=(2, 1000, 4))
    density, coverage = density_and_coverage(real, fake)
    # Densities of neighboring samples depend on each other; between seeds the mean of 1000 varies by 0.02.
    assert density == pytest.approx(1, abs=0.1)
    assert coverage == pytest.approx(1 - 0.5**5, abs=0.03)  # the expectation, Naeem et al., section 3.3


def test_a_generator_of_one_good_image_is_dense_and_covers_little() -> None:
    real = RNG.normal(size=(500, 4))
    density, coverage = density_and_coverage(real, np.zeros((500, 4)))
    assert density > 1 and coverage < 0.3


def test_a_generator_of_far_images_has_neither() -> None:
    real = RNG.normal(size=(200, 4))
    assert density_and_coverage(real, real + 100) == (0, 0)


class Constant(nn.Module):
    """Ignores its input: zeros of one width."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros(len(x), *self.shape)


def test_elbo_of_a_vae_that_knows_nothing() -> None:
    # q(z|x) is the prior and every pixel a fair coin: no divergence, and -ln 2 a pixel.
    vae = Vae(Constant(4), Constant(1, 4, 4), latent_dim=2)
    images = RNG.integers(0, 2, size=(300, 4, 4, 1)).astype(np.uint8) * 255
    bound, divergence, error = elbo(vae, images)
    assert bound == pytest.approx(-16 * math.log(2), rel=1e-5)
    assert divergence == 0 and error == pytest.approx(0.25)


def test_certain_counts_the_probable_answers() -> None:
    class Fixed(Classifier):
        def logits(self, images: Tensor) -> tuple[Tensor, ...]:
            """Logits of two answers, whose difference is the first value of the image times 10."""
            level = 10 * images[:, 0, 0, 0]
            return (torch.stack([level, 0 * level], dim=1),)

    images = np.zeros((3, 2, 2, 1), np.uint8)
    images[1:, 0, 0, 0] = 25, 51  # logits of 0, 0.98 and 2: probabilities of 0.5, 0.73 and 0.88
    assert certain(Fixed(1, [["a", "b"]], 8), images) == pytest.approx(1 / 3)
