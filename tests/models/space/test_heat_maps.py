"""Heat maps of correlations and shares."""

import numpy as np

from models.space.heat_maps import plot_correlations, plot_shares


def test_correlations_are_red_and_blue_and_an_undefined_one_is_gray() -> None:
    r = np.array([[1.0, -1.0], [np.nan, 0.0]])
    plot = plot_correlations(r, ["PC 0", "PC 1"], ["hat", "a name with more letters than fit"], np.abs(r) > 0.5)
    colors = {tuple(color) for color in np.unique(plot.reshape(-1, 3), axis=0).tolist()}
    assert {(103, 0, 31), (5, 48, 97)} <= colors, "the ends of the scale"
    assert plot.dtype == np.uint8 and plot.shape[2] == 3


def test_shares_of_many_clusters_are_cut() -> None:
    shares = np.random.default_rng(0).uniform(size=(100, 2))
    rows = [f"cluster {k}" for k in range(100)]
    many, few = (plot_shares(shares[:n], np.array([0.5, np.nan]), rows[:n], ["hat", "smiling"]) for n in (100, 60))
    assert many.shape[0] == few.shape[0], "at most 60 clusters"
