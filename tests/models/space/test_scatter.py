"""Scatter plots: thumbnails, numbers of clusters, and colors of points."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models.pixels import ImageArray
from models.space.plots import cluster_color
from models.space.scatter import NOWHERE, THUMBNAIL, numbered, plot_scatter, spread
from tests.models.space.blobs import Mask, where

RNG = np.random.default_rng(0)


def apart(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each two are from each other in the direction in which they are farther, (n, n)."""
    found: NDArray[np.float64] = np.abs(points[:, None] - points[None]).max(2)
    return found


def test_spread_by_hand() -> None:
    line = np.array([[x, 0] for x in range(11)])
    assert spread(line, 3, 1, NOWHERE) == [0, 10, 5], "an end, the other end, the middle"
    assert spread(line, 9, 4, NOWHERE) == [0, 10, 5]
    assert spread(line, 9, 4, np.array([[1, 0]])) == [10, 4], "a square around 0 would cover the place"


@pytest.mark.parametrize("side", [5, 10, 20])
def test_no_two_thumbnails_overlap_and_there_is_room_for_no_other(side: int) -> None:
    points, numbers = RNG.normal(50, 20, (500, 2)), RNG.normal(50, 20, (5, 2))
    chosen = spread(points, 500, side, numbers)
    between = apart(points)
    assert (between[np.ix_(chosen, chosen)] + 1e9 * np.eye(len(chosen)) >= side).all()
    to_numbers = np.abs(points[:, None] - numbers).max(2).min(1)
    assert (to_numbers[chosen] >= side / 2).all(), "numbers can be read"
    others = (between[:, chosen].min(1) >= side) & (to_numbers >= side / 2)
    assert not others.any()
    assert spread(points, 7, side, numbers) == chosen[:7]


def test_a_cluster_has_its_number_by_its_median_unless_it_would_hide_another() -> None:
    places = np.array([[0, 0], [10, 50], [90, 90], [300, 300], [12, 52], [200, 200]])
    found = numbered(places, np.array([0, 0, 0, 1, 2, -1]))
    assert list(found) == [0, 1], "2 would hide 0, and noise has none"
    above_to_the_left = np.array([-1, 1]) * (THUMBNAIL / 2 + 1)
    np.testing.assert_array_equal(found[0] - above_to_the_left, [10, 50])
    np.testing.assert_array_equal(found[1] - above_to_the_left, [300, 300])


def scatter(labels: NDArray[np.int64], n_thumbnails: int = 60) -> tuple[ImageArray, list[Mask]]:
    """Members at chance, each with a thumbnail of a color of its own, and where in the plot each is."""
    n = len(labels)
    points = np.random.default_rng(1).normal(size=(n, 2))
    thumbnails = np.full((n, 20, 20, 3), 250, np.uint8)
    thumbnails[..., 1] = np.arange(n)[:, None, None]
    plot = plot_scatter(points, labels, thumbnails, title="t", x_label="x", y_label="y", n_thumbnails=n_thumbnails)
    green = np.where((plot[..., 0] == 250) & (plot[..., 2] == 250), plot[..., 1].astype(int), -1)
    shown = [green == member for member in range(n)]
    return plot, [mask for mask in shown if mask.sum() > 100]


def test_points_have_the_colors_of_their_clusters_and_noise_is_gray() -> None:
    plot, shown = scatter(np.arange(200) % 4 - 1, n_thumbnails=0)
    assert not shown
    assert [where(plot, cluster_color(label), 0.8).sum() > 500 for label in range(-1, 4)] == [True] * 4 + [False]


def test_thumbnails_are_whole_and_framed_in_the_color_of_their_cluster() -> None:
    plot, shown = scatter(np.repeat([0, 1, -1], 60))
    assert plot.shape == (800, 1000, 3) and plot.dtype == np.uint8
    assert 25 < len(shown) <= 60
    inside = THUMBNAIL - 6
    for mask in shown:
        rows, columns = np.nonzero(mask)
        assert abs(np.ptp(rows) + 1 - inside) <= 2 and abs(np.ptp(columns) + 1 - inside) <= 2
        assert mask.sum() > 0.85 * inside**2, "a number hides a corner at most"
    frames = [where(plot, cluster_color(label)).sum() for label in (0, 1, -1)]
    assert min(frames) > 1000


def test_as_many_thumbnails_as_are_asked_for() -> None:
    assert len(scatter(np.zeros(200, np.int64), n_thumbnails=5)[1]) == 5


def test_the_only_member_of_a_cluster_is_seen_beside_its_number() -> None:
    _, shown = scatter(np.arange(3))
    assert len(shown) == 3


def test_where_all_is_noise_there_is_no_number() -> None:
    plot, shown = scatter(np.full(50, -1))
    assert shown and not (plot[50:720, 80:980] == 0).all(2).any()


def test_many_clusters_have_a_larger_page_with_fewer_thumbnails_and_numbers_at_their_medians() -> None:
    plot, shown = scatter(np.arange(240) % 80)
    assert plot.shape == (1120, 1400, 3) and 0 < len(shown) <= 15
    places = np.array([[x, y] for x in (0, 10, 40) for y in (0, 30)] * 20, np.float64)
    found = numbered(places, np.arange(120) % 60)
    assert 0 < len(found) <= 6 and all(place.tolist() in places.tolist() for place in found.values())
