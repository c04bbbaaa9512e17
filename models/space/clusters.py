"""Clusters of vectors, and how well they are apart."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import cut_tree, ward
from sklearn.cluster import HDBSCAN, KMeans, MiniBatchKMeans
from sklearn.metrics import davies_bouldin_score, pairwise_distances_argmin, silhouette_score

from models.errors import SpaceError
from models.space.pca import Array

Labels = NDArray[np.int64]  # (n,), counted from 0; -1 is noise
Scores = NDArray[np.floating]  # (n, k)
SAMPLE = 2_000  # members of which a silhouette is made: it needs the distance of each two
MINI_BATCH = 20_000  # members above which k-means looks at batches of them
TREE = 10_000  # members of which a tree is made: it needs the distance of each two
STARTS = 4  # of k-means, of which the best is kept


@dataclass(frozen=True)
class FittedClustering:
    """Members in clusters, with scikit-learn's names.

    labels_ (n,), -1 for noise; cluster_centers_ (c, k), the means; medoids_ (c,), the member nearest to each mean;
    silhouette and davies_bouldin, None where undefined; sweep: for each number tried n_clusters, inertia, silhouette.
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
        """How many clusters there are."""
        return len(self.cluster_centers_)

    @property
    def sizes(self) -> Labels:
        """How many members each has, (c,)."""
        return np.bincount(self.labels_[self.labels_ >= 0], minlength=self.n_clusters)

    @property
    def noise_share(self) -> float:
        """The share of members in no cluster."""
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
    """K-means with a number of clusters, or with the number of the best silhouette.

    Numbers from 2 are tried until `patience` in a row were no better. `on_step` is told each and may raise to stop.
    Raises SpaceError.
    """
    sizes = _sizes(scores, n_clusters, max_clusters)

    def labels(size: int) -> Labels:
        on_step(size)
        if len(scores) > MINI_BATCH:
            found = MiniBatchKMeans(size, n_init=STARTS, random_state=seed)
        else:
            found = KMeans(size, n_init=STARTS, random_state=seed)
        return np.asarray(found.fit_predict(scores), np.int64)

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
    """Ward's tree cut into a number of clusters, or into the number of the best silhouette, as `kmeans` chooses it.

    Ward 1963, "Hierarchical grouping to optimize an objective function". Raises SpaceError.
    """
    if len(scores) > TREE:
        raise SpaceError(f"agglomerative clustering takes at most {TREE:,} images; there are {len(scores):,}")
    sizes = _sizes(scores, n_clusters, max_clusters)
    on_step(sizes[0])
    tree = ward(scores)

    def labels(size: int) -> Labels:
        on_step(size)
        return np.asarray(cut_tree(tree, size)[:, 0], np.int64)

    return _best("agglomerative", scores, sizes, labels, patience, seed)


def hdbscan(scores: Scores, *, min_cluster_size: int | None = None, seed: int) -> FittedClustering:
    """Clusters where members are dense, as many as there are, and noise between them.

    Campello et al. 2013, "Density-based clustering based on hierarchical density estimates". Smaller groups than
    `min_cluster_size` are noise; when None it is a hundredth of the members, but 5 at least. Raises SpaceError.
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
    """Returns the clustering that labels (n,) make of members (n, k).

    Labels below 0 are noise; the others are counted anew from 0, since a method may leave some without members.
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
    """Returns the cluster of each point (p, k) by the rule of the method, (p,), given its members' scores (n, k).

    Of k-means it is the one whose center is nearest. Of Ward's tree and HDBSCAN, which make no cells around centers, it
    is that of the nearest member that is no noise. A mixture assigns by its posterior: `FittedCollection.assigned`.
    """
    if clustering.method == "kmeans":
        return np.asarray(pairwise_distances_argmin(points, clustering.cluster_centers_), np.int64)
    inside = clustering.labels_ >= 0
    return np.asarray(clustering.labels_[inside][pairwise_distances_argmin(points, scores[inside])], np.int64)


def _without_gaps(labels: Labels) -> Labels:
    """Returns the labels counted from 0 without a number that no member has; noise stays -1."""
    found = np.full(len(labels), -1, np.int64)
    found[labels >= 0] = np.unique(labels[labels >= 0], return_inverse=True)[1]
    return found


def _check_members(scores: Scores) -> None:
    if len(scores) < 3:
        raise SpaceError(f"clusters need at least 3 images; there are {len(scores)}")


def _sizes(scores: Scores, n_clusters: int | None, max_clusters: int) -> range:
    """The numbers of clusters to try."""
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
    """Returns the mean silhouette (Rousseeuw 1987), or None where there are not two clusters to compare.

    Made of `SAMPLE` members and one more of each cluster, so that none is missing.
    """
    if not 2 <= len(np.unique(labels)) < len(labels):
        return None
    if len(scores) > SAMPLE:
        drawn = np.random.default_rng(seed).choice(len(scores), SAMPLE, replace=False)
        chosen = np.union1d(drawn, np.unique(labels, return_index=True)[1])
        scores, labels = scores[chosen], labels[chosen]
    return float(silhouette_score(scores, labels))


def _inertia(scores: Scores, labels: Labels) -> float:
    """The sum of squared distances of members to the mean of their cluster."""
    return float(sum(((scores[labels == k] - scores[labels == k].mean(0)) ** 2).sum() for k in np.unique(labels)))
