"""A space of 100,000 vectors: components, clusters and a map, against plain scikit-learn: `python -m bench.spaces`."""

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from models.space.clusters import kmeans
from models.space.pca import fit_pca

DIM, RANK = 768, 60
CLUSTERS = 20
SUBSAMPLE = 2_000  # vectors of which scikit-learn's t-SNE makes its map: of 100,000 it takes hours


def main() -> None:
    """Print seconds, ours and theirs, and the peak of the resident memory after each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    from models.space.maps import tsne_map

    vectors = low_rank(args.rows)
    print(f"{args.rows:,} x {DIM} float32, median of {args.rounds}, t-SNE once; resident before {peak_gb():.2f} GB")
    pca = measured("PCA at 99 %", args.rounds, lambda: fit_pca(vectors, standardize=False, seed=0))
    scores = pca.transform(vectors)
    ours = measured(f"k-means of {CLUSTERS}", args.rounds, lambda: kmeans(scores, n_clusters=CLUSTERS, seed=0))
    measured("t-SNE", 1, lambda: tsne_map(scores, seed=0))
    theirs = measured("scikit-learn PCA at 99 %", args.rounds, lambda: PCA(0.99).fit(vectors))
    plain = measured(
        f"scikit-learn k-means of {CLUSTERS}, n_init=10",
        args.rounds,
        lambda: KMeans(CLUSTERS, n_init=10, random_state=0).fit(scores),
    )
    few = scores[:SUBSAMPLE]
    measured(f"scikit-learn t-SNE of {len(few):,} of them", 1, lambda: TSNE(random_state=0).fit_transform(few))
    inertia = float(((scores - ours.cluster_centers_[ours.labels_]) ** 2).sum())
    share = inertia / plain.inertia_
    print(f"components {len(pca.components_)} and {theirs.n_components_}, inertia {share:.4f} of theirs")


def low_rank(rows: int) -> NDArray[np.float32]:
    """Vectors (rows, DIM) of clusters in `RANK` directions, with a little noise."""
    rng = np.random.default_rng(0)
    centers = 3 * rng.standard_normal((CLUSTERS, RANK), np.float32)
    inside = centers[rng.integers(CLUSTERS, size=rows)] + rng.standard_normal((rows, RANK), np.float32)
    vectors = inside @ rng.standard_normal((RANK, DIM), np.float32)
    vectors += 0.3 * rng.standard_normal((rows, DIM), np.float32)
    return np.asarray(vectors, np.float32)


def measured(name: str, rounds: int, call: Callable[[], Any]) -> Any:
    """What a call gives, its median seconds printed."""
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        found = call()
        seconds.append(time.perf_counter() - began)
    print(f"{name:40}{statistics.median(seconds):9.2f}s   peak {peak_gb():.2f} GB", flush=True)
    return found


def peak_gb() -> float:
    """The most memory this process has had resident so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
