"""Plots of a collection: its components and clusters, each as uint8 pixels (height, width, 3)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from sklearn.metrics import silhouette_samples

from models.figures import rendered
from models.grids import labeled_grid
from models.pixels import ImageArray
from models.space.clusters import SILHOUETTE_MEMBERS, Labels, Scores
from models.space.collection import MARKS
from models.space.pca import components_for

Shares = NDArray[np.floating]  # (k,), of the variance

DPI = 100
BARS = 30  # the most components with a bar of their own
NOISE = "#b8b8b8"
# Matplotlib's default cycle without its gray. Each further color is the one farthest from those before it and from gray
# that is neither dark nor pale. Any two differ by at least 16 in CIEDE2000; in tab20 they differ by 12.
COLORS = (
    *("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#bcbd22", "#17becf", "#005a3c"),
    *("#695a00", "#0000ff", "#960069", "#b4b4ff", "#00e1a5", "#ffb4a5", "#4b4b69", "#a5874b", "#ffb400", "#5ae100"),
)
# Figures of clusterings that are compared: title and number format of each.
COMPARED = {
    "n_clusters": ("clusters", "{:.0f}"),
    "silhouette": ("silhouette\n(higher is better)", "{:.2f}"),
    "davies_bouldin": ("Davies-Bouldin\n(lower is better)", "{:.2f}"),
    "stability": ("stability\n(adjusted Rand\nof resamples)", "{:.2f}"),
    "adjusted_rand": ("agreement\nwith labels\n(adjusted Rand)", "{:.2f}"),
    "noise_share": ("noise", "{:.0%}"),
}


def cluster_color(label: int) -> str:
    """Color of a cluster; colors repeat after the last of `COLORS`, and noise is gray."""
    return NOISE if label < 0 else COLORS[label % len(COLORS)]


# --- components ------------------------------------------------------------------------------------------------------


def marks(ratio: Shares) -> dict[float, int]:
    """Number of components that reach each of `MARKS`, for those that are reached."""
    needed = {mark: components_for(ratio, mark) for mark in MARKS}
    return {mark: n for mark, n in needed.items() if n is not None}


def plot_explained_variance(ratio: Shares) -> ImageArray:
    """Plots the explained variance ratio of the first components, and the cumulative one with `marks`."""
    figure, (each, total) = panels_of(10, 4.2, 2)
    shown = ratio[:BARS]
    each.bar(np.arange(len(shown)), 100 * shown, color=COLORS[0])
    each.set(title=f"Explained variance, first {len(shown)} of {len(ratio)}", xlabel="component")
    total.plot(np.arange(len(ratio) + 1), 100 * np.cumsum([0, *ratio]), ".-", color=COLORS[0], markersize=4)
    for row, (mark, n) in enumerate(marks(ratio).items()):
        total.plot([0, n, n], [100 * mark, 100 * mark, 0], "--", color="0.4", linewidth=1)
        # One above the other, because several marks may be reached by the same number of components.
        total.text(n, 4 + 22 * row, f"{mark:.0%}: {n} ", rotation=90, ha="right")
    total.set(title="Cumulative explained variance", xlabel="components", ylim=(0, 103))
    for axes in (each, total):
        axes.set_ylabel("% of variance")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return rendered(figure)


def component_mosaic(images: ImageArray, shares: Mapping[int, float], strengths: Sequence[float]) -> ImageArray:
    """Lays out images (components, strengths, h, w, 3) along components; shares: explained variance ratios."""
    rows = [f"PC {k}\n{100 * share:.1f} %" for k, share in shares.items()]
    return labeled_grid(images, rows, [f"{strength:g} sd" for strength in strengths])


# --- clusters --------------------------------------------------------------------------------------------------------


def silhouettes(scores: Scores, labels: Labels, seed: int) -> tuple[Scores, Labels]:
    """Silhouettes (m,) of members that are not noise, and their clusters (m,).

    Rousseeuw 1987, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis". Computed on
    `SILHOUETTE_MEMBERS` members and one more of each cluster, as in `FittedClustering`; empty without two clusters.
    """
    members = np.flatnonzero(labels >= 0)
    if len(members) > SILHOUETTE_MEMBERS:
        drawn = np.random.default_rng(seed).choice(members, SILHOUETTE_MEMBERS, replace=False)
        members = np.union1d(drawn, members[np.unique(labels[members], return_index=True)[1]])
    clusters = labels[members]
    if not 2 <= len(np.unique(clusters)) < len(clusters):
        return np.zeros(0), np.zeros(0, np.int64)
    return silhouette_samples(scores[members], clusters), clusters


def plot_silhouette(
    scores: Scores, labels: Labels, sweep: Sequence[Mapping[str, float]] = (), seed: int = 0
) -> ImageArray:
    """Plots the silhouette of each member by cluster and, if given, a sweep over `n_clusters`."""
    figure, panels = panels_of(11 if sweep else 6.5, 5.5, 2 if sweep else 1)
    values, clusters = silhouettes(scores, labels, seed)
    if len(values):
        _silhouette_bars(panels[0], values, clusters)
    else:
        panels[0].set(title="No silhouettes: at least two clusters are needed", xticks=[], yticks=[])
    if sweep:
        _sweep(panels[1], sweep, len(np.unique(labels[labels >= 0])))
    return rendered(figure)


def _silhouette_bars(axes: Axes, values: Scores, clusters: Labels) -> None:
    start, gap = 0.0, len(values) / 100
    named: dict[float, str] = {}
    for cluster in np.unique(clusters):
        bars = np.sort(values[clusters == cluster])
        axes.fill_betweenx(
            start + np.arange(len(bars) + 1), 0, [*bars, bars[-1]], color=cluster_color(cluster), step="post"
        )
        middle = start + len(bars) / 2
        if middle - max(named, default=-np.inf) > 3 * gap:  # far enough from the last number that both are legible
            named[middle] = str(cluster)
        start += len(bars) + gap
    axes.axvline(values.mean(), color="black", linestyle="--", linewidth=1)
    axes.set(title=f"Silhouettes, mean {values.mean():.2f}", xlabel="silhouette", ylabel="members by cluster")
    axes.set_yticks(list(named), list(named.values()))
    axes.invert_yaxis()


def _sweep(axes: Axes, sweep: Sequence[Mapping[str, float]], chosen: int) -> None:
    n = [row["n_clusters"] for row in sweep]
    if "gap" in sweep[0]:
        values, errors = ([row[name] for row in sweep] for name in ("gap", "gap_error"))
        axes.errorbar(n, values, errors, fmt="o-", color=COLORS[0], capsize=3)
        axes.set_ylabel("gap statistic, with one standard error", color=COLORS[0])
    else:
        axes.plot(n, [row["silhouette"] for row in sweep], "o-", color=COLORS[0])
        axes.set_ylabel("mean silhouette (higher is better)", color=COLORS[0])
    axes.axvline(chosen, color="0.4", linestyle="--", linewidth=1)
    axes.set(title=f"Sweep over the number of clusters, {chosen} chosen", xlabel="clusters")
    inertia = axes.twinx()
    inertia.plot(n, [row["inertia"] for row in sweep], "s--", color=COLORS[1], markersize=4)
    inertia.set_ylabel("inertia", color=COLORS[1])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def plot_information_criteria(sweep: Sequence[Mapping[str, float]], chosen: int, criterion: str) -> ImageArray:
    """Plots AIC and BIC of mixtures by `n_components`, and the number chosen by the criterion, "aic" or "bic"."""
    figure, (axes,) = panels_of(7.5, 4.5, 1)
    rows = {int(row["n_components"]): row for row in sorted(sweep, key=lambda row: row["n_components"])}
    for place, name in enumerate(("aic", "bic")):
        values = [row[name] for row in rows.values()]
        axes.plot(list(rows), values, "o-", color=COLORS[place], markersize=3, label=name.upper())
    name = f"{chosen} components, by {criterion.upper()}"
    axes.plot(chosen, rows[chosen][criterion], "*", color="black", markersize=14, label=name)
    axes.set(title="Gaussian mixtures", xlabel="components", ylabel="criterion (lower is better)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    return rendered(figure)


def plot_methods(rows: Sequence[Mapping[str, Any]]) -> ImageArray:
    """Compares clustering methods, one per row: number of clusters, figures of merit, noise and sizes.

    rows: method, n_clusters, silhouette, davies_bouldin, stability and adjusted_rand (a number or None), noise_share,
    sizes (of each cluster). There is no panel for what all rows lack, such as labels.
    """
    compared = {name: each for name, each in COMPARED.items() if any(row.get(name) is not None for row in rows)}
    figure, panels = panels_of(2 + 2.2 * len(compared), 1.2 + 0.8 * len(rows), len(compared) + 1, sharey=True)
    for axes, (name, (title, form)) in zip(panels, compared.items(), strict=False):
        values = [row.get(name) for row in rows]
        lengths = [value or 0 for value in values]
        bars = axes.barh(range(len(rows)), lengths, height=0.5, color=COLORS[0])
        axes.bar_label(bars, ["none" if value is None else form.format(value) for value in values], padding=3)
        low, high = min(0, *lengths), max(0, *lengths) or 1
        axes.set(title=title, xlim=(low, low + 1.4 * (high - low)))  # room for the values
    panels[-1].set(title="members of each cluster")
    for place, row in enumerate(rows):
        _sizes(panels[-1], place, row["sizes"])
    panels[0].set_yticks(range(len(rows)), [row["method"] for row in rows])
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    for axes in panels:
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelbottom=False)
    return rendered(figure)


def _sizes(axes: Axes, place: int, sizes: Sequence[int]) -> None:
    """Draws a small bar for each cluster, in its color, in row `place`."""
    left = np.arange(len(sizes)) / len(sizes)
    tints = [cluster_color(cluster) for cluster in range(len(sizes))]
    heights = 0.7 * np.array(sizes) / max(sizes)
    axes.bar(left, -heights, 0.85 / len(sizes), place + 0.35, align="edge", color=tints)
    axes.text(1.03, place, f"{min(sizes)} to {max(sizes)}", va="center")


# --- the page --------------------------------------------------------------------------------------------------------


def panels_of(width: float, height: float, n: int, **options: Any) -> tuple[Figure, list[Axes]]:
    """Creates a figure, its size in inches, with n panels side by side."""
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout)
    return figure, list(figure.subplots(1, n, squeeze=False, **options)[0])
