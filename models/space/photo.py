"""The space of photographs: an image is the pooled features of a classifier, whose classes name images and clusters."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.perceptual.efficientnet import EfficientNetLite, class_names
from models.space.space import EncoderSpace

Array = NDArray[np.float32]
BATCH = 4096  # vectors
MAX_ATTRIBUTES = 64  # classes that become attributes of members


@dataclass(frozen=True)
class PhotoSpace(EncoderSpace):
    """The space of pooled features, which has no decoder."""

    model: EfficientNetLite

    def probabilities(self, vectors: Array) -> Array:
        """Probabilities (n, classes) of features (n, dim)."""
        device = next(self.model.parameters()).device
        with torch.inference_mode():
            parts = [self.model.class_probabilities(part.to(device)) for part in torch.from_numpy(vectors).split(BATCH)]
        probabilities: Array = torch.cat(parts).cpu().numpy()
        return probabilities


@dataclass(frozen=True)
class NamedClass:
    """A class and its probability."""

    name: str
    probability: float


def likeliest(probabilities: Array) -> list[NamedClass]:
    """The class of the highest probability of each row (n, classes)."""
    names = class_names()
    top = probabilities.argmax(1)
    return [NamedClass(names[k], round(float(row[k]), 3)) for k, row in zip(top, probabilities, strict=True)]


def classes_of_clusters(probabilities: Array, labels: NDArray[np.int64], n_clusters: int) -> list[NamedClass]:
    """The class of the highest mean probability of each cluster; labels (n,), below 0 for noise."""
    return likeliest(np.stack([probabilities[labels == cluster].mean(0) for cluster in range(n_clusters)]))


def class_attributes(classes: Sequence[NamedClass]) -> tuple[NDArray[np.int8], tuple[str, ...]]:
    """Whether each member is of each class (n, k), and the names of the `MAX_ATTRIBUTES` most frequent classes.

    Classes of a single member are left out.
    """
    of_members = np.array([each.name for each in classes])
    names, counts = np.unique(of_members, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MAX_ATTRIBUTES]
    kept = sorted(str(names[k]) for k in order if counts[k] > 1)
    return (of_members[:, None] == np.array(kept, dtype=str)).astype(np.int8), tuple(kept)
