"""Sampling, interpolation and arithmetic in a latent space: functions of z (n, dim) with a standard normal prior."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from models.errors import AttributesNotFoundError, TermsCancelError
from models.generative.classifier import Classifier
from models.tensors import seeded

BATCH = 256  # prior samples that are judged at a time
MAX_SAMPLES = 16_384  # prior samples after which a search ends
FRUITLESS = 2048  # those after which it ends where none has the attributes of a term
MIN_RELATIVE_LENGTH = 1e-5  # of a sum to its longest term: shorter is rounding error
Wanted = tuple[Sequence[str], Sequence[str]]  # the attributes an image must have, and those it must not


def prior(seeds: Sequence[int], dim: int) -> Tensor:
    """Draws z (n, dim) from the prior, one for each seed; each depends on its own seed only."""
    return torch.stack([torch.randn(dim, generator=seeded(seed)) for seed in seeds])


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Spherical interpolation between vectors a and b (dim,), at each of t (n,) in [0, 1], (n, dim).

    Shoemake 1985, "Animating rotation with quaternion curves", section 3.3, with the angle between the directions.
    Parallel vectors have no great circle and are interpolated linearly.
    """
    cosine = torch.dot(a, b) / (a.norm() * b.norm())
    angle = torch.arccos(cosine.clamp(-1, 1))
    t = t[:, None]
    if not angle.sin() > 1e-4:  # also where a length is 0 and the angle is NaN
        return (1 - t) * a + t * b
    return (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / angle.sin()


def path(points: Tensor, steps: int) -> Tensor:
    """Interpolates from each point (k, dim) to the next by `slerp`, (k - 1, steps, dim), ends included."""
    t = torch.linspace(0, 1, steps)
    return torch.stack([slerp(a, b, t) for a, b in pairwise(points)])


def straight(points: Tensor, steps: int) -> Tensor:
    """Interpolates like `path`, but linearly."""
    return torch.lerp(points[:-1, None], points[1:, None], torch.linspace(0, 1, steps)[:, None])


def traversal(start: Tensor, dimensions: Sequence[int], values: Tensor) -> Tensor:
    """Sets one dimension of `start` (dim,) at a time to each of the values, (dimensions, values, dim).

    Higgins et al. 2017, "beta-VAE: learning basic visual concepts with a constrained variational framework", figure 1.
    """
    z = start.repeat(len(dimensions), len(values), 1)
    for row, dimension in enumerate(dimensions):
        z[row, :, dimension] = values
    return z


def manifold_values(steps: int, extent: float) -> Tensor:
    """Coordinates (steps,) from -extent to extent that divide the standard normal distribution into equal shares."""
    ends = torch.special.ndtr(torch.tensor([-extent, extent], dtype=torch.float64))
    shares = torch.linspace(float(ends[0]), float(ends[1]), steps, dtype=torch.float64)
    values: Tensor = torch.special.ndtri(shares).float()
    return values


def manifold(values: Tensor) -> Tensor:
    """Grid of a two-dimensional z, (rows, columns, 2): z0 increases to the right and z1 upwards.

    Kingma and Welling 2014, figure 4, with `manifold_values`.
    """
    z1, z0 = torch.meshgrid(values.flip(0), values, indexing="ij")
    return torch.stack([z0, z1], dim=2)


def combined(weights: Sequence[float], vectors: Tensor) -> Tensor:
    """Weighted sum of vectors (..., terms, dim), (..., dim)."""
    return (torch.tensor(weights, dtype=vectors.dtype)[:, None] * vectors).sum(-2)


def on_sphere(z: Tensor) -> Tensor:
    """Scales vectors (..., dim) to the length sqrt(dim), the typical length of samples from the prior.

    White 2016, "Sampling generative networks", section 2: the mean of many samples is shorter than any of them, and a
    generator is not trained on codes so near to the origin.
    """
    length: Tensor = z.norm(dim=-1, keepdim=True)
    return z * (math.sqrt(z.shape[-1]) / length)


def meets(classifier: Classifier, images: Tensor, wanted: Sequence[Wanted]) -> Tensor:
    """Returns whether each image has the wanted attributes and not the unwanted ones, bool (n, wanted)."""
    answers = classifier.answers(images)
    places = {name: (q, k) for q, names in enumerate(classifier.questions) for k, name in enumerate(names)}

    def has(name: str) -> Tensor:
        question, answer = places[name]
        return answers[:, question] == answer

    everything = torch.ones(len(images), dtype=torch.bool, device=answers.device)
    columns = []
    for with_, without in wanted:
        columns.append(everything.clone())
        for name in with_:
            columns[-1] &= has(name)
        for name in without:
            columns[-1] &= ~has(name)
    return torch.stack(columns, dim=1)


def matching(judge: Callable[[Tensor], Tensor], terms: int, dim: int, n: int, seed: int) -> Tensor:
    """Finds for each term the first `n` prior samples that have its attributes, (terms, n, dim).

    judge: z (n, dim) to bool (n, terms). What is found for a term does not depend on the others. Raises
    AttributesNotFoundError after `MAX_SAMPLES` samples, or after 16 for each that is to be found if those are more, and
    after `FRUITLESS` where none meets a term.
    """
    generator = seeded(seed)
    samples = [torch.zeros(0, dim)] * terms
    judged, most = 0, max(MAX_SAMPLES, 16 * n)
    while judged < most and (judged < FRUITLESS or all(map(len, samples))):
        z = torch.randn(BATCH, dim, generator=generator)
        meeting = judge(z)
        judged += BATCH
        samples = [torch.cat([kept, z[meeting[:, i]]])[:n] for i, kept in enumerate(samples)]
        if all(len(kept) == n for kept in samples):
            return torch.stack(samples)
    rarest = min(range(terms), key=lambda i: len(samples[i]))
    n_matching = len(samples[rarest])
    message = f"{n_matching} of {judged:,} generated images meet it; {n} are needed"
    raise AttributesNotFoundError(message, rarest, n_matching)


def mean_codes(
    wanted: Sequence[Wanted], judge: Callable[[Tensor, Sequence[Wanted]], Tensor], *, dim: int, averaged: int, seed: int
) -> Tensor:
    """Means of `averaged` prior samples that have the attributes, (wanted, dim).

    A classifier selects the samples, which Radford et al. 2016, section 6.3.2, selected by eye.
    judge: z (n, dim) and attributes to bool (n, terms), see `meets`. Raises AttributesNotFoundError.
    """
    return matching(lambda z: judge(z, wanted), len(wanted), dim, averaged, seed).mean(1)


def weighted_sum(weights: Sequence[float], codes: Tensor, *, scaled: bool) -> Tensor:
    """The sum (dim,) of codes (terms, dim), such as man with glasses - man + woman (Radford et al. 2016, figure 7).

    scaled: to the length of samples (`on_sphere`), as sums with means need. Raises TermsCancelError.
    """
    total = combined(weights, codes)
    if not scaled:
        return total
    if total.norm() < MIN_RELATIVE_LENGTH * codes.norm(dim=-1).amax():
        raise TermsCancelError("The vectors of the terms cancel, so that their sum has no direction.")
    return on_sphere(total)
