"""Clusterings of vectors and their figures of merit; `models.space.methods` makes them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import davies_bouldin_score, pairwise_distances_argmin, silhouette_score

from models.errors import SpaceError
from models.space.pca import Array

Labels = NDArray[np.int64]  # (n,), from 0; -1 is noise
Scores = NDArray[np.floating]  # (n, k)
SILHOUETTE_MEMBERS = 2_000  # the most members that a silhouette is computed on: it needs all pairwise distances


@dataclass(frozen=True)
class FittedClustering:
    """A fitted clustering, with scikit-learn's names.

    labels_: (n,), -1 for noise. cluster_centers_: (c, k), the means. medoids_: (c,), indices of the members nearest to
    the means. silhouette, davies_bouldin: None where undefined. sweep: n_clusters, inertia and silhouette, or gap and
    gap_error, of each number of clusters that was tried. stability: see `models.space.stability`, None if not computed.
    """

    method: str
    labels_: Labels
    cluster_centers_: Array
    medoids_: Labels
    silhouette: float | None
    davies_bouldin: float | None
    sweep: tuple[dict[str, float], ...] = ()
    stability: float | None = None

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return len(self.cluster_centers_)

    @property
    def sizes(self) -> Labels:
        """Number of members of each cluster, (c,)."""
        return np.bincount(self.labels_[self.labels_ >= 0], minlength=self.n_clusters)

    @property
    def noise_share(self) -> float:
        """Share of members in no cluster."""
        return float((self.labels_ < 0).mean())


def from_labels(
    method: str, scores: Scores, labels: Labels, seed: int, sweep: tuple[dict[str, float], ...] = ()
) -> FittedClustering:
    """Returns the clustering of members (n, k) by labels (n,).

    Labels below 0 are noise; the others are renumbered from 0, because a method may leave some without members.
    """
    labels = _without_gaps(labels)
    members = [np.flatnonzero(labels == label) for label in range(labels.max() + 1)]
    centers = np.stack([scores[each].mean(0, dtype=np.float64) for each in members])
    nearest = [((scores[each] - center) ** 2).sum(1).argmin() for each, center in zip(members, centers, strict=True)]
    medoids = np.array([each[place] for each, place in zip(members, nearest, strict=True)], np.int64)
    inside = labels >= 0
    defined = 2 <= len(members) < inside.sum()  # as scikit-learn has it
    return FittedClustering(
        method,
        labels,
        centers.astype(np.float32),
        medoids,
        silhouette_of(scores[inside], labels[inside], seed),
        float(davies_bouldin_score(scores[inside], labels[inside])) if defined else None,
        sweep,
    )


def assigned(clustering: FittedClustering, scores: Scores, points: Scores) -> Labels:
    """Assigns points (p, k) to clusters, (p,), given the scores (n, k) of the members.

    K-means: the nearest center. Other methods, whose clusters are not cells around centers: the cluster of the nearest
    member that is not noise. A mixture assigns by its posterior, see `FittedCollection.assigned`.
    """
    if clustering.method == "kmeans":
        return np.asarray(pairwise_distances_argmin(points, clustering.cluster_centers_), np.int64)
    inside = clustering.labels_ >= 0
    return np.asarray(clustering.labels_[inside][pairwise_distances_argmin(points, scores[inside])], np.int64)


def _without_gaps(labels: Labels) -> Labels:
    """Renumbers labels from 0 so that every label has members; noise stays -1."""
    renumbered = np.full(len(labels), -1, np.int64)
    renumbered[labels >= 0] = np.unique(labels[labels >= 0], return_inverse=True)[1]
    return renumbered


def check_members(scores: Scores) -> None:
    """Raises SpaceError for fewer than 3 members."""
    if len(scores) < 3:
        raise SpaceError(f"clusters need at least 3 images; there are {len(scores)}")


def silhouette_of(scores: Scores, labels: Labels, seed: int) -> float | None:
    """Mean silhouette (Rousseeuw 1987), or None without two clusters to compare.

    Computed on `SILHOUETTE_MEMBERS` members and one more of each cluster, so that every cluster is represented.
    """
    if not 2 <= len(np.unique(labels)) < len(labels):
        return None
    if len(scores) > SILHOUETTE_MEMBERS:
        drawn = np.random.default_rng(seed).choice(len(scores), SILHOUETTE_MEMBERS, replace=False)
        chosen = np.union1d(drawn, np.unique(labels, return_index=True)[1])
        scores, labels = scores[chosen], labels[chosen]
    return float(silhouette_score(scores, labels))


def inertia_of(scores: Scores, labels: Labels) -> float:
    """Sum of squared distances of members to the mean of their cluster."""
    return float(sum(((scores[labels == k] - scores[labels == k].mean(0)) ** 2).sum() for k in np.unique(labels)))
