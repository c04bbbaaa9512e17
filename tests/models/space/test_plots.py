from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab
from sklearn.metrics import silhouette_samples

from models.grids import labeled_grid
from models.pixels import ImageArray
from models.space.clusters import SILHOUETTE_MEMBERS, from_labels
from models.space.plots import (
    COLORS,
    NOISE,
    NOWHERE,
    THUMBNAIL,
    cluster_color,
    component_mosaic,
    marks,
    numbered,
    plot_explained_variance,
    plot_information_criteria,
    plot_methods,
    plot_scatter,
    plot_silhouette,
    silhouettes,
    spread,
)

RNG = np.random.default_rng(0)
Mask = NDArray[np.bool_]


def where(plot: ImageArray, name: str, opacity: float = 1) -> Mask:
    """Which pixels have a color, laid on white with an opacity."""
    rgb = 255 * (opacity * np.array(to_rgb(name)) + 1 - opacity)
    return np.asarray((np.abs(plot - rgb) <= 1).all(2))


def runs(line: Mask) -> int:
    """How many stretches of True there are."""
    return sum(after and not before for before, after in pairwise([False, *line.tolist()]))


# --- colors ---------------------------------------------------------------------------------------------------------


def test_colors_of_twenty_clusters_and_noise_are_distinct() -> None:
    lab = rgb2lab(np.array([to_rgb(name) for name in (*COLORS, NOISE)])[None])[0]
    apart = deltaE_ciede2000(lab[:, None], lab[None])[np.triu_indices(21, k=1)]
    assert len(COLORS) == 20 and apart.min() > 16


def test_colors_come_again_after_twenty_and_noise_is_gray() -> None:
    assert [cluster_color(label) for label in (0, 19, 20, 41, -1)] == [
        COLORS[0],
        COLORS[19],
        COLORS[0],
        COLORS[1],
        NOISE,
    ]


# --- components ------------------------------------------------------------------------------------------------------


def test_marks_by_hand() -> None:
    assert marks(np.array([0.5, 0.25, 0.1875, 0.03125])) == {0.9: 3, 0.95: 4}, "together they explain 0.96875"
    assert marks(np.array([0.995])) == {0.9: 1, 0.95: 1, 0.99: 1}


@pytest.mark.parametrize(("k", "bars"), [(1, 1), (7, 7), (30, 30), (200, 30)])
def test_the_first_thirty_components_have_a_bar_each(k: int, bars: int) -> None:
    plot = plot_explained_variance(np.full(k, 1 / k))
    middle_of_the_bars = where(plot, COLORS[0])[len(plot) // 2, : plot.shape[1] // 2]
    assert runs(middle_of_the_bars) == bars


@pytest.mark.parametrize(("explained", "drawn"), [(0.5, 0), (0.92, 1), (0.96, 2), (1, 3)])
def test_a_mark_is_drawn_where_it_is_reached(explained: float, drawn: int) -> None:
    plot = plot_explained_variance(np.full(100, explained / 100))
    dashes = where(plot, "0.4")[:, plot.shape[1] // 2 :]
    assert runs(dashes.mean(1) > 0.3) == drawn, "lines across"
    assert runs(dashes.mean(0) > 0.3) == drawn, "lines down to the number of components"


def test_mosaic_names_components_from_0_and_strengths() -> None:
    images = RNG.integers(0, 256, (2, 3, 96, 96, 3), np.uint8)
    wanted = labeled_grid(images, ["PC 0\n50.0 %", "PC 1\n12.3 %"], ["-3 sd", "0 sd", "1.5 sd"])
    np.testing.assert_array_equal(component_mosaic(images, {0: 0.5, 1: 0.123}, [-3, 0, 1.5]), wanted)


# --- clusters --------------------------------------------------------------------------------------------------------


def blobs(*sizes: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Clusters of these sizes, far from each other."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return np.stack([100 * labels, 0 * labels], axis=1) + RNG.normal(size=(sum(sizes), 2)), labels


def test_silhouettes_by_hand_leave_noise_out() -> None:
    scores, labels = np.array([[0.0], [1], [5], [10], [11]]), np.array([0, 0, -1, 1, 1])
    values, clusters = silhouettes(scores, labels, seed=0)
    np.testing.assert_allclose(values, [1 - 1 / 10.5, 1 - 1 / 9.5, 1 - 1 / 9.5, 1 - 1 / 10.5])
    assert clusters.tolist() == [0, 0, 1, 1]


def test_silhouettes_are_those_of_scikit_learn() -> None:
    scores, labels = RNG.normal(size=(120, 4)), np.arange(120) % 3
    values, clusters = silhouettes(scores, labels, seed=0)
    np.testing.assert_array_equal(values, silhouette_samples(scores, labels))
    np.testing.assert_array_equal(clusters, labels)


def test_a_sample_has_every_cluster_and_the_mean_that_the_clustering_has() -> None:
    scores, labels = RNG.normal(size=(SILHOUETTE_MEMBERS + 500, 2)), np.arange(SILHOUETTE_MEMBERS + 500) % 3
    labels[:50], labels[50] = np.arange(3, 53), -1  # clusters of one member, which are hardly all drawn, and noise
    values, clusters = silhouettes(scores, labels, seed=5)
    assert SILHOUETTE_MEMBERS < len(values) <= SILHOUETTE_MEMBERS + 53
    assert np.unique(clusters).tolist() == list(range(53))
    assert values.mean() == pytest.approx(from_labels("hdbscan", scores, labels, 5).silhouette)


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2], [-1, -1, -1], [-1, 0, 0]])
def test_without_two_clusters_to_compare_there_are_no_silhouettes(labels: list[int]) -> None:
    values, clusters = silhouettes(np.eye(3), np.array(labels), seed=0)
    assert len(values) == len(clusters) == 0
    plot = plot_silhouette(np.eye(3), np.array(labels))
    assert not any(where(plot, name).any() for name in COLORS)


def test_the_bars_of_a_cluster_are_as_high_as_it_has_members() -> None:
    plot = plot_silhouette(*blobs(90, 30))
    areas = [where(plot, name).sum() for name in COLORS]
    assert areas[0] == pytest.approx(3 * areas[1], rel=0.05)
    assert areas[2:] == [0] * 18


def test_a_sweep_is_shown_beside_the_silhouettes_with_the_number_chosen() -> None:
    sweep = [{"n_clusters": k, "inertia": 10 - k, "silhouette": 1 / k} for k in (2, 3, 4)]
    alone = plot_silhouette(*blobs(9, 9))
    lines = []
    for k in (2, 3, 4):
        plot = plot_silhouette(*blobs(*[9] * k), sweep)
        assert plot.shape[1] > 1.5 * alone.shape[1]
        lines += np.nonzero(where(plot, "0.4").mean(0) > 0.3)[0].tolist()
    assert len(lines) == 3 and lines[2] > lines[0] + 200
    assert lines[1] == pytest.approx((lines[0] + lines[2]) / 2, abs=2)


@pytest.mark.parametrize("chosen", [3, 6, 8])
def test_the_chosen_mixture_is_marked_on_the_curve_of_its_criterion(chosen: int) -> None:
    sweep = [{"n_components": k, "aic": abs(k - chosen), "bic": 20 + k} for k in (11, 1, 2, 3, 6, 8)]
    plot = plot_information_criteria(sweep, chosen, "aic")
    below = plot[len(plot) // 2 :]  # where AIC is, but neither BIC nor the legend
    aic = np.nonzero(where(below, COLORS[0]).any(0))[0]
    wanted = aic.min() + (chosen - 1) / 10 * np.ptp(aic)
    stars = np.nonzero(sliding_window_view((below == 0).all(2), (5, 5)).all((2, 3)))[1] + 2
    assert np.abs(stars - wanted).min() < 5
    np.testing.assert_array_equal(plot_information_criteria(sweep[::-1], chosen, "aic"), plot)


def row(sizes: list[int], silhouette: float | None = 0.5) -> dict[str, object]:
    summary = {"silhouette": silhouette, "davies_bouldin": silhouette, "noise_share": 0.1}
    return {"method": "kmeans", "n_clusters": len(sizes), "sizes": sizes, **summary}


def test_each_method_has_a_row_in_which_clusters_are_as_high_as_they_are_large() -> None:
    one, two = plot_methods([row([9, 20, 60])]), plot_methods([row([9, 20, 60]), row([5, 5, 5, 5])])
    assert len(two) > len(one)
    assert where(one, COLORS[2]).sum() == pytest.approx(3 * where(one, COLORS[1]).sum(), rel=0.1)
    assert not where(one, COLORS[3]).any() and where(two, COLORS[3]).any()


def test_a_figure_that_is_undefined_has_no_bar() -> None:
    summary = slice(0, 900)  # left of the sizes
    known, unknown = plot_methods([row([9], 0.5)]), plot_methods([row([9], None)])
    bars = [where(plot[:, summary], COLORS[0])[len(plot) // 2] for plot in (known, unknown)]
    assert [runs(line) for line in bars] == [4, 2], "number of clusters and noise are left"


# --- maps ------------------------------------------------------------------------------------------------------------


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
