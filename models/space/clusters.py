"""Clusterings of vectors and their figures of merit."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import cut_tree, ward
from sklearn.cluster import HDBSCAN, KMeans, MiniBatchKMeans
from sklearn.metrics import davies_bouldin_score, pairwise_distances_argmin, silhouette_score

from models.errors import SpaceError
from models.space.pca import Array

Labels = NDArray[np.int64]  # (n,), from 0; -1 is noise
Scores = NDArray[np.floating]  # (n, k)
SILHOUETTE_MEMBERS = 2_000  # the most members that a silhouette is computed on: it needs all pairwise distances
MINI_BATCH = 20_000  # members above which k-means uses mini-batches
MAX_TREE_MEMBERS = 10_000  # the most members of agglomerative clustering: it needs all pairwise distances
N_INIT = 4  # initializations of k-means, the best of which is kept


@dataclass(frozen=True)
class FittedClustering:
    """A fitted clustering, with scikit-learn's names.

    labels_: (n,), -1 for noise. cluster_centers_: (c, k), the means. medoids_: (c,), indices of the members nearest to
    the means. silhouette, davies_bouldin: None where undefined. sweep: n_clusters, inertia and silhouette of each
    number of clusters that was tried.
    """

    method: str
    labels_: Labels
    cluster_centers_: Array
    medoids_: Labels
    silhouette: float | None
    davies_bouldin: float | None
    sweep: tuple[dict[str, float], ...] = ()

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


def kmeans(
    scores: Scores,
    *,
    n_clusters: int | None = None,
    max_clusters: int = 20,
    patience: int = 4,
    seed: int,
    on_step: Callable[[int], None] = lambda n_clusters: None,
) -> FittedClustering:
    """Clusters scores (n, k) by k-means, into `n_clusters` or the number with the best silhouette.

    Numbers from 2 to `max_clusters` are tried until `patience` in a row do not improve the silhouette. `on_step` is
    called with each number and may raise to stop. Raises SpaceError.
    """
    sizes = _sizes(scores, n_clusters, max_clusters)

    def labels(size: int) -> Labels:
        on_step(size)
        if len(scores) > MINI_BATCH:
            estimator = MiniBatchKMeans(size, n_init=N_INIT, random_state=seed)
        else:
            estimator = KMeans(size, n_init=N_INIT, random_state=seed)
        return np.asarray(estimator.fit_predict(scores), np.int64)

    return _best("kmeans", scores, sizes, labels, patience, seed)


def agglomerative(
    scores: Scores,
    *,
    n_clusters: int | None = None,
    max_clusters: int = 20,
    patience: int = 4,
    seed: int,
    on_step: Callable[[int], None] = lambda n_clusters: None,
) -> FittedClustering:
    """Clusters scores (n, k) by cutting Ward's tree, into `n_clusters` or the number with the best silhouette.

    Ward 1963, "Hierarchical grouping to optimize an objective function". The number is chosen as by `kmeans`. Raises
    SpaceError.
    """
    if len(scores) > MAX_TREE_MEMBERS:
        most = f"{MAX_TREE_MEMBERS:,}"
        raise SpaceError(f"agglomerative clustering takes at most {most} images; there are {len(scores):,}")
    sizes = _sizes(scores, n_clusters, max_clusters)
    on_step(sizes[0])
    tree = ward(scores)

    def labels(size: int) -> Labels:
        on_step(size)
        return np.asarray(cut_tree(tree, size)[:, 0], np.int64)

    return _best("agglomerative", scores, sizes, labels, patience, seed)


def hdbscan(scores: Scores, *, min_cluster_size: int | None = None, seed: int) -> FittedClustering:
    """Clusters scores (n, k) by density with HDBSCAN, which finds the number of clusters and marks noise.

    Campello et al. 2013, "Density-based clustering based on hierarchical density estimates". Groups smaller than
    `min_cluster_size` are noise; by default it is a hundredth of the members, and at least 5. Raises SpaceError.
    """
    _check_members(scores)
    n = len(scores)
    smallest = min_cluster_size or min(max(5, n // 100), n // 2 + 1)
    if smallest > n:
        raise SpaceError(f"no cluster can have {smallest} images: there are {n}")
    labels = np.asarray(HDBSCAN(min_cluster_size=smallest, copy=True).fit_predict(scores), np.int64)
    if labels.max() < 0:
        raise SpaceError(f"no clusters of {smallest} images or more were found; allow smaller ones, or use k-means")
    return from_labels("hdbscan", scores, labels, seed)


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
        _silhouette(scores[inside], labels[inside], seed),
        float(davies_bouldin_score(scores[inside], labels[inside])) if defined else None,
        sweep,
    )


def assigned(clustering: FittedClustering, scores: Scores, points: Scores) -> Labels:
    """Assigns points (p, k) to clusters, (p,), given the scores (n, k) of the members.

    K-means: the nearest center. Ward's tree and HDBSCAN, whose clusters are not cells around centers: the cluster of
    the nearest member that is not noise. A mixture assigns by its posterior, see `FittedCollection.assigned`.
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


def _check_members(scores: Scores) -> None:
    if len(scores) < 3:
        raise SpaceError(f"clusters need at least 3 images; there are {len(scores)}")


def _sizes(scores: Scores, n_clusters: int | None, max_clusters: int) -> range:
    """Returns the numbers of clusters to try; raises SpaceError."""
    _check_members(scores)
    distinct = len(np.unique(scores, axis=0))
    if n_clusters and n_clusters > distinct:
        raise SpaceError(f"{n_clusters} clusters need as many different images; there are {distinct}")
    if distinct < 2:
        raise SpaceError("all images are the same; clusters need at least 2 that differ")
    if n_clusters:
        return range(n_clusters, n_clusters + 1)
    return range(2, min(max_clusters, distinct, len(scores) - 1) + 1)


def _best(
    method: str, scores: Scores, sizes: range, labels_of: Callable[[int], Labels], patience: int, seed: int
) -> FittedClustering:
    if len(sizes) == 1:
        return from_labels(method, scores, labels_of(sizes[0]), seed)
    sweep: list[dict[str, float]] = []
    best, since = -np.inf, 0
    kept: Labels | None = None
    for size in sizes:
        labels = labels_of(size)
        silhouette = _silhouette(scores, labels, seed)
        if silhouette is not None:
            sweep.append({"n_clusters": size, "inertia": _inertia(scores, labels), "silhouette": silhouette})
        if silhouette is not None and silhouette > best:
            best, kept, since = silhouette, labels, 0
        else:
            since += 1
        if since == patience:
            break
    if kept is None:
        raise SpaceError(f"no number of clusters from {sizes[0]} to {sizes[-1]} splits the images; give `n_clusters`")
    return from_labels(method, scores, kept, seed, tuple(sweep))


def _silhouette(scores: Scores, labels: Labels, seed: int) -> float | None:
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


def _inertia(scores: Scores, labels: Labels) -> float:
    """Sum of squared distances of members to the mean of their cluster."""
    return float(sum(((scores[labels == k] - scores[labels == k].mean(0)) ** 2).sum() for k in np.unique(labels)))
