import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn

from models.generative.classifier import Classifier
from models.generative.vae import Vae
from models.metrics import (
    certain,
    density_and_coverage,
    elbo,
    encoded,
    frechet_distance,
    kernel_distance,
    precision_and_recall,
)
from models.space.space import PixelSpace

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


def test_kernel_distance_by_hand() -> None:
    # One dimension, kernel (xy + 1)^3. Within a = {0, 1}: k(0, 1) = 1. Within b = {1, 2}: k(1, 2) = 27. Between them
    # k(0, 1), k(0, 2), k(1, 1), k(1, 2) = 1, 1, 8, 27, of which the mean is 9.25.
    a, b = np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])
    assert kernel_distance(a, b, subsets=3, subset_size=2) == pytest.approx((1 + 27 - 2 * 9.25, 0))


def test_kernel_distance_by_the_kernels_of_scikit_learn() -> None:
    x, y = RNG.normal(size=(40, 6)), RNG.normal(size=(40, 6)) + 0.5
    within_x, within_y, between = (polynomial_kernel(p, q, degree=3) for p, q in ((x, x), (y, y), (x, y)))
    pairs = ~np.eye(40, dtype=bool)
    wanted = within_x[pairs].mean() + within_y[pairs].mean() - 2 * between.mean()
    assert kernel_distance(x, y, subset_size=100)[0] == pytest.approx(wanted, rel=1e-9)  # each subset is all of them


def test_kernel_distance_of_the_same_law_is_about_nothing_at_any_size() -> None:
    for n in (50, 200):
        mean, spread = kernel_distance(*RNG.normal(size=(2, 2 * n, 4)), subset_size=n)
        assert abs(mean) < 3 * spread  # 0 +- the deviation of one estimate; the subsets share vectors
    assert kernel_distance(RNG.normal(size=(200, 4)), RNG.normal(size=(200, 4)) + 1)[0] > 1


def test_precision_and_recall_by_hand() -> None:
    # On a line, first neighbors: real 0, 1, 5, 6 have radii of 1, fakes 0.5, 1.5, 5.5, 100 of 1, 1, 4 and 94.5. The
    # fake at 100 is among no real images, and every real one is within 1 of 0.5 or within 4 of 5.5.
    real, fake = (np.array(points)[:, None] for points in ([0.0, 1, 5, 6], [0.5, 1.5, 5.5, 100]))
    assert precision_and_recall(real, fake, neighbors=1) == (0.75, 1)
    assert precision_and_recall(fake, real, neighbors=1) == (1, 0.75)
    assert precision_and_recall(real, real + 100, neighbors=1) == (0, 0)


def test_precision_and_recall_by_the_neighbors_of_scikit_learn() -> None:
    real, fake = RNG.normal(size=(300, 5)), 0.6 * RNG.normal(size=(200, 5))

    def share(of: np.ndarray, among: np.ndarray) -> float:
        radii = NearestNeighbors(n_neighbors=4).fit(among).kneighbors(among)[0][:, 3]
        distances, indices = NearestNeighbors(n_neighbors=len(among)).fit(among).kneighbors(of)
        return float((distances <= radii[indices]).any(1).mean())

    precision, recall = precision_and_recall(real, fake)
    assert (precision, recall) == (share(fake, real), share(real, fake))
    assert precision > 0.9 > recall  # a narrower law is precise and leaves out the rim


def test_encoded_brings_images_to_the_size_of_the_space() -> None:
    images = np.full((3, 8, 8, 3), (0, 51, 255), np.uint8)
    assert np.allclose(encoded(PixelSpace(4, 3), images), np.repeat([0, 0.2, 1], 16))


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
