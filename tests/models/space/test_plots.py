from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab
from sklearn.metrics import silhouette_samples

from models.grids import labeled_grid
from models.space.clusters import SILHOUETTE_MEMBERS, from_labels
from models.space.plots import (
    COLORS,
    NOISE,
    cluster_color,
    component_mosaic,
    marks,
    plot_explained_variance,
    plot_information_criteria,
    plot_methods,
    plot_silhouette,
    silhouettes,
)
from tests.models.space.blobs import Mask, where

RNG = np.random.default_rng(0)


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
    summary = {"silhouette": silhouette, "davies_bouldin": silhouette, "noise_share": 0.1, "stability": 0.7}
    return {"method": "kmeans", "n_clusters": len(sizes), "sizes": sizes, **summary}


def test_each_method_has_a_row_in_which_clusters_are_as_high_as_they_are_large() -> None:
    one, two = plot_methods([row([9, 20, 60])]), plot_methods([row([9, 20, 60]), row([5, 5, 5, 5])])
    assert len(two) > len(one)
    assert where(one, COLORS[2]).sum() == pytest.approx(3 * where(one, COLORS[1]).sum(), rel=0.1)
    assert not where(one, COLORS[3]).any() and where(two, COLORS[3]).any()


def test_a_figure_that_is_undefined_has_no_bar() -> None:
    summary = slice(0, 1000)  # left of the sizes
    known, half = plot_methods([row([9], 0.5)] * 2), plot_methods([row([9], None), row([9], 0.5)])
    bars = [where(plot[:, summary], COLORS[0])[int(0.4 * len(plot))] for plot in (known, half)]
    assert [runs(line) for line in bars] == [5, 3], "number of clusters, stability and noise are left"


def test_what_all_rows_lack_has_no_panel() -> None:
    without, with_labels = plot_methods([row([9])]), plot_methods([row([9]) | {"adjusted_rand": 0.9}])
    assert with_labels.shape[1] - without.shape[1] == 220
