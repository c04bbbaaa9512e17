"""Chooses the number of clusters by the silhouette or by the gap statistic."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import SpaceError
from models.space.clusters import (
    FittedClustering,
    Labels,
    Scores,
    check_members,
    from_labels,
    inertia_of,
    silhouette_of,
)

Criterion = Literal["silhouette", "gap"]
Row = dict[str, float]
Split = Callable[[Scores], Callable[[int], Labels]]  # gives the labels of members by number of clusters
REFERENCES = 10  # sets without clusters that the gap statistic compares with
GAP_MEMBERS = 2_000  # the most members that a gap is computed on, because each reference is clustered too
TINY = 1e-12  # share of the total inertia that counts as none


def numbers_to_try(
    scores: Scores,
    n_clusters: int | None,
    max_clusters: int,
    candidates: Sequence[int] = (),
    criterion: Criterion = "silhouette",
) -> list[int]:
    """Numbers of clusters to try for scores (n, k), ascending: `n_clusters`, the candidates, or all to `max_clusters`.

    The gap statistic also compares one cluster. Candidates that are not below the number of different members are left
    out. Raises SpaceError.
    """
    check_members(scores)
    distinct = len(np.unique(scores, axis=0))
    if n_clusters and n_clusters > distinct:
        raise SpaceError(f"{n_clusters} clusters need as many different images; there are {distinct}")
    if distinct < 2:
        raise SpaceError("all images are the same; clusters need at least 2 that differ")
    if n_clusters:
        return [n_clusters]
    by_gap = criterion == "gap"
    largest = min(distinct, len(scores) - 1, *([GAP_MEMBERS - 1, distinct - 1] if by_gap else []))
    numbers = sorted({*candidates}) or range(1 if by_gap else 2, max_clusters + 1)
    if not (kept := [number for number in numbers if number <= largest]):
        raise SpaceError(f"numbers of clusters to choose from must be at most {largest} for these images")
    return kept


def chosen(
    method: str,
    scores: Scores,
    numbers: Sequence[int],
    split: Split,
    *,
    criterion: Criterion = "silhouette",
    patience: int | None,
    seed: int,
    on_step: Callable[[int], None],
    quick: Split | None = None,
) -> FittedClustering:
    """Clusters scores (n, k) into the number of clusters that is best by the criterion; a single number is used as is.

    The search ends after `patience` numbers in a row that are no better; with None all are tried. `quick` clusters the
    samples and references of the gap statistic, `split` by default. Raises SpaceError.
    """
    if len(numbers) == 1:
        on_step(numbers[0])
        return from_labels(method, scores, split(scores)(numbers[0]), seed)
    if criterion == "gap":
        number, sweep = by_gap(scores, numbers, quick or split, patience, seed, on_step)
        on_step(number)
        return from_labels(method, scores, split(scores)(number), seed, sweep)
    labels, sweep = by_silhouette(scores, numbers, split(scores), patience, seed, on_step)
    return from_labels(method, scores, labels, seed, sweep)


def by_silhouette(
    scores: Scores,
    numbers: Sequence[int],
    labels_of: Callable[[int], Labels],
    patience: int | None,
    seed: int,
    on_step: Callable[[int], None],
) -> tuple[Labels, tuple[Row, ...]]:
    """Labels with the largest mean silhouette (Rousseeuw 1987), and the sweep; raises SpaceError."""
    sweep: list[Row] = []
    best, since = -np.inf, 0
    kept: Labels | None = None
    for number in numbers:
        on_step(number)
        labels = labels_of(number)
        silhouette = silhouette_of(scores, labels, seed)
        if silhouette is not None:
            sweep.append({"n_clusters": number, "inertia": inertia_of(scores, labels), "silhouette": silhouette})
        if silhouette is not None and silhouette > best:
            best, kept, since = silhouette, labels, 0
        else:
            since += 1
        if since == patience:
            break
    if kept is None:
        first, last = numbers[0], numbers[-1]
        raise SpaceError(f"no number of clusters from {first} to {last} splits the images; give `n_clusters`")
    return kept, tuple(sweep)


def by_gap(
    scores: Scores,
    numbers: Sequence[int],
    split: Split,
    patience: int | None,
    seed: int,
    on_step: Callable[[int], None],
) -> tuple[int, tuple[Row, ...]]:
    """The number of clusters by the gap statistic, and the sweep with `gap` and `gap_error` of each number.

    Tibshirani et al. 2001, "Estimating the number of clusters in a data set via the gap statistic": Gap(k) is the mean
    of log W_k over references minus log W_k, with W_k the inertia. A reference is uniform over the range of each
    component score (the paper's choice b, because scores are principal components). The number is the smallest k with
    Gap(k) >= Gap(k') - s_k', with k' the next number and s_k' = sd(log W_k') sqrt(1 + 1 / `REFERENCES`); the last one
    if there is none. Computed on at most `GAP_MEMBERS` members.
    """
    rng = np.random.default_rng(seed)
    members = scores if len(scores) <= GAP_MEMBERS else scores[rng.choice(len(scores), GAP_MEMBERS, replace=False)]
    low, high = members.min(0), members.max(0)
    references = [rng.uniform(low, high, members.shape).astype(np.float32) for _ in range(REFERENCES)]
    sets = [members, *references]
    splits = [split(each) for each in sets]
    rows: list[Row] = []
    for number in numbers:
        on_step(number)
        own, *of_references = [_log_inertia(each, labels(number)) for each, labels in zip(sets, splits, strict=True)]
        error = float(np.std(of_references)) * np.sqrt(1 + 1 / REFERENCES)
        gap = float(np.mean(of_references)) - own
        rows.append({"n_clusters": number, "inertia": float(np.exp(own)), "gap": gap, "gap_error": float(error)})
        if patience and len(rows) - one_standard_error(rows) > patience:
            break
    return int(rows[one_standard_error(rows)]["n_clusters"]), tuple(rows)


def one_standard_error(rows: Sequence[Row]) -> int:
    """Index of the first row whose gap is at least the next gap less its error; the last row if there is none."""
    pairs = enumerate(pairwise(rows))
    found = (index for index, (row, after) in pairs if row["gap"] >= after["gap"] - after["gap_error"])
    return next(found, len(rows) - 1)


def _log_inertia(scores: Scores, labels: NDArray[np.int64]) -> float:
    """Natural logarithm of the inertia, at least that of `TINY` of the total."""
    total = float(((scores - scores.mean(0)) ** 2).sum())
    return float(np.log(max(inertia_of(scores, labels), TINY * total, np.finfo(float).tiny)))
