"""Quality of a space: vectors are decoded, encoded again and compared."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.space.collection import FittedCollection
from models.space.mixture import fit_mixture
from models.space.pca import fit_pca
from models.space.sampling import sample_cluster, sample_component
from models.space.space import Space
from models.space.steering import component_direction, moved
from models.tensors import to_pixels, to_tensor

Array = NDArray[np.float32]
BATCH = 64


@torch.inference_mode()
def reencode(space: Space, vectors: Array, seeds: Sequence[int]) -> Array:
    """Decodes vectors (n, dim) to images and encodes these again, (n, dim)."""
    parts = []
    for start in range(0, len(vectors), BATCH):
        rows = slice(start, start + BATCH)
        images = space.decode(torch.from_numpy(vectors[rows]), seeds=seeds[rows])
        parts.append(space.encode(images).float().numpy())
    return np.concatenate(parts)


def mixture_samples(vectors: Array, n: int, *, seed: int = 0, standardize: bool = True, **mixture: Any) -> Array:
    """Samples `n` vectors (n, dim) of a mixture fitted to vectors (members, dim), as cluster samplings do.

    mixture: arguments of `fit_mixture`. Components are sampled in proportion to their weights.
    """
    pca = fit_pca(vectors, standardize=standardize, seed=seed)
    scores = pca.transform(vectors)
    fitted = fit_mixture(scores, seed=seed, **mixture)
    sizes = np.random.default_rng(seed).multinomial(n, fitted.weights_)
    drawn = [
        sample_component(scores, fitted, k, size, 1.0, np.random.default_rng([seed, k]))
        for k, size in enumerate(sizes)
        if size
    ]
    return pca.inverse_transform(np.concatenate(drawn))


@torch.inference_mode()
def mixture_images(space: Space, images: NDArray[np.uint8], n: int, **mixture: Any) -> NDArray[np.uint8]:
    """Decodes `n` samples of a mixture over the vectors of images, both uint8 (n, h, w, channels)."""
    parts = [space.encode(to_tensor(images[i : i + BATCH])) for i in range(0, len(images), BATCH)]
    vectors = torch.from_numpy(mixture_samples(torch.cat(parts).float().numpy(), n, **mixture))
    return np.concatenate([to_pixels(space.decode(part, seeds=range(len(part)))) for part in vectors.split(BATCH)])


def sampling_precision(space: Space, collection: FittedCollection, n: int, seed: int = 0) -> float:
    """Share of `n` samples of each k-means cluster that are assigned to it again after decoding and encoding."""
    clustering = collection.clusterings["kmeans"]
    clusters = range(clustering.n_clusters)
    scores = np.concatenate(
        [
            sample_cluster(collection.scores, clustering, cluster, n, 1.0, np.random.default_rng([seed, cluster]))
            for cluster in clusters
        ]
    )
    again = reencode(space, collection.pca.inverse_transform(scores), range(len(scores)))
    labels = collection.assigned("kmeans", collection.pca.transform(again))
    return float((labels == np.repeat(clusters, n)).mean())


def steering_precision(
    space: Space, collection: FittedCollection, starts: Array, strength: float = 2.0, n_components: int = 10
) -> dict[str, float]:
    """Measures moves of `starts` (n, dim) by `strength` standard deviations along each of the first components.

    All vectors are decoded and encoded again. `right_direction`: share of images that move forward along the component.
    `reached`: median move along it, 1 for the requested distance. `others`: median move along each other component,
    relative to `reached`.
    """
    pca = collection.pca
    seeds = range(len(starts))
    before = pca.transform(reencode(space, starts, seeds))[:, :n_components]
    along_it, along_others = [], []
    for component in range(n_components):
        change = strength * component_direction(pca, component)
        after = pca.transform(reencode(space, moved(pca, starts, np.tile(change, (len(starts), 1))), seeds))
        went = after[:, :n_components] - before
        along_it.append(went[:, component] / change[component])
        along_others.append(np.abs(np.delete(went, component, axis=1)) / change[component])
    reached = np.stack(along_it)
    return {
        "right_direction": float((reached > 0).mean()),
        "reached": float(np.median(reached)),
        "others": float(np.median(np.stack(along_others)) / np.median(reached)),
    }
