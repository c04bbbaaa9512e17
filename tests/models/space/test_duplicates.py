import numpy as np
import pytest
from numpy.typing import NDArray

from models.space import neighbors
from models.space.duplicates import Pairs, near_pairs
from models.space.neighbors import neighbors_of

Array = NDArray[np.float32]
LINE = np.array([[0.0], [1.0], [1.0], [3.0]], np.float32)


def pairs_of(scores: Array, reach: float, most: int = 10_000) -> Pairs:
    return near_pairs(scores, neighbors_of(scores), reach, most)


def test_pairs_are_named_once_nearest_first() -> None:
    pairs = pairs_of(LINE, 1, most=10)
    assert pairs.indices.tolist() == [[1, 2], [0, 1], [0, 2]] and pairs.distances.tolist() == [0, 1, 1]
    assert pairs_of(LINE[:2], 1, most=1).indices.tolist() == [[0, 1]]
    assert pairs_of(LINE[[0, 3]], 1, most=1).indices.shape == (0, 2)


def test_pairs_are_those_of_all_distances_where_no_list_is_full() -> None:
    scores = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    distances = np.linalg.norm(scores[:, None] - scores, axis=2)
    reach = float(np.quantile(distances, 0.02))  # four of 200
    near = np.argwhere(np.triu(distances <= reach, 1)).tolist()
    found = pairs_of(scores, reach)
    assert sorted(found.indices.tolist()) == near and (np.diff(found.distances) >= 0).all()
    np.testing.assert_allclose(found.distances, distances[tuple(found.indices.T)], atol=1e-6)


def copies(noise: float) -> tuple[Array, list[int]]:
    """500 members, of which 60 are one with some noise, and the rows of these."""
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(500, 6)).astype(np.float32)
    rows = np.sort(rng.choice(500, 60, replace=False))
    scores[rows] = scores[rows[0]] + noise * rng.normal(size=(60, 6)).astype(np.float32)
    return scores, rows.tolist()


def paired_with_first(pairs: Pairs, rows: list[int], reach: float) -> int:
    """How many members of a group are in a pair with its first one."""
    near = pairs.indices[pairs.distances <= reach].tolist()
    return len({b for a, b in near if a == rows[0]} & {*rows})


@pytest.mark.parametrize("most", [10_000, 250])
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("noise", [0, 1e-3])
def test_a_group_of_sixty_copies_is_complete(
    monkeypatch: pytest.MonkeyPatch, noise: float, exact: bool, most: int
) -> None:
    """By all distances and by the graph, and where the group has more pairs among nearest neighbors than are kept."""
    monkeypatch.setattr(neighbors, "EXACT", 20_000 if exact else 100)
    scores, rows = copies(noise)
    assert paired_with_first(pairs_of(scores, 1.5, most), rows, 0.02) == 59


def test_a_group_of_more_members_than_pairs_are_kept_is_complete() -> None:
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(1000, 2)).astype(np.float32)
    rows = np.sort(rng.choice(1000, 900, replace=False))
    scores[rows] = scores[rows[0]]
    assert paired_with_first(pairs_of(scores, 1.5, most=100), rows.tolist(), 0.02) == 899


def test_a_group_is_complete_whose_halves_fill_their_own_lists() -> None:
    """No half has a member of the other among its 20 nearest."""
    scores, rows = copies(1e-6)
    scores[rows[30:]] += np.float32(0.01)
    found = neighbors_of(scores)
    assert not set(found.indices[rows[:30]].ravel().tolist()) & set(rows[30:])
    assert paired_with_first(pairs_of(scores, 1.5), rows, 0.03) == 59
