"""Heat maps of what components and clusters mean, as uint8 pixels (height, width, 3)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from models.figures import rendered
from models.pixels import ImageArray
from models.space.plots import DPI

Float64 = NDArray[np.float64]
CELL = (0.55, 0.3)  # inches of a cell
MAX_NAME = 24  # letters of a name on an axis
MAX_ROWS = 60  # of clusters
LEAST_CORRELATION, LEAST_SHARE = 0.1, 0.005  # with a number; smaller ones are left to the color


def plot_correlations(r: Float64, rows: Sequence[str], columns: Sequence[str], named: NDArray[np.bool_]) -> ImageArray:
    """Draws correlations (c, k) of components with traits; those `named` (c, k) are bold, undefined cells gray."""
    figure, axes = _page(len(rows), len(columns))
    image = axes.imshow(r, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    shown = np.where(np.abs(r) < LEAST_CORRELATION, np.nan, r)
    _numbers(axes, shown, dark=np.abs(r) > 0.6, bold=named)
    _titles(axes, rows, columns)
    axes.set_title("Correlation of component scores with attributes and image statistics\n(bold: significant)")
    figure.colorbar(image, ax=axes, label="correlation")
    return rendered(figure)


def plot_shares(shares: Float64, overall: Float64, rows: Sequence[str], columns: Sequence[str]) -> ImageArray:
    """Draws the share of members of each cluster (c, k) that have an attribute, below the share of all members (k,)."""
    cut = f", first {MAX_ROWS} clusters" if len(shares) > MAX_ROWS else ""
    table = np.concatenate([overall[None], shares[:MAX_ROWS]])
    figure, axes = _page(len(table), len(columns))
    image = axes.imshow(table, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    shown = np.where(table < LEAST_SHARE, np.nan, table)
    _numbers(axes, shown, dark=table > 0.6, bold=np.zeros(table.shape, np.bool_))
    axes.axhline(0.5, color="black", linewidth=1.5)
    _titles(axes, ["all members", *rows[:MAX_ROWS]], columns)
    axes.set_title(f"Share of members with each attribute{cut}")
    figure.colorbar(image, ax=axes, label="share")
    return rendered(figure)


def _page(n_rows: int, n_columns: int) -> tuple[Figure, Axes]:
    size = 4.2 + CELL[0] * max(6, n_columns), 2.2 + CELL[1] * max(3, n_rows)
    figure = Figure(figsize=size, dpi=DPI, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
    axes = figure.subplots()
    axes.set_facecolor("0.85")  # of undefined cells
    return figure, axes


def _numbers(axes: Axes, table: Float64, *, dark: NDArray[np.bool_], bold: NDArray[np.bool_]) -> None:
    for row, column in zip(*np.nonzero(~np.isnan(table)), strict=True):
        text = axes.text(column, row, f"{round(table[row, column], 2) + 0:.2f}", ha="center", va="center", fontsize=8)
        text.set_in_layout(False)  # measuring hundreds of numbers takes as long as drawing them
        text.set(color="white" if dark[row, column] else "black", weight="bold" if bold[row, column] else "normal")


def _titles(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    axes.set_yticks(range(len(rows)), [_short(row, 2 * MAX_NAME) for row in rows])
    axes.set_xticks(range(len(columns)), [_short(column, MAX_NAME) for column in columns], rotation=45, ha="right")
    axes.tick_params(length=0)


def _short(name: str, letters: int) -> str:
    return name if len(name) <= letters else name[: letters - 1] + "…"
