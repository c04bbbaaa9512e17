import numpy as np
import pytest
from sklearn.neighbors import LocalOutlierFactor

from models.space import neighbors as module
from models.space.neighbors import neighbors_of, outlier_scores

LINE = np.array([[0.0], [1.0], [1.0], [3.0]], np.float32)


def cloud(n: int = 300, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(size=(n, 6)).astype(np.float32)


def test_nearest_others_on_a_line() -> None:
    found = neighbors_of(LINE, 2)
    assert found.distances.tolist() == [[1, 1], [0, 1], [0, 1], [2, 2]]
    assert [set(row) for row in found.indices.tolist()] == [{1, 2}, {0, 2}, {0, 1}, {1, 2}]
    assert neighbors_of(LINE, 20).indices.shape == (4, 3), "there are no more"


def test_outlier_scores_are_those_of_scikit_learn() -> None:
    scores = np.concatenate([cloud(), [[8.0] * 6]]).astype(np.float32)
    found = outlier_scores(neighbors_of(scores))
    factor = -LocalOutlierFactor(20).fit(scores).negative_outlier_factor_
    np.testing.assert_allclose(found, 1 - 1 / factor.clip(1), atol=1e-5)
    assert found.argmax() == 300 and found[300] > 0.5 and np.median(found) < 0.1


def test_the_inverted_file_finds_most_of_what_all_distances_find(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = cloud(2000)
    exact = neighbors_of(scores)
    monkeypatch.setattr(module, "EXACT", 100)
    found = neighbors_of(scores)
    assert not (found.indices == np.arange(2000)[:, None]).any(), "no member is its own neighbor"
    common = [len(set(a) & set(b)) for a, b in zip(exact.indices.tolist(), found.indices.tolist(), strict=True)]
    # A cloud without clusters is the worst case, and four lists of 44 are searched: larger sets lose less.
    assert 0.75 < np.mean(common) / 20 < 1
    assert (found.distances >= exact.distances).all(), "what is found is never nearer than the nearest"
    monkeypatch.setattr(module, "PROBED", 1)
    np.testing.assert_array_equal(neighbors_of(scores).indices, exact.indices)


def test_lists_with_too_few_members_are_searched_with_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.concatenate([cloud(200), cloud(5, seed=1) + 100])
    exact = neighbors_of(scores)
    monkeypatch.setattr(module, "EXACT", 100)
    found = neighbors_of(scores)
    np.testing.assert_array_equal(np.sort(found.indices[-5:]), np.sort(exact.indices[-5:]))
    assert found.indices.min() >= 0
