"""Clustering methods: each clusters component scores (n, k) into a `FittedClustering`."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import ward
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import DBSCAN, HDBSCAN, KMeans, MiniBatchKMeans
from sklearn.manifold import spectral_embedding
from sklearn.neighbors import NearestNeighbors, kneighbors_graph

from models.errors import SpaceError
from models.space.choice import Criterion, chosen, numbers_to_try
from models.space.clusters import FittedClustering, Labels, Scores, check_members, from_labels

OnStep = Callable[[int], None]
MINI_BATCH = 20_000  # members above which k-means uses mini-batches
MAX_TREE_MEMBERS = 10_000  # the most members of agglomerative clustering: it needs all pairwise distances
MAX_SPECTRAL_MEMBERS = 5_000  # the most members of spectral clustering: its eigenvectors take minutes beyond
MAX_DENSITY_MEMBERS = 20_000  # the most members of DBSCAN, whose neighborhoods may hold all pairs
N_INIT = 4  # initializations of k-means, the best of which is kept
NEIGHBORS = 10  # of the graph of spectral clustering
MIN_SAMPLES = 5  # of DBSCAN


def kmeans(
    scores: Scores,
    *,
    n_clusters: int | None = None,
    max_clusters: int = 20,
    candidates: Sequence[int] = (),
    criterion: Criterion = "silhouette",
    patience: int = 4,
    seed: int,
    on_step: OnStep = lambda n_clusters: None,
) -> FittedClustering:
    """Clusters scores (n, k) by k-means, into `n_clusters` or the best number by the criterion.

    All `candidates` are tried, or the numbers up to `max_clusters` until `patience` in a row are no better. `on_step`
    is called with each number and may raise to stop. Raises SpaceError.
    """
    numbers = numbers_to_try(scores, n_clusters, max_clusters, candidates, criterion)

    def split(n_init: int, members: Scores) -> Callable[[int], Labels]:
        return partial(kmeans_labels, members, n_init=n_init, seed=seed)

    return chosen(
        "kmeans",
        scores,
        numbers,
        partial(split, N_INIT),
        criterion=criterion,
        patience=None if candidates else patience,
        seed=seed,
        on_step=on_step,
        quick=partial(split, 1),
    )


def kmeans_labels(scores: Scores, n_clusters: int, *, n_init: int, seed: int) -> Labels:
    """Labels (n,) of scores (n, k) by k-means, the best of `n_init` initializations."""
    estimator = MiniBatchKMeans if len(scores) > MINI_BATCH else KMeans
    return np.asarray(estimator(n_clusters, n_init=n_init, random_state=seed).fit_predict(scores), np.int64)


def agglomerative(
    scores: Scores,
    *,
    n_clusters: int | None = None,
    max_clusters: int = 20,
    candidates: Sequence[int] = (),
    criterion: Criterion = "silhouette",
    patience: int = 4,
    seed: int,
    on_step: OnStep = lambda n_clusters: None,
) -> FittedClustering:
    """Clusters scores (n, k) by cutting Ward's tree, into `n_clusters` or the best number by the criterion.

    Ward 1963, "Hierarchical grouping to optimize an objective function". The number is chosen as by `kmeans`. Raises
    SpaceError.
    """
    _check_most("agglomerative", scores, MAX_TREE_MEMBERS)
    numbers = numbers_to_try(scores, n_clusters, max_clusters, candidates, criterion)
    on_step(numbers[0])
    return chosen(
        "agglomerative",
        scores,
        numbers,
        tree_split,
        criterion=criterion,
        patience=None if candidates else patience,
        seed=seed,
        on_step=on_step,
    )


def tree_split(scores: Scores) -> Callable[[int], Labels]:
    """Returns labels (n,) by number of clusters, at most n: cuts of the Ward tree of scores (n, k)."""
    return partial(_cut, ward(scores))


def _cut(tree: NDArray[np.float64], n_clusters: int) -> Labels:
    """Labels (n,) after the first n - `n_clusters` merges of a linkage matrix (n - 1, 4)."""
    n = len(tree) + 1
    merged = tree[: n - n_clusters, :2].astype(np.int64)
    parents = np.repeat(n + np.arange(len(merged)), 2)
    graph = coo_array((np.ones(len(parents)), (merged.ravel(), parents)), shape=(2 * n - 1, 2 * n - 1))
    labels = connected_components(graph, directed=False)[1][:n]
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def spectral(
    scores: Scores,
    *,
    n_clusters: int | None = None,
    max_clusters: int = 20,
    candidates: Sequence[int] = (),
    patience: int = 4,
    seed: int,
    on_step: OnStep = lambda n_clusters: None,
) -> FittedClustering:
    """Clusters scores (n, k) by the eigenvectors of the graph of nearest neighbors, which finds shapes that bend.

    von Luxburg 2007, "A tutorial on spectral clustering", with the random-walk Laplacian (Shi and Malik 2000): k-means
    of the first c eigenvectors gives c clusters. The number has the best silhouette, as of `kmeans`. Raises SpaceError.
    """
    _check_most("spectral", scores, MAX_SPECTRAL_MEMBERS)
    numbers = numbers_to_try(scores, n_clusters, max_clusters, candidates)
    on_step(numbers[0])
    return chosen(
        "spectral",
        scores,
        numbers,
        partial(spectral_split, most=max(numbers), seed=seed),
        patience=None if candidates else patience,
        seed=seed,
        on_step=on_step,
    )


def spectral_split(scores: Scores, *, most: int, seed: int) -> Callable[[int], Labels]:
    """Returns labels (n,) by number of clusters, at most `most`, from one spectral embedding of scores (n, k)."""
    graph = kneighbors_graph(scores, min(NEIGHBORS, len(scores) - 1), include_self=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # parts without a connection have eigenvectors of their own
        eigenvectors = spectral_embedding(
            (graph + graph.T) / 2, n_components=min(most, len(scores) - 1), random_state=seed, drop_first=False
        )
    return lambda n_clusters: kmeans_labels(eigenvectors[:, :n_clusters], n_clusters, n_init=N_INIT, seed=seed)


def hdbscan(scores: Scores, *, min_cluster_size: int | None = None, seed: int) -> FittedClustering:
    """Clusters scores (n, k) by density with HDBSCAN, which finds the number of clusters and marks noise.

    Campello et al. 2013, "Density-based clustering based on hierarchical density estimates". Groups smaller than
    `min_cluster_size` are noise; by default it is a hundredth of the members, and at least 5. Raises SpaceError.
    """
    check_members(scores)
    n = len(scores)
    smallest = min_cluster_size or min(max(5, n // 100), n // 2 + 1)
    if smallest > n:
        raise SpaceError(f"no cluster can have {smallest} images: there are {n}")
    labels = np.asarray(HDBSCAN(min_cluster_size=smallest, copy=True).fit_predict(scores), np.int64)
    if labels.max() < 0:
        raise SpaceError(f"no clusters of {smallest} images or more were found; allow smaller ones, or use k-means")
    return from_labels("hdbscan", scores, labels, seed)


def dbscan(scores: Scores, *, eps: float | None = None, min_samples: int = MIN_SAMPLES, seed: int) -> FittedClustering:
    """Clusters scores (n, k) by one density with DBSCAN, which finds the number of clusters and marks noise.

    Ester et al. 1996, "A density-based algorithm for discovering clusters": members with at least `min_samples` members
    within `eps`, themselves included, are inside a cluster. By default `eps` is at the bend of the sorted distances to
    the nearest so many, as there. Raises SpaceError.
    """
    check_members(scores)
    _check_most("dbscan", scores, MAX_DENSITY_MEMBERS)
    radius = eps or bend(scores, min(min_samples, len(scores)))
    labels = np.asarray(DBSCAN(eps=radius, min_samples=min_samples).fit_predict(scores), np.int64)
    if labels.max() < 0:
        raise SpaceError(f"no {min_samples} images are within {radius:.3g} of one of them; give a larger `eps`")
    return from_labels("dbscan", scores, labels, seed)


def bend(scores: Scores, min_samples: int) -> float:
    """The distance at the bend of the sorted distances of members to their `min_samples`-th neighbor, themselves first.

    The bend is the place farthest below the line between the two ends (Satopaa et al. 2011, "Finding a 'kneedle' in a
    haystack").
    """
    apart = NearestNeighbors(n_neighbors=min_samples).fit(scores).kneighbors(scores)[0][:, -1]
    ascending = np.sort(apart)
    line = np.linspace(ascending[0], ascending[-1], len(ascending))
    return float(max(ascending[int((line - ascending).argmax())], np.finfo(np.float32).tiny))


def _check_most(method: str, scores: Scores, most: int) -> None:
    if len(scores) > most:
        raise SpaceError(f"{method} clustering takes at most {most:,} images; there are {len(scores):,}")
