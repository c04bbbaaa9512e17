"""The number of clusters by the silhouette and by the gap statistic."""

import numpy as np
import pytest

from models.errors import SpaceError
from models.space.choice import REFERENCES, by_gap, numbers_to_try, one_standard_error
from models.space.clusters import inertia_of
from models.space.methods import agglomerative, kmeans, tree_split
from tests.models.space.blobs import LINE, blobs


def row(gap: float, error: float) -> dict[str, float]:
    return {"gap": gap, "gap_error": error}


def test_the_rule_of_one_standard_error_by_hand() -> None:
    assert one_standard_error([row(0.1, 0.05), row(0.5, 0.05), row(0.52, 0.05), row(0.3, 0.05)]) == 1
    assert one_standard_error([row(0.1, 0.01), row(0.2, 0.01), row(0.3, 0.01)]) == 2, "still rising: the last"
    assert one_standard_error([row(0.1, 0.01)]) == 0


def test_gaps_are_those_of_their_definition() -> None:
    """Over the references drawn from the same seed, by cuts of Ward trees."""
    scores, _ = blobs(6)
    number, rows = by_gap(scores, [2, 5], tree_split, None, 3, lambda k: None)
    rng = np.random.default_rng(3)
    low, high = scores.min(0), scores.max(0)
    references = [rng.uniform(low, high, scores.shape).astype(np.float32) for _ in range(REFERENCES)]
    for each in rows:
        size = int(each["n_clusters"])
        logs = [np.log(inertia_of(reference, tree_split(reference)(size))) for reference in references]
        own = np.log(inertia_of(scores, tree_split(scores)(size)))
        assert each["gap"] == pytest.approx(np.mean(logs) - own)
        assert each["gap_error"] == pytest.approx(np.std(logs) * np.sqrt(1.1))
    assert number == 5


@pytest.mark.parametrize("method", [kmeans, agglomerative])
def test_the_gap_finds_five_clusters_and_that_there_are_none(method: type) -> None:
    scores, _ = blobs()
    found = method(scores, criterion="gap", max_clusters=12, seed=0)
    assert found.n_clusters == 5
    assert [each["n_clusters"] for each in found.sweep] == list(range(1, 10)), "four more after the chosen one"
    one = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    assert method(one, criterion="gap", max_clusters=6, seed=0).n_clusters == 1


def test_the_gap_of_many_members_is_of_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.space.choice.GAP_MEMBERS", 60)
    scores, _ = blobs(40)
    found = kmeans(scores, criterion="gap", candidates=[2, 5, 7, 100], seed=0)
    assert found.n_clusters == 5 and len(found.labels_) == 200
    assert [each["n_clusters"] for each in found.sweep] == [2, 5, 7], "100 are more than the sample has"


def test_numbers_to_try() -> None:
    assert numbers_to_try(LINE, None, 20) == [2, 3, 4]
    assert numbers_to_try(LINE, None, 20, criterion="gap") == [1, 2, 3, 4]
    assert numbers_to_try(LINE, 5, 20) == [5] and numbers_to_try(LINE, None, 3) == [2, 3]
    assert numbers_to_try(LINE, None, 20, [4, 2, 4, 9]) == [2, 4]
    with pytest.raises(SpaceError, match="at least 3 images"):
        numbers_to_try(LINE[:2], None, 20)
