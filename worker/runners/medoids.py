"""Cluster-samplings of spaces without a decoder: members instead of decoded images."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jobs.requests.clusterings import Method
from models.grids import labeled_grid
from models.space.collection import FittedCollection
from models.space.sampling import density, spread
from worker.libraries import versions_of
from worker.run import JobResult, OutputImage, Pixels
from worker.runners.photo import PREFIX
from worker.runners.space import Vectors

MAX_SHEET_ROWS = 40


def members_result(
    collection: FittedCollection,
    models: dict[str, str],
    method: Method,
    clusters: Sequence[int],
    scores: Vectors,
    near: np.ndarray,
) -> JobResult:
    """Sheets with the medoid of each cluster and the members nearest to its samples, and the figures of both.

    scores: samples (clusters * n, k). near: the indices of the members nearest to each, (clusters * n, neighbors).
    """
    members = collection.members
    n = len(scores) // len(clusters)
    columns = zip(near, density(collection.scores, scores).round(4).tolist(), strict=True)
    figures = [
        {"from_cluster": clusters[k // n], "density": share, "nearest": members.names[row].tolist()}
        for k, (row, share) in enumerate(columns)
    ]
    first = near[:, 0].reshape(len(clusters), n)
    sheets = _sheets(collection, method, clusters, first) if members.has_images else []
    metrics = {
        "clustering": method,
        "clusters": [_cluster(collection, method, cluster) for cluster in clusters],
        "pictures": figures,
    }
    versions = versions_of("scikit-learn", "torch")
    return JobResult([OutputImage(sheet, "grid") for sheet in sheets], models, versions, metrics)


def _cluster(collection: FittedCollection, method: Method, cluster: int) -> dict[str, Any]:
    """Figures of a cluster; its spread is in units of the distance between two members of the collection."""
    clustering = collection.clusterings[method]
    own = collection.scores[clustering.labels_ == cluster]
    return {
        "cluster": cluster,
        "size": len(own),
        "medoid": str(collection.members.names[clustering.medoids_[cluster]]),
        "spread": round(spread(own) / spread(collection.scores), 4),
    }


def _sheets(collection: FittedCollection, method: Method, clusters: Sequence[int], near: np.ndarray) -> list[Pixels]:
    """Rows of thumbnails: the medoid of a cluster, and the member nearest to each of its samples (clusters, n)."""
    medoids = collection.clusterings[method].medoids_[list(clusters)]
    titles = [f"cluster {cluster}{_class_name(collection, method, cluster)}" for cluster in clusters]
    rows = collection.members.thumbnails[np.concatenate([medoids[:, None], near], axis=1)]
    columns = ["medoid", *(f"sample {k}" for k in range(1, near.shape[1] + 1))]
    return [
        labeled_grid(rows[k : k + MAX_SHEET_ROWS], titles[k : k + MAX_SHEET_ROWS], columns)
        for k in range(0, len(clusters), MAX_SHEET_ROWS)
    ]


def _class_name(collection: FittedCollection, method: Method, cluster: int) -> str:
    """A line with the class that most members of a cluster are of, in the space of photographs, and their share."""
    members = collection.members
    own = members.attributes[collection.clusterings[method].labels_ == cluster]
    shares = {
        name.removeprefix(PREFIX): float((column == 1).mean())
        for name, column in zip(members.attribute_names, own.T, strict=True)
        if name.startswith(PREFIX)
    }
    name = max(shares, key=lambda each: shares[each], default="")
    return f"\n{name}, {shares[name]:.0%}" if name and shares[name] > 0.5 else ""
