"""Quality measures of generators, in the features of a classifier trained here or of another encoder of images."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.distance import cdist
from torch import Tensor

from models.errors import NotFiniteError
from models.generative.classifier import Classifier
from models.generative.vae import Vae, bernoulli_loss, kl_divergence
from models.pixels import ImageArray, center_square
from models.space.space import EncodingSpace
from models.tensors import to_tensor

Features = NDArray[np.float64]  # (n, dim)
BATCH = 256
ENCODED = 32  # images at once, which an encoder may take at several times their size


@torch.inference_mode()
def features(classifier: Classifier, images: NDArray[np.uint8]) -> Features:
    """Features (n, 64) of images (n, h, w, channels) by the classifier."""
    parts = [classifier.features(to_tensor(images[i : i + BATCH])).numpy() for i in range(0, len(images), BATCH)]
    return np.concatenate(parts).astype(np.float64)


@torch.inference_mode()
def encoded(space: EncodingSpace, images: ImageArray) -> Features:
    """Vectors (n, dim) of images (n, h, w, 3) in a space, each at the size that the space takes."""
    side = space.image_size
    squares = np.stack([np.asarray(center_square(Image.fromarray(image), side)) for image in images])
    parts = [space.encode(to_tensor(squares[i : i + ENCODED])).float().numpy() for i in range(0, len(images), ENCODED)]
    return np.concatenate(parts).astype(np.float64)


@torch.inference_mode()
def answers(classifier: Classifier, images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Answers (n, questions) of the classifier, as indices."""
    parts = [classifier.answers(to_tensor(images[i : i + BATCH])).numpy() for i in range(0, len(images), BATCH)]
    return np.concatenate(parts)


@torch.inference_mode()
def certain(classifier: Classifier, images: NDArray[np.uint8], least: float = 0.8) -> float:
    """Share of images (n, h, w, channels) whose likeliest answer to the first question is at least so probable."""
    parts = [classifier.logits(to_tensor(images[i : i + BATCH]))[0] for i in range(0, len(images), BATCH)]
    return float((torch.cat(parts).softmax(1).amax(1) >= least).float().mean())


def frechet_distance(a: Features, b: Features) -> float:
    """Frechet distance |mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) of Gaussians fitted to the features.

    Heusel et al. 2017, "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", eq. 6; the
    trace of the root is the sum of the roots of the eigenvalues of S_a^(1/2) S_b S_a^(1/2), which is symmetric.
    """
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(cov_a)
    root_a = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    roots = np.sqrt(np.linalg.eigvalsh(root_a @ cov_b @ root_a).clip(0))
    apart = float(((a.mean(0) - b.mean(0)) ** 2).sum())
    return float(max(0.0, apart + np.trace(cov_a) + np.trace(cov_b) - 2 * roots.sum()))


def kernel_distance(
    a: Features, b: Features, *, subsets: int = 100, subset_size: int = 200, seed: int = 0
) -> tuple[float, float]:
    """Kernel distance (KID): mean of the squared MMD of pairs of subsets, and its standard deviation between them.

    Binkowski et al. 2018, "Demystifying MMD GANs", section 4: the unbiased estimate, in which no vector is compared
    with itself, by the kernel (x . y / dim + 1)^3. About 0, also below it, for two sets of one distribution; unlike the
    Frechet distance its mean does not depend on their sizes. Subsets are drawn without replacement.
    """
    rng, size = np.random.default_rng(seed), min(subset_size, len(a), len(b))
    apart = [
        _squared_mmd(a[rng.choice(len(a), size, replace=False)], b[rng.choice(len(b), size, replace=False)])
        for _ in range(subsets)
    ]
    return float(np.mean(apart)), float(np.std(apart))


def _squared_mmd(x: Features, y: Features) -> float:
    """Unbiased squared MMD of two sets of m vectors (Gretton et al. 2012, "A kernel two-sample test", eq. 3)."""
    m = len(x)
    within = sum((k.sum() - np.trace(k)) / (m * (m - 1)) for k in (_cubic(x, x), _cubic(y, y)))
    return float(within - 2 * _cubic(x, y).mean())


def _cubic(x: Features, y: Features) -> Features:
    base = x @ y.T / x.shape[1] + 1
    kernel: Features = base * base * base  # numpy's power of floats is some twenty times slower
    return kernel


def precision_and_recall(real: Features, fake: Features, neighbors: int = 3) -> tuple[float, float]:
    """Precision, the share of fakes among real images, and recall, the share of real images among fakes.

    Kynkaanniemi et al. 2019, "Improved precision and recall metric for assessing generative models", eqs. 1 and 2: an
    image is among those of a set if one of these has it within the distance to its own k-th neighbor.
    """
    apart = cdist(real, fake)
    precise = apart <= _radii(real, neighbors)[:, None]
    recalled = apart <= _radii(fake, neighbors)
    return float(precise.any(0).mean()), float(recalled.any(1).mean())


def density_and_coverage(real: Features, fake: Features, neighbors: int = 5) -> tuple[float, float]:
    """Density of fakes among real images, about 1 for real ones, and coverage: the share of real images near a fake.

    Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models", eqs. 1 and 3: near means within
    the distance of a real image to its k-th neighbor.
    """
    near = cdist(real, fake) <= _radii(real, neighbors)[:, None]  # (real, fake)
    return float(near.sum() / (neighbors * len(fake))), float(near.any(1).mean())


def _radii(points: Features, neighbors: int) -> Features:
    """Distance of each point to its k-th neighbor, (n,)."""
    radii: Features = np.partition(cdist(points, points), neighbors, axis=1)[:, neighbors]  # the nearest is itself
    return radii


@torch.inference_mode()
def elbo(vae: Vae, images: NDArray[np.uint8], seed: int = 0) -> tuple[float, float, float]:
    """Evidence lower bound in nats, its KL divergence, and the mean squared error of reconstructions in [0, 1].

    One draw of z per image (Kingma and Welling 2014, eq. 8), the pixels' likelihood being Bernoulli.
    """
    generator = torch.Generator().manual_seed(seed)
    bounds, divergences, errors = [], [], []
    for start in range(0, len(images), BATCH):
        x = to_tensor(images[start : start + BATCH])
        mu, log_var = vae.posterior(x)
        z = mu + (0.5 * log_var).exp() * torch.randn(mu.shape, generator=generator)
        divergence = kl_divergence(mu, log_var)
        bounds.append(-bernoulli_loss(vae.decode(z), x) - divergence)
        divergences.append(divergence)
        errors.append((vae.decode(mu) - x).square().flatten(1).mean(1))
    return tuple(_mean(part) for part in (bounds, divergences, errors))  # type: ignore[return-value]


def _mean(parts: list[Tensor]) -> float:
    mean = float(torch.cat(parts).mean())
    if not math.isfinite(mean):
        raise NotFiniteError("a mean of the likelihood is not finite: the model's weights are at fault")
    return mean
