"""Scatter plots of members on two-dimensional maps and components, as uint8 pixels (height, width, 3)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from models.figures import rendered
from models.pixels import ImageArray
from models.space.clusters import Labels
from models.space.plots import COLORS, DPI, NOISE, Shares, cluster_color, panels_of

Places = NDArray[np.floating]  # (n, 2)
N_THUMBNAILS = 60  # at most
THUMBNAIL, FRAME = 46, 3  # pixels of a side with its frame, and of the frame
MANY = 40  # clusters above which the page is larger, with small numbers and few thumbnails
FEW_THUMBNAILS = 15
SMALL_NUMBER = 17  # pixels, as `NUMBER`
NUMBER = 28  # the least distance in pixels between the numbers of two clusters, so that both are legible
BLANK = 255  # of all values of the thumbnail of a member without an image
NOWHERE = np.zeros((0, 2))


def spread(points: Places, n: int, side: float, uncovered: Places) -> list[int]:
    """Selects up to n of the points (m, 2), spread evenly, so that squares of this side around them do not overlap.

    The squares do not cover the places `uncovered` (t, 2). Each next point is the farthest from those before it
    (Gonzalez 1985, "Clustering to minimize the maximum intercluster distance"). Returns indices.
    """
    room = np.full(len(points), np.inf)
    for place in uncovered:
        room = np.minimum(room, 2 * np.abs(points - place).max(1))
    chosen: list[int] = []
    while len(chosen) < n and room.max() >= side:
        chosen.append(int(room.argmax()))
        room = np.minimum(room, np.abs(points - points[chosen[-1]]).max(1))
    return chosen


def numbered(places: Places, labels: Labels) -> dict[int, Places]:
    """Positions of the numbers of clusters: near the medians, covering only the corner of a thumbnail there.

    The small numbers of more than `MANY` clusters are at the medians. Numbers that would cover each other are omitted.
    """
    many = labels.max(initial=-1) >= MANY
    corner = np.array([-1, 1]) * (0 if many else THUMBNAIL / 2 + 1)
    clusters = np.unique(labels[labels >= 0]).tolist()
    medians = np.array([np.median(places[labels == cluster], axis=0) for cluster in clusters]).reshape(-1, 2)
    shown = spread(medians, len(clusters), SMALL_NUMBER if many else NUMBER, NOWHERE)
    return {clusters[k]: medians[k] + corner for k in shown}


def plot_scatter(
    points: Places,
    labels: Labels | None,
    thumbnails: ImageArray,
    *,
    title: str,
    x_label: str,
    y_label: str,
    n_thumbnails: int = N_THUMBNAILS,
) -> ImageArray:
    """Draws members at points (n, 2) in the colors of their clusters, numbered, with thumbnails (n, h, w, 3) of some.

    Without labels all have one color.
    """
    if labels is None:
        return _scatter(points, [COLORS[0]] * len(points), thumbnails, title, (x_label, y_label))
    noise = f", noise {(labels < 0).mean():.0%}, gray" if (labels < 0).any() else ""
    colors = [cluster_color(label) for label in labels]
    axis_labels = x_label, y_label
    return _scatter(points, colors, thumbnails, title + noise, axis_labels, labels=labels, n_thumbnails=n_thumbnails)


def plot_attribute(
    points: Places, has: NDArray[np.int8], thumbnails: ImageArray, *, name: str, title: str, x_label: str, y_label: str
) -> ImageArray:
    """Draws members at points (n, 2) by whether each has an attribute (n,): 1 has it, 0 lacks it, -1 is not known."""
    colors = {1: COLORS[1], 0: COLORS[0], -1: NOISE}
    titles = {1: name, 0: f"not {name}", -1: "not known"}
    legend = {
        f"{titles[value]} ({(has == value).sum():,})": color for value, color in colors.items() if (has == value).any()
    }
    return _scatter(points, [colors[int(value)] for value in has], thumbnails, title, (x_label, y_label), legend=legend)


def plot_values(
    points: Places, values: Shares, thumbnails: ImageArray, *, name: str, title: str, x_label: str, y_label: str
) -> ImageArray:
    """Draws members at points (n, 2) by a value of each (n,), such as a component's score, with its scale."""
    limits = np.quantile(values, [0.01, 0.99])  # without limits, outliers would use up the color range
    scale = ScalarMappable(Normalize(limits[0], max(limits[1], limits[0] + 1e-12)), "viridis")
    colors = [to_hex(color) for color in scale.to_rgba(values)]
    return _scatter(points, colors, thumbnails, title, (x_label, y_label), scale=scale, scale_label=name)


def _scatter(
    points: Places,
    colors: Sequence[str],
    thumbnails: ImageArray,
    title: str,
    axis_labels: tuple[str, str],
    *,
    labels: Labels | None = None,
    legend: Mapping[str, str] | None = None,
    scale: ScalarMappable | None = None,
    scale_label: str = "",
    n_thumbnails: int = N_THUMBNAILS,
) -> ImageArray:
    """Draws the points, thumbnails of some in frames of their color, and the numbers of clusters for given labels.

    legend: colors by name. scale: the scale of a color bar.
    """
    many = labels is not None and labels.max(initial=-1) >= MANY
    figure, (axes,) = panels_of(14 if many else 10, 11.2 if many else 8, 1)
    n_thumbnails = min(n_thumbnails, FEW_THUMBNAILS) if many else n_thumbnails
    size = np.clip(20_000 / len(points), 4, 30)
    axes.scatter(points[:, 0], points[:, 1], s=size, c=list(colors), alpha=0.8, linewidths=0)
    axes.set(title=title, xlabel=axis_labels[0], ylabel=axis_labels[1])
    if scale:
        figure.colorbar(scale, ax=axes, label=scale_label, extend="both")
    if legend:
        handles = [Line2D([], [], marker="o", linestyle="", color=color, label=name) for name, color in legend.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # the positions of the points on the page are fixed from here on
    places = axes.transData.transform(points)
    numbers = {} if labels is None else numbered(places, labels)
    for member in spread(places, n_thumbnails, THUMBNAIL, np.array([*NOWHERE, *numbers.values()])):
        if (thumbnails[member] < BLANK).any():
            _thumbnail(axes, places[member], thumbnails[member], colors[member])
    for cluster, place in numbers.items():
        number = axes.annotate(str(cluster), tuple(place), xycoords="figure pixels", weight="bold", zorder=5)
        number.set(ha="center", va="center")
        if many:
            number.set(fontsize=6.5, path_effects=[withStroke(linewidth=2, foreground="white")])
        else:
            box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "linewidth": 2}
            number.set_bbox(box | {"edgecolor": cluster_color(cluster)})
    return rendered(figure)


def _thumbnail(axes: Axes, place: Places, thumbnail: ImageArray, frame: str) -> None:
    """Draws an image (h, w, 3) in a frame, `THUMBNAIL` pixels wide, centered at a place on the page."""
    points = 72 / DPI
    image = OffsetImage(thumbnail, zoom=points * (THUMBNAIL - 2 * FRAME) / max(thumbnail.shape))
    box = {"edgecolor": frame, "linewidth": 2 * points * FRAME}  # the image covers the inner half of the line
    axes.add_artist(AnnotationBbox(image, tuple(place), xycoords="figure pixels", pad=0, bboxprops=box, zorder=4))
