"""Compares the variance of cluster samples along late components with that of a Gaussian with shrunk covariance.

`python -m bench.sampling`: for three sets, the variance of samples as a multiple of the members', by component.
"""

import argparse

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.covariance import LedoitWolf

from models.data.named import named_dataset
from models.space.methods import kmeans
from models.space.pca import fit_pca
from models.space.sampling import sample_cluster

Array = NDArray[np.float32]
SETS = {"avatars": (64, 3), "flowers": (64, 3), "digits": (16, 1)}  # side and channels
N_CLUSTERS, DRAWS = 6, 2000


def main() -> None:
    """Prints for each set the worst component of any cluster, and the median of the last fifth of components."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=800)
    n_images = parser.parse_args().images
    print("set       shrunk: most, late median   here: most, least, late median")
    for name, (side, channels) in SETS.items():
        vectors = _pixels(name, n_images, side, channels)
        scores = fit_pca(vectors, standardize=False, seed=0).transform(vectors)
        clustering = kmeans(scores, n_clusters=N_CLUSTERS, seed=0)
        shrunk, here = [], []
        for cluster in range(N_CLUSTERS):
            members = scores[clustering.labels_ == cluster].astype(np.float64)
            rng = np.random.default_rng([2, cluster])
            drawn = sample_cluster(scores, clustering, cluster, DRAWS, 1.0, rng)
            shrunk.append(_shrunk(members, rng).var(0) / members.var(0))
            here.append(drawn.var(0) / members.var(0))
        late = scores.shape[1] // 5
        before, now = np.stack(shrunk), np.stack(here)
        print(
            f"{name:9} {before.max():12.2f} {np.median(before[:, -late:]):12.2f}"
            f" {now.max():12.2f} {now.min():6.2f} {np.median(now[:, -late:]):12.2f}"
        )


def _shrunk(members: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Draws from the Gaussian of members (n, k) with the covariance of Ledoit and Wolf 2004."""
    root = np.linalg.cholesky(LedoitWolf().fit(members).covariance_ + 1e-9 * np.eye(members.shape[1]))
    drawn: NDArray[np.float64] = members.mean(0) + rng.standard_normal((DRAWS, members.shape[1])) @ root.T
    return drawn


def _pixels(name: str, n: int, side: int, channels: int) -> Array:
    """Images of a named set as vectors (n, channels * side^2) in [0, 1]."""
    rows = []
    for pixels in named_dataset(name, limit=n).images:
        image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        image = image.convert("L" if channels == 1 else "RGB").resize((side, side), Image.Resampling.LANCZOS)
        rows.append(np.asarray(image, np.float32).reshape(-1) / 255)
    return np.stack(rows)


if __name__ == "__main__":
    main()
