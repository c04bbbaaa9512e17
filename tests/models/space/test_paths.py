"""Paths through a space: equal steps, ends, and loops without a jump."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import SpaceError
from models.space.paths import frame_weights, tour

Points = NDArray[np.float32]
FIVE = np.random.default_rng(0).normal(size=(5, 40)).astype(np.float32) + 10


def frames(points: Points, n: int, *, loop: bool, curved: bool = True) -> NDArray[np.float64]:
    weights = frame_weights(points, n, loop=loop, curved=curved)
    assert weights.shape == (n, len(points))
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-12)
    return weights @ points


def steps(path: NDArray[np.float64]) -> NDArray[np.float64]:
    """The length of the step after each frame, the last of them back to the first."""
    lengths: NDArray[np.float64] = np.linalg.norm(np.roll(path, -1, axis=0) - path, axis=1)
    return lengths


@pytest.mark.parametrize("n", [48, 121])
def test_a_closed_curve_has_even_steps_and_no_jump_at_the_loop(n: int) -> None:
    path = frames(FIVE, n, loop=True)
    lengths = steps(path)
    assert lengths[-1] <= lengths[:-1].max(), "from the last frame to the first"
    assert lengths.min() > 0.9 * lengths.max(), "chords of equal arcs"
    turns = np.linalg.norm(np.roll(path, -1, 0) - 2 * path + np.roll(path, 1, 0), axis=1)
    assert turns[0] < 2 * np.delete(turns, 0).max(), "no corner there either"
    nearest = np.linalg.norm(path[:, None] - FIVE, axis=2).min(0)
    assert (nearest <= lengths.max() / 2 + 1e-6).all() and nearest[0] < 1e-6, "through each point, from the first"


def test_four_points_on_a_circle_give_nearly_the_circle() -> None:
    square = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], np.float32)
    radii = np.linalg.norm(frames(square, 60, loop=True), axis=1)
    assert 0.97 < radii.min() <= radii.max() < 1.03


def test_two_points_are_a_straight_line_and_a_loop_goes_out_and_back() -> None:
    ends = np.array([[0, 0], [6, 8]], np.float32)
    there = frames(ends, 6, loop=False)
    np.testing.assert_allclose(there[:, 0], [0, 1.2, 2.4, 3.6, 4.8, 6], atol=1e-12)
    np.testing.assert_allclose(frames(ends, 6, loop=True)[:, 0], [0, 2, 4, 6, 4, 2], atol=1e-12)
    np.testing.assert_allclose(frames(ends, 5, loop=True)[:, 0], [0, 3, 6, 6, 3], atol=1e-12)


def test_a_straight_path_is_even_however_far_apart_its_points_are() -> None:
    line = np.array([[0], [1], [10]], np.float32)
    np.testing.assert_allclose(frames(line, 11, loop=False, curved=False)[:, 0], range(11), atol=1e-12)
    back = np.array([[0], [3], [0], [-3], [0]], np.float32)
    around = frames(back, 12, loop=True, curved=False)[:, 0]
    np.testing.assert_allclose(around, [0, 1, 2, 3, 2, 1, 0, -1, -2, -3, -2, -1], atol=1e-12)


def test_an_open_curve_starts_at_the_first_point_and_ends_at_the_last() -> None:
    path = frames(FIVE, 80, loop=False)
    np.testing.assert_allclose(path[[0, -1]], FIVE[[0, -1]], rtol=1e-6)
    lengths = steps(path)[:-1]
    assert lengths.min() > 0.9 * lengths.max()


def test_repeated_points_are_passed_once_and_points_that_are_all_equal_are_no_path() -> None:
    repeated = FIVE[[0, 0, 1, 2, 2, 0]]
    np.testing.assert_allclose(frames(repeated, 24, loop=True), frames(FIVE[:3], 24, loop=True), rtol=1e-9)
    with pytest.raises(SpaceError, match="all points of the path are the same"):
        frame_weights(FIVE[[1, 1, 1]], 24, loop=True, curved=True)


def test_a_tour_goes_around_once() -> None:
    angles = np.array([0.1, 3.0, 1.2, 5.5, 4.1, 2.2])
    circle = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1).astype(np.float32) + 5
    order = angles[tour(circle)]
    assert ((np.diff([*order, order[0]]) % (2 * np.pi) < np.pi).all()) or (
        (np.diff([*order, order[0]]) % (2 * np.pi) > np.pi).all()
    ), "always the same way round"
