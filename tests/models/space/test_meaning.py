"""What components and clusters mean."""

import numpy as np
import pytest
from scipy.stats import pearsonr

from models.space.meaning import (
    STATISTICS,
    Traits,
    attribute_shares,
    cluster_meanings,
    component_meanings,
    correlations,
    image_statistics,
    moments,
    significant,
    strongest,
    traits_of,
)

NO_IMAGES = np.zeros((200, 2, 2, 3), np.uint8)


def statistics(color: tuple[int, int, int]) -> dict[str, float]:
    values = image_statistics(np.full((1, 4, 4, 3), color, np.uint8))[0]
    return dict(zip(STATISTICS, values.tolist(), strict=True))


def test_statistics_of_plain_colors_by_hand() -> None:
    plain = {"contrast": 0, "edges": 0}
    assert statistics((0, 0, 0)) == pytest.approx({"brightness": 0, "saturation": 0, "warmth": 0} | plain, abs=1e-12)
    assert statistics((255, 255, 255)) == pytest.approx({"brightness": 1, "saturation": 0, "warmth": 0} | plain)
    red, blue = statistics((255, 0, 0)), statistics((0, 0, 255))
    assert red == pytest.approx({"brightness": 0.2126, "saturation": 1, "warmth": 1} | plain, abs=1e-12)
    assert blue == pytest.approx({"brightness": 0.0722, "saturation": 1, "warmth": -1} | plain, abs=1e-12)


def test_statistics_of_a_step_by_hand() -> None:
    """Two black and two white columns: central differences are 0, 1/2, 1/2, 0."""
    step = np.zeros((1, 4, 4, 3), np.uint8)
    step[:, :, 2:] = 255
    found = dict(zip(STATISTICS, image_statistics(step)[0].tolist(), strict=True))
    expected = {"brightness": 0.5, "saturation": 0, "contrast": 0.5, "edges": 0.25, "warmth": 0}
    assert found == pytest.approx(expected, abs=1e-12)
    assert np.isnan(image_statistics(np.zeros((3, 0, 0, 3), np.uint8))).all(), "images without pixels"


def test_correlations_are_pearson_s_over_the_known_values() -> None:
    rng = np.random.default_rng(0)
    scores, values = rng.normal(size=(30, 3)), rng.normal(5, 2, size=(30, 4))
    values[:7, 1] = np.nan
    values[:, 2] = 8
    values[:, 3] = np.nan
    found = correlations(scores, values)
    for component in range(3):
        assert found[component, 0] == pytest.approx(pearsonr(scores[:, component], values[:, 0])[0])
        assert found[component, 1] == pytest.approx(pearsonr(scores[7:, component], values[7:, 1])[0])
    assert np.isnan(found[:, 2:]).all(), "a constant and unknown values have none"


def test_significance_needs_size_and_members() -> None:
    r = np.array([[0.9, 0.29, 0.5, 0.9, np.nan]])
    found = significant(r, np.array([100, 10_000, 20, 3, 100]))
    assert found.tolist() == [[True, False, False, False, False]]
    # The least significant r of 100 members and one test at 0.01: Student's t of 98 degrees is 2.627.
    assert significant(np.array([[0.31]]), np.array([100])).all() and 2.627 / np.sqrt(98 + 2.627**2) < 0.31


def test_a_component_is_named_by_its_attribute_and_chance_is_not_named() -> None:
    rng = np.random.default_rng(0)
    has = rng.integers(0, 2, (200, 2)).astype(np.int8)
    scores = rng.normal(size=(200, 25))
    scores[:, 1] += 6 * has[:, 0]
    scores[:, 2] -= 2 * has[:, 1]
    traits = traits_of(has, ("woman", "hat"), NO_IMAGES)
    found = component_meanings(scores, traits)
    assert len(found) == 20 and [each["component"] for each in found] == list(range(20))
    assert (
        found[1]["name"] == f"woman {found[1]['correlations']['woman']:.2f}" and found[1]["correlations"]["woman"] > 0.9
    )
    assert found[2]["correlations"]["hat"] < -0.6
    assert all(
        each == {"component": k, "name": "", "correlations": {}} for k, each in enumerate(found) if k not in (1, 2)
    )


def test_the_strongest_columns_are_kept_by_component() -> None:
    r = np.array([[0.1, 0.9, np.nan, 0.2], [0.8, 0.1, np.nan, -0.3]])
    assert strongest(r) == [1, 0, 3]
    assert len(strongest(np.full((1, 50), 0.5))) == 20


def test_an_attribute_with_the_name_of_a_statistic_replaces_it() -> None:
    traits = traits_of(np.zeros((200, 1), np.int8), ("warmth",), NO_IMAGES)
    assert traits.names == ("warmth", "brightness", "saturation", "contrast", "edges") and traits.n_attributes == 1


def test_the_test_of_two_proportions_by_hand() -> None:
    """40 of 50 inside and 50 of 150 outside: p = 0.45, z = (0.8 - 1/3) / sqrt(0.45 * 0.55 * (1/50 + 1/150))."""
    labels = np.repeat([0, -1], [50, 150])
    has = np.concatenate([np.arange(50) < 40, np.arange(150) < 50]).astype(float)[:, None]
    found = moments(labels, Traits(has, ("hat",), 1))
    assert (found.inside[0, 0], found.outside[0, 0]) == pytest.approx((0.8, 1 / 3))
    assert found.z[0, 0] == pytest.approx((0.8 - 1 / 3) / np.sqrt(0.45 * 0.55 * (1 / 50 + 1 / 150)))


def test_clusters_are_named_by_what_sets_them_apart() -> None:
    labels = np.repeat([0, 1, -1], [80, 80, 40])
    has = np.zeros((200, 3), np.int8)
    has[:78, 0] = 1  # hats, nearly all in cluster 0
    has[::2, 1] = 1  # as many everywhere
    has[:, 2] = -1  # not known
    images = np.full((200, 4, 4, 3), 40, np.uint8) + np.random.default_rng(0).integers(0, 20, (200, 1, 1, 1), np.uint8)
    images[labels == 1] += 180
    found = cluster_meanings(labels, traits_of(has, ("hat", "even", "unknown"), images))
    assert [each["name"] for each in found] == ["hat, dark", "not hat, bright"]
    first = found[0]["traits"][0]
    assert (first["trait"], first["inside"], first["outside"]) == ("hat", 0.975, 0) and first["z"] > 10


def test_shares_by_cluster_are_of_the_attributes_that_differ_most() -> None:
    labels = np.repeat([0, 1], 100)
    has = np.zeros((200, 30), np.int8)
    has[:100, 25] = 1
    has[:50, 7] = 1
    has[:, 8] = -1
    names = tuple(f"a{k}" for k in range(30))
    kept, shares, overall = attribute_shares(labels, traits_of(has, names, NO_IMAGES))
    assert len(kept) == 20 and {"a7", "a25"} <= set(kept)
    assert shares[:, kept.index("a25")].tolist() == [1, 0] and overall[kept.index("a7")] == 0.25
    none, empty, _ = attribute_shares(labels, traits_of(has[:, :0], (), NO_IMAGES))
    assert none == () and empty.shape == (2, 0)
