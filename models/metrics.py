"""Quality measures of generators, in the features of a classifier trained here."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from models.errors import NotFiniteError
from models.generative.classifier import Classifier
from models.generative.vae import Vae, bernoulli_loss, kl_divergence
from models.tensors import to_tensor

Features = NDArray[np.float64]  # (n, dim)
BATCH = 256


@torch.inference_mode()
def features(classifier: Classifier, images: NDArray[np.uint8]) -> Features:
    """Features (n, 64) of images (n, h, w, channels) by the classifier."""
    parts = [classifier.features(to_tensor(images[i : i + BATCH])).numpy() for i in range(0, len(images), BATCH)]
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


def density_and_coverage(real: Features, fake: Features, neighbors: int = 5) -> tuple[float, float]:
    """Density of fakes among real images, about 1 for real ones, and coverage: the share of real images near a fake.

    Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models", eqs. 1 and 3: near means within
    the distance of a real image to its k-th neighbor.
    """
    index = NearestNeighbors(n_neighbors=neighbors + 1).fit(real)
    radii = index.kneighbors(real)[0][:, -1]  # the first neighbor of each is itself
    apart = np.sqrt(((real**2).sum(1)[:, None] + (fake**2).sum(1)[None] - 2 * real @ fake.T).clip(0))
    near = apart <= radii[:, None]  # (real, fake)
    return float(near.sum() / (neighbors * len(fake))), float(near.any(1).mean())


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
