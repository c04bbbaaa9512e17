"""Pairs of members that are nearly the same."""

from array import array
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from models.space.clusters import Labels, Scores
from models.space.neighbors import Float32, Neighbors, neighbors_of

BLOCK = 4_096  # pairs whose distances are computed at once
GROUPED = 100_000  # pairs of first members at most: groups of so many members are complete
STARS = 20  # pairs of first members that are compared, for each that is kept


class Pairs(NamedTuple):
    """Pairs of members, nearest first: indices (p, 2), the smaller first, and distances (p,)."""

    indices: Labels
    distances: Float32


def near_pairs(scores: Scores, neighbors: Neighbors, reach: float, most: int) -> Pairs:
    """Pairs of members (n, k) that are at most `reach` apart.

    They are the `most` nearest of those among each one's nearest neighbors, and up to `GROUPED` more that complete
    groups which are larger than a list of neighbors: they pair the first member of a group with each other one.
    """
    links = _links(scores, neighbors, reach)
    stars = _stars(_tree(links, len(scores))[:GROUPED], STARS * GROUPED)
    of_groups = _nearest(stars, _distances(scores, stars), reach)
    kept = ((links, most), (of_groups, GROUPED))
    return _joined([Pairs(pairs.indices[:n], pairs.distances[:n]) for pairs, n in kept], reach)


def _links(scores: Scores, neighbors: Neighbors, reach: float) -> Pairs:
    """Pairs of neighbors, and links between groups whose lists of neighbors hold nothing outside of the group."""
    rows, parts = np.arange(len(scores)), []
    while True:
        members = rows[neighbors.indices]
        pairs = np.stack([np.broadcast_to(rows[:, None], members.shape), members], axis=2).reshape(-1, 2)
        parts.append(_nearest(pairs, neighbors.distances.reshape(-1), reach))
        rows = rows[_closed(neighbors)]
        if len(rows) < 2:
            return _joined(parts, reach) if len(parts) > 1 else parts[0]
        neighbors = neighbors_of(scores[rows])


def _closed(neighbors: Neighbors) -> Labels:
    """The first member of each group that may be closed: whose members reach each other by their lists."""
    n, k = neighbors.indices.shape
    lists = np.ones(n * k, np.int8), neighbors.indices.reshape(-1), np.arange(0, n * k + 1, k)
    _, labels = connected_components(csr_array(lists, shape=(n, n)), connection="strong")
    _, first, sizes = np.unique(labels, return_index=True, return_counts=True)
    return np.asarray(first[sizes > k])


def _tree(links: Pairs, n: int) -> Labels:
    """The links of a minimum spanning forest, shortest first, (m, 2)."""
    ranks = np.arange(1, len(links.distances) + 1)  # as weights: scipy takes a weight of 0 for no link
    graph = csr_array((ranks, (links.indices[:, 0], links.indices[:, 1])), shape=(n, n))
    kept = np.sort(minimum_spanning_tree(graph).data).astype(np.int64)
    return np.asarray(links.indices[kept - 1])


def _stars(tree: Labels, most: int) -> Labels:
    """Pairs (p, 2) of the first member of each group that links join with all others, for groups of every extent.

    Groups are joined until there are `most` pairs, those with the shortest links first.
    """
    groups: dict[int, list[int]] = {}
    firsts, others = array("q"), array("q")
    for a, b in tree.tolist():
        if len(others) >= most:
            break
        group, joining = groups.get(a, [a]), groups.get(b, [b])
        if joining[0] < group[0]:
            group, joining = joining, group
        firsts.extend([group[0]] * len(joining))
        others.extend(joining)
        group += joining
        groups.update(dict.fromkeys((group[0], *joining), group))
    return np.stack([np.array(firsts), np.array(others)], axis=1).astype(np.int64)


def _distances(scores: Scores, pairs: Labels) -> Float32:
    starts = range(0, len(pairs), BLOCK)
    parts = [scores[pairs[start : start + BLOCK, 0]] - scores[pairs[start : start + BLOCK, 1]] for start in starts]
    return np.concatenate([np.zeros(0), *(np.linalg.norm(part, axis=1) for part in parts)]).astype(np.float32)


def _nearest(pairs: Labels, distances: NDArray[np.floating], reach: float) -> Pairs:
    """Pairs (p, 2) that are at most `reach` apart, each once, nearest first."""
    near = distances <= reach
    ordered, distances = np.sort(pairs[near], axis=1), distances[near]
    keys = ordered[:, 0] * (pairs.max(initial=0) + 1) + ordered[:, 1]  # sorts much faster than rows
    _, first = np.unique(keys, return_index=True)
    chosen = first[np.argsort(distances[first], kind="stable")]
    return Pairs(ordered[chosen], distances[chosen].astype(np.float32))


def _joined(parts: list[Pairs], reach: float) -> Pairs:
    indices, distances = ([pairs[column] for pairs in parts] for column in (0, 1))
    return _nearest(np.concatenate(indices), np.concatenate(distances), reach)
