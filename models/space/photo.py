"""The space of photographs: an image is the pooled features of a classifier, whose classes name images and clusters."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.perceptual.efficientnet import EfficientNetLite, class_names
from models.space.space import EncoderSpace

Array = NDArray[np.float32]
BATCH = 4096  # vectors
MAX_ATTRIBUTES = 64  # classes that become attributes of members
TOP = 3  # classes of each member


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

    def top_classes(self, vectors: Array) -> tuple[NDArray[np.int16], Array]:
        """The `TOP` likeliest classes of features (n, dim), the likeliest first, and their probabilities, (n, TOP)."""
        starts = range(0, len(vectors), BATCH)
        parts = [torch.from_numpy(self.probabilities(vectors[k : k + BATCH])).topk(TOP) for k in starts]
        classes, probabilities = (np.concatenate([part[place].numpy() for part in parts]) for place in (1, 0))
        return classes.astype(np.int16), probabilities


@dataclass(frozen=True)
class NamedClass:
    """A class and its probability."""

    name: str
    probability: float


def classes_of_clusters(probabilities: Array, labels: NDArray[np.int64], n_clusters: int) -> list[NamedClass]:
    """The class of the highest mean probability of each cluster; labels (n,), below 0 for noise."""
    means = [probabilities[labels == cluster].mean(0) for cluster in range(n_clusters)]
    return [NamedClass(class_names()[row.argmax()], round(float(row.max()), 3)) for row in means]


def class_attributes(of_members: NDArray[np.str_]) -> tuple[NDArray[np.int8], tuple[str, ...]]:
    """Whether each member is of each class (n, k), and the names of the `MAX_ATTRIBUTES` most frequent classes.

    of_members: the likeliest class of each (n,). Classes of a single member are left out.
    """
    names, counts = np.unique(of_members, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MAX_ATTRIBUTES]
    kept = sorted(str(names[k]) for k in order if counts[k] > 1)
    return (of_members[:, None] == np.array(kept, dtype=str)).astype(np.int8), tuple(kept)
