"""The sweep over the number of Gaussians against scikit-learn's refits: `python -m bench.mixture`.

The system as published: gray flowers of 128 x 128, PCA at 99 % of the variance, a mixture chosen by AIC of sizes up to
several hundred. scikit-learn fits each of the same sizes afresh: as it comes, where AIC falls to the last size since
components of one member are all but points; and to scores of variance 1 with our floor, where the AICs compare.
"""

import argparse
import statistics
import time
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture

from models.data.flowers import flowers
from models.space.mixture import FLOOR, fit_mixture
from models.space.pca import fit_pca

EVERY_SIZE = 99  # patience that no sweep exhausts


def main() -> None:
    """Print the medians, their ratio, and the size and AIC that each chose."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-components", type=int, default=400)
    parser.add_argument("--flowers", type=int, default=800)
    args = parser.parse_args()
    images = flowers(args.flowers).images.mean(3, dtype=np.float32) / 255
    vectors = images.reshape(len(images), -1)
    scores = fit_pca(vectors, standardize=False, seed=0).transform(vectors).astype(np.float64)
    scale = scores.std(0)
    ours, mixture = timed(
        partial(fit_mixture, scores, max_components=args.max_components, patience=EVERY_SIZE, seed=0), args.rounds
    )
    sizes = [int(row["n_components"]) for row in mixture.sweep]
    plain, of_plain = timed(partial(refits, scores, sizes, reg_covar=1e-6), args.rounds)
    floored, of_floored = timed(partial(refits, scores / scale, sizes, reg_covar=FLOOR), args.rounds)
    # The density of scores is that of scaled scores over the product of the scales.
    of_floored = {size: aic + 2 * len(scores) * float(np.log(scale).sum()) for size, aic in of_floored.items()}
    of_ours = {int(row["n_components"]): row["aic"] for row in mixture.sweep}
    print(f"{len(scores)} flowers, {scores.shape[1]} components of PCA, {len(sizes)} sizes: {sizes}")
    print(f"{'':28}{'sweep':>9}{'ratio':>7}{'chosen':>8}{'AIC':>10}")
    rows = (("ours", ours, of_ours), ("scikit-learn", plain, of_plain), ("with our floor", floored, of_floored))
    for name, seconds, aics in rows:
        chosen = min(aics, key=aics.__getitem__)
        print(f"{name:28}{seconds:8.2f}s{seconds / ours:6.1f}x{chosen:8}{aics[chosen]:10.0f}")


def refits(scores: NDArray[np.float64], sizes: list[int], reg_covar: float) -> dict[int, float]:
    """The AIC of a mixture of each size, each begun by k-means."""

    def fitted(size: int) -> GaussianMixture:
        return GaussianMixture(size, covariance_type="diag", reg_covar=reg_covar, random_state=0).fit(scores)

    return {size: float(fitted(size).aic(scores)) for size in sizes}


def timed(call: Any, rounds: int) -> tuple[float, Any]:
    """The median seconds of a call, and what it gave last."""
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        found = call()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), found


if __name__ == "__main__":
    main()
