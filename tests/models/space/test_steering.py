import numpy as np
import pytest

from models.errors import SpaceError
from models.space.pca import Pca, fit_pca
from models.space.steering import along, attribute_direction, component_direction, moved, towards_style

# Three values, of which PCA keeps the first two; the second is measured in tens.
PCA = Pca(
    mean_=np.array([1, 10, 0], np.float32),
    scale_=np.array([1, 10, 1], np.float32),
    components_=np.array([[1, 0, 0], [0, 1, 0]], np.float32),
    explained_variance_=np.array([4, 1], np.float32),
    explained_variance_ratio_=np.array([0.8, 0.2], np.float32),
)


def test_a_component_is_moved_along_in_standard_deviations() -> None:
    assert component_direction(PCA, 0).tolist() == [2, 0], "the root of its variance"
    start = np.array([[1, 10, 7]], np.float32)
    found = moved(PCA, start, along(component_direction(PCA, 0), [-1, 0, 1.5]))
    assert found.tolist() == [[-1, 10, 7], [1, 10, 7], [4, 10, 7]], "what lies outside the components stays"
    assert moved(PCA, start, along(component_direction(PCA, 1), [2])).tolist() == [[1, 30, 7]], "in the vectors' units"


def test_moving_changes_the_scores_by_just_that() -> None:
    vectors = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32) @ np.diag(range(1, 9)).astype(np.float32)
    pca = fit_pca(vectors, n_components=5, seed=0)
    changes = np.random.default_rng(1).normal(size=(60, 5)).astype(np.float32)
    after = pca.transform(moved(pca, vectors, changes)) - pca.transform(vectors)
    np.testing.assert_allclose(after, changes, atol=1e-4)


@pytest.mark.parametrize("component", [-1, 2])
def test_an_unknown_component_is_refused_with_their_number(component: int) -> None:
    with pytest.raises(SpaceError, match=f"no component {component}; there are 2, 0 to 1"):
        component_direction(PCA, component)


def test_a_style_gives_its_first_components_and_leaves_the_others() -> None:
    start, style = np.array([1, 2, 3], np.float32), np.array([5, 0, 9], np.float32)
    assert towards_style(start, style, n_components=2, strength=0.5).tolist() == [2, -1, 0]
    assert (start + towards_style(start, style, n_components=3, strength=1)).tolist() == style.tolist()


def test_the_difference_of_means_is_one_standard_deviation_long() -> None:
    has = np.array([True, True, False, False])
    scores = np.array([[3, 1], [3, -1], [-3, 1], [-3, -1]], np.float32)
    np.testing.assert_allclose(attribute_direction(scores, has), [3, 0], atol=1e-6)


def test_the_linear_direction_leaves_out_what_goes_with_the_attribute_by_chance() -> None:
    rng = np.random.default_rng(0)
    has = rng.random(4000) < 0.5
    noise = rng.normal(size=(4000, 2))
    scores = np.stack([has + 0.3 * noise[:, 0] + 0.5 * noise[:, 1], noise[:, 1]], axis=1).astype(np.float32)
    difference, linear = (attribute_direction(scores, has, how) for how in ("difference", "linear"))
    # Three standard errors of a difference of two means of 2000: 3 * sqrt(2 / 2000) = 0.095.
    assert abs(difference[1] / difference[0]) < 0.1
    assert linear[1] / linear[0] == pytest.approx(-0.5, abs=0.05), "it undoes the noise that the second score tells of"


@pytest.mark.parametrize("having", [0, 1, 9, 10])
def test_an_attribute_that_none_or_all_have_gives_no_direction(having: int) -> None:
    with pytest.raises(SpaceError, match=f"{having} of 10 images have the attribute"):
        attribute_direction(np.zeros((10, 2), np.float32), np.arange(10) < having)
