"""The sweep over the number of Gaussians against scikit-learn's refits: `python -m bench.mixture`.

The system as published: 800 gray flowers of 128 x 128, PCA at 99 % of the variance, a diagonal mixture chosen by AIC of
up to 410 components. Both sides fit scores of variance 1 with the same constant on the variances. scikit-learn fits
each number of components afresh: as it comes, from k-means, and from the first means, weights and variances of ours.
Times are CPU seconds; `--plot` writes the curves.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture

from models.data.dataset import in_gray
from models.data.flowers import flowers
from models.space.mixture import FLOOR, em, fit_mixture, starts
from models.space.pca import fit_pca

SIZES = (1, 2, 3, 4, 5, 6, 8, *range(10, 411, 10))
Scores = NDArray[np.float64]
Curve = dict[int, float]  # AIC by number of components


def main() -> None:
    """Prints the medians, their ratio, the chosen numbers, and how far the curves are apart."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--flowers", type=int, default=800)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    images = in_gray(flowers(args.flowers)).images
    vectors = images.reshape(len(images), -1).astype(np.float32) / 255
    scores = fit_pca(vectors, standardize=False, seed=0).transform(vectors).astype(np.float64)
    scale = scores.std(0)
    sides: dict[str, Callable[[], Curve]] = {
        "ours": partial(ours, scores, scale),
        "scikit-learn": partial(refits, scores / scale, lambda size: {}),
        "scikit-learn, our start": partial(refits, scores / scale, partial(our_start, scores, scale)),
    }
    print(f"{len(scores)} flowers, {scores.shape[1]} components of PCA, {len(SIZES)} sizes up to {SIZES[-1]}")
    found = {name: timed(call, args.rounds) for name, call in sides.items()}
    seconds, curve = found["ours"]
    print(f"{'':26}{'sweep':>9}{'ratio':>8}{'chosen':>8}{'AIC':>10}{'least AIC apart':>17}{'curves apart, most':>20}")
    for name, (taken, theirs) in found.items():
        chosen = min(theirs, key=theirs.__getitem__)
        least = min(curve.values()) / theirs[chosen] - 1
        apart = max(abs(curve[size] / theirs[size] - 1) for size in SIZES)
        row = f"{name:26}{taken:8.2f}s{taken / seconds:7.1f}x{chosen:8}{theirs[chosen]:10.0f}"
        print(f"{row}{least:17.2%}{apart:20.2%}")
    if args.plot:
        plot({name: each for name, (_, each) in found.items()}, args.plot)


def ours(scores: Scores, scale: Scores) -> Curve:
    """AIC of each size in one sweep, whose constant is relative to the variances, as density of scaled scores."""
    sweep = fit_mixture(scores, candidates=SIZES, seed=0).sweep
    return {int(row["n_components"]): row["aic"] - 2 * len(scores) * float(np.log(scale).sum()) for row in sweep}


def refits(scores: Scores, start: Callable[[int], dict[str, Any]]) -> Curve:
    """AIC of a mixture of each size, fitted until it converges."""

    def aic(size: int) -> float:
        mixture = GaussianMixture(size, covariance_type="diag", reg_covar=FLOOR, random_state=0, **start(size))
        return float(mixture.fit(scores).aic(scores))

    return {size: aic(size) for size in SIZES}


def our_start(scores: Scores, scale: Scores, size: int) -> dict[str, Any]:
    """The mixture of the members of a cut of our Ward tree, as arguments of scikit-learn's."""
    first = em(scores / scale, starts(scores, 0)(size), "diag", max_iter=0)
    return {"weights_init": first.weights_, "means_init": first.means_, "precisions_init": 1 / first.covariances_}


def plot(curves: dict[str, Curve], path: Path) -> None:
    """Writes the curves, AIC by number of components."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for (name, curve), style in zip(curves.items(), ("o-", "s-", "x--"), strict=True):
        least = min(curve, key=curve.__getitem__)
        axes.plot(list(curve), [value / 1e6 for value in curve.values()], style, markersize=4, label=f"{name}: {least}")
    axes.set(xlabel="number of Gaussians", ylabel="AIC in millions", title="AIC of 800 gray flowers, both sides whole")
    axes.legend(title="least AIC at")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110, pil_kwargs={"quality": 85})


def timed(call: Callable[[], Curve], rounds: int) -> tuple[float, Curve]:
    """The median CPU seconds of a call, which other processes disturb least, and what it returned last."""
    seconds = []
    for _ in range(rounds):
        began = time.process_time()
        found = call()
        seconds.append(time.process_time() - began)
    return statistics.median(seconds), found


if __name__ == "__main__":
    main()
