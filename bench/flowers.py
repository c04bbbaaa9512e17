"""New flowers by Gaussian mixtures over pixels and over codes: `python -m bench.flowers --out docs/images`.

800 gray flowers of 128 x 128, and as many samples of each way as there are images on each side of the judge: Frechet
distance in the features of `classifier-flowers` as a multiple of real against real, and the share of samples in which
it finds a species with a probability of 0.8. Writes a sheet of ten samples of each.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from models.build import load_model
from models.catalogue import cards
from models.data.dataset import contact_sheet, gray
from models.data.named import named_dataset
from models.judge import judge_of
from models.metrics import certain, density_and_coverage, features, frechet_distance
from models.space.pca import Pca, fit_pca
from models.space.quality import mixture_images
from models.space.space import PixelSpace, space_of

SIDE = 128
Scores = NDArray[np.float64]
Images = NDArray[np.uint8]


def main() -> None:
    """Prints a row for each way, real images first."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--flowers", type=int, default=800)
    parser.add_argument("--images", type=int, default=1000, help="a side")
    parser.add_argument("--out", type=Path, help="folder of the sheets")
    parser.add_argument("--only", nargs="*", help="names of the ways; all of them if absent")
    args = parser.parse_args()
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
    n, colored = args.images, named_dataset("flowers", limit=args.flowers).images
    images = gray(colored)
    judge = judge_of("flowers", n)
    vectors = images.reshape(len(images), -1).astype(np.float32) / 255
    pca = fit_pca(vectors, standardize=False, seed=0)
    scores = pca.transform(vectors).astype(np.float64)
    codes, pixels = cards()["vae-flowers"], PixelSpace(SIDE, 1)
    space = space_of(load_model(codes), codes.architecture)
    embeddings = cards()["kandinsky-flowers"]
    embedding_space = space_of(load_model(embeddings), embeddings.architecture)
    ways: dict[str, Callable[[], Images]] = {
        "diagonal-410": lambda: decoded(pca, gaussians(scores, n, 410, "diag")),
        "diagonal-aic": partial(mixture_images, pixels, images, n, standardize=False, candidates=(2, 3, 4, 5, 6, 8)),
        "full-4": lambda: decoded(pca, gaussians(scores, n, 4, "full")),
        "ppca-20": lambda: decoded(pca, principal_components(scores, n, 20, 12)),
        "codes": partial(mixture_images, space, images, n, covariance_type="full"),
        "embeddings": lambda: gray(mixture_images(embedding_space, colored, n, covariance_type="full")),
    }
    real = frechet_distance(judge.real, judge.others)
    print(f"{'':14}{'Frechet':>9}{'times real':>12}{'coverage':>10}{'species at 0.8':>16}")
    share = certain(judge.classifier, judge.held_out.images)
    print(f"{'real':14}{real:9.2f}{1:11.1f}x{density_and_coverage(judge.real, judge.others)[1]:10.2f}{share:16.1%}")
    for name in args.only or ways:
        made = ways[name]()
        seen = features(judge.classifier, made)
        distance, coverage = frechet_distance(judge.real, seen), density_and_coverage(judge.real, seen)[1]
        row = f"{name:14}{distance:9.2f}{distance / real:11.1f}x{coverage:10.2f}"
        print(f"{row}{certain(judge.classifier, made):16.1%}", flush=True)
        if args.out:
            chosen = np.random.default_rng(0).choice(len(made), 10, replace=False)
            contact_sheet(made[chosen], 5).convert("L").save(args.out / f"flowers-{name}.jpg", quality=85)


def decoded(pca: Pca, scores: Scores) -> Images:
    """Images (n, 128, 128, 1) of component scores (n, k)."""
    values = pca.inverse_transform(scores.astype(np.float32)).clip(0, 1)
    return np.asarray((255 * values).round(), np.uint8).reshape(-1, SIDE, SIDE, 1)


def gaussians(scores: Scores, n: int, size: int, covariance_type: str) -> Scores:
    """Draws of a mixture as scikit-learn fits it, on scores of variance 1."""
    scale = scores.std(0)
    mixture = GaussianMixture(size, covariance_type=covariance_type, reg_covar=1e-3, random_state=0)
    drawn: Scores = mixture.fit(scores / scale).sample(n)[0] * scale
    return drawn


def principal_components(scores: Scores, n: int, size: int, dim: int, rounds: int = 8) -> Scores:
    """Draws of a mixture of probabilistic PCA (Tipping and Bishop 1999), fitted with hard assignments.

    Each of `size` Gaussians has `dim` axes of its own and one variance across them.
    """
    rng = np.random.default_rng(0)
    labels = rng.integers(0, size, len(scores))
    labels[: size * (dim + 2)] = np.arange(size * (dim + 2)) % size
    for _ in range(rounds):
        kept = [k for k in range(size) if (labels == k).sum() > dim + 1]
        fits = [PCA(dim).fit(scores[labels == k]) for k in kept]
        shares = np.array([(labels == k).mean() for k in kept])
        densities = np.stack([fit.score_samples(scores) for fit in fits], axis=1) + np.log(shares)
        labels = np.array(kept)[densities.argmax(1)]
    sizes = rng.multinomial(n, shares / shares.sum())
    draws = []
    for fit, count in zip(fits, sizes, strict=True):
        axes = np.sqrt((fit.explained_variance_ - fit.noise_variance_).clip(0))[:, None] * fit.components_
        across = np.sqrt(fit.noise_variance_) * rng.standard_normal((count, scores.shape[1]))
        draws.append(fit.mean_ + rng.standard_normal((count, dim)) @ axes + across)
    drawn: Scores = np.concatenate(draws)
    return drawn[rng.permutation(n)]


if __name__ == "__main__":
    main()
