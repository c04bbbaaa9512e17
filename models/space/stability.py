"""How much of a clustering remains when other members are clustered, and how well clusterings agree with labels."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from models.errors import SpaceError
from models.space.clusters import FittedClustering, Labels, Scores
from models.space.methods import dbscan, hdbscan, kmeans_labels, spectral_split, tree_split
from models.space.mixture import em

RESAMPLES, FEW_RESAMPLES = 10, 3
RESAMPLED = 2_000  # the most members of a resample
SHARE = 0.8  # of the members, in a resample
MANY_CLUSTERS = 50  # above which `FEW_RESAMPLES` are used, because each takes long
FEWEST = 10  # members that have a stability
PREDICTED = "class:"
MIXTURE_ITER = 4  # EM steps of a resample, as of the search for the number of components


def stability_of(
    clustering: FittedClustering,
    scores: Scores,
    options: Mapping[str, Any],
    seed: int,
    on_step: Callable[[], None] = lambda: None,
) -> float | None:
    """Mean adjusted Rand index of a clustering with those of resamples, on the members of each; 1 is the same.

    Resamples are `SHARE` of the members without replacement (Ben-Hur et al. 2002, "A stability based method for
    discovering structure in clustered data"), because repeated members would be dense clusters of their own. options:
    the arguments of the method; the number of clusters is that of the clustering. None with one cluster, or with fewer
    than `FEWEST` members. `on_step` is called before each resample and may raise to stop.
    """
    if clustering.n_clusters < 2 or len(scores) < FEWEST:
        return None
    size = min(RESAMPLED, int(SHARE * len(scores)))
    agreement = []
    for index in range(RESAMPLES if clustering.n_clusters <= MANY_CLUSTERS else FEW_RESAMPLES):
        on_step()
        drawn = np.sort(np.random.default_rng([seed, index]).choice(len(scores), size, replace=False))
        labels = _labels(clustering, scores[drawn], options, len(scores), seed)
        agreement.append(adjusted_rand_score(clustering.labels_[drawn], labels))
    return float(np.mean(agreement))


def _labels(
    clustering: FittedClustering, scores: Scores, options: Mapping[str, Any], n_members: int, seed: int
) -> Labels:
    """Labels of a resample, with as many clusters; all are noise where the method finds none."""
    n_clusters = min(clustering.n_clusters, len(np.unique(scores, axis=0)) - 1)
    match clustering.method:
        case "kmeans":
            return kmeans_labels(scores, n_clusters, n_init=1, seed=seed)
        case "agglomerative":
            return tree_split(scores)(n_clusters)
        case "spectral":
            return spectral_split(scores, most=n_clusters, seed=seed)(n_clusters)
        case "mixture":
            members = scores.astype(np.float64)
            start = tree_split(scores)(n_clusters)
            return em(members, start, options.get("covariance_type", "diag"), max_iter=MIXTURE_ITER).labels(members)
    share = len(scores) / n_members
    try:
        if clustering.method == "dbscan":
            return dbscan(scores, eps=options.get("eps"), seed=seed, **_scaled(options, "min_samples", share)).labels_
        return hdbscan(scores, seed=seed, **_scaled(options, "min_cluster_size", share)).labels_
    except SpaceError:
        return np.full(len(scores), -1, np.int64)


def _scaled(options: Mapping[str, Any], name: str, share: float) -> dict[str, int]:
    """A number of members among all, as one among the share of a resample."""
    return {name: max(2, round(share * options[name]))} if options.get(name) else {}


def classes_of(attributes: NDArray[np.int8], names: Sequence[str]) -> Labels | None:
    """The class of each member (n,), -1 for unknown, if attributes (n, k) are classes: each member has exactly one.

    Attributes whose names begin with `PREDICTED` do not count: a model made them. None without two classes that have
    members.
    """
    attributes = attributes[:, [column for column, name in enumerate(names) if not name.startswith(PREDICTED)]]
    known = (attributes >= 0).all(1) & (attributes.shape[1] > 1)
    if not known.any() or (attributes[known].sum(1) != 1).any():
        return None
    classes = np.where(known, attributes.argmax(1) if attributes.shape[1] else -1, -1)
    return classes.astype(np.int64) if len(np.unique(classes[known])) > 1 else None


def agreement_of(labels: Labels, classes: Labels | None) -> float | None:
    """Adjusted Rand index (Hubert and Arabie 1985) of clusters (n,) with the known classes (n,); None without any."""
    if classes is None:
        return None
    known = classes >= 0
    return float(adjusted_rand_score(classes[known], labels[known]))
