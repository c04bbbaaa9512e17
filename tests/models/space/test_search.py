from pathlib import Path

import numpy as np
import pytest

from models.space import search as module
from models.space.search import MemberIndex, cosines, write_lists

SCORES = np.array([[0, 0], [1, 0], [0, 2], [3, 0], [0, 0]], np.float32)


def test_nearest_come_first_and_equal_ones_by_row() -> None:
    found = MemberIndex(SCORES).search(np.array([0.0, 0.0], np.float32), 3)
    assert (sorted(found.indices[:2]), found.indices[2], found.distances.tolist()) == ([0, 4], 1, [0, 0, 1])
    assert found.without(4, 1).indices.tolist() == [0]
    assert found.without(None, 2).distances.tolist() == [0, 0]
    assert len(MemberIndex(SCORES).search(SCORES[0], 9).indices) == 5, "there are no more"


def test_some_rows_only() -> None:
    found = MemberIndex(SCORES).search(SCORES[0], 2, np.array([3, 2]))
    assert (found.indices.tolist(), found.distances.tolist()) == ([2, 3], [2, 3])
    assert len(MemberIndex(SCORES).search(SCORES[0], 2, np.array([], np.int64)).indices) == 0


def test_near_points_far_from_the_origin_have_exact_distances() -> None:
    scores = np.array([[10_000.0, 0], [10_000.01, 0]], np.float32)
    found = MemberIndex(scores).search(np.array([10_000.0, 0], np.float32), 2)
    np.testing.assert_allclose(found.distances, [0, scores[1, 0] - 10_000.0], rtol=1e-6)


def test_lists_find_what_a_comparison_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    scores = (3 * rng.normal(size=(20, 8))[rng.integers(20, size=6000)] + rng.normal(size=(6000, 8))).astype(np.float32)
    exact = MemberIndex(scores)
    monkeypatch.setattr(module, "EXACT", 1000)
    listed = MemberIndex(scores)
    assert listed.n_bytes > exact.n_bytes
    even = np.arange(0, 6000, 2)
    for rows in (None, even):
        found = [listed.search(point, 10, rows).indices for point in scores[:50]]
        monkeypatch.setattr(module, "EXACT", 10_000)
        true = [exact.search(point, 10, rows).indices for point in scores[:50]]
        monkeypatch.setattr(module, "EXACT", 1000)
        common = [len(set(a) & set(b)) for a, b in zip(found, true, strict=True)]
        assert np.mean(common) / 10 > 0.95
    assert set(np.concatenate(found)) <= set(even)
    again = MemberIndex(scores)
    assert all(np.array_equal(again.search(p, 10).indices, listed.search(p, 10).indices) for p in scores[:5])


def test_lists_in_a_file_find_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "EXACT", 100)
    scores = np.random.default_rng(0).normal(size=(2000, 8)).astype(np.float32)
    made = MemberIndex(scores)
    write_lists(scores, tmp_path / "lists")
    monkeypatch.delattr(module, "inverted_file")
    read = MemberIndex(scores, tmp_path / "lists")
    for point in scores[:20]:
        assert read.search(point, 10).indices.tolist() == made.search(point, 10).indices.tolist()


def test_cosines() -> None:
    vectors = np.array([[2, 0], [0, 3], [-1, 0], [0, 0]], np.float32)
    assert cosines(vectors, np.array([5, 0], np.float32)).tolist() == [1, 0, -1, 0]
