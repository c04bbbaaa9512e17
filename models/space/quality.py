"""How truly a space shows what is asked of it: vectors decoded, encoded again and compared."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from models.space.collection import FittedCollection
from models.space.sampling import sample_cluster
from models.space.space import Space
from models.space.steering import component_direction, moved

Array = NDArray[np.float32]
BATCH = 64


@torch.inference_mode()
def reencode(space: Space, vectors: Array, seeds: Sequence[int]) -> Array:
    """The vectors (n, dim) of the pictures that vectors (n, dim) are decoded to."""
    parts = []
    for start in range(0, len(vectors), BATCH):
        rows = slice(start, start + BATCH)
        images = space.decode(torch.from_numpy(vectors[rows]), seeds=seeds[rows])
        parts.append(space.encode(images).float().numpy())
    return np.concatenate(parts)


def sampling_precision(space: Space, collection: FittedCollection, n: int, seed: int = 0) -> float:
    """The share of `n` new pictures of each k-means cluster that fall into their cluster when encoded again."""
    clustering = collection.clusterings["kmeans"]
    clusters = range(clustering.n_clusters)
    scores = np.concatenate(
        [
            sample_cluster(collection.scores, clustering, cluster, n, 1.0, np.random.default_rng([seed, cluster]))
            for cluster in clusters
        ]
    )
    again = reencode(space, collection.pca.inverse_transform(scores), range(len(scores)))
    found = collection.assigned("kmeans", collection.pca.transform(again))
    return float((found == np.repeat(clusters, n)).mean())


def steering_precision(
    space: Space, collection: FittedCollection, starts: Array, strength: float = 2.0, n_components: int = 10
) -> dict[str, float]:
    """What comes of moving `starts` (n, dim) by `strength` standard deviations along each of the first components.

    `right_direction`: the share of pictures that, encoded again, lie farther along the component than the start encoded
    again. `reached`: how far they move along it, 1 being all the way. `others`: how far they move along each other of
    these components at the median, as a share of that.
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
