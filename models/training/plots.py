"""Plots the losses of a run."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from models.figures import rendered


def plot_losses(curve: Mapping[str, Sequence[float]], log: bool = False) -> Image.Image:
    """Plots each loss over the steps, raw and smoothed, in its own panel, on a linear or logarithmic scale."""
    figure = Figure(figsize=(4.2 * max(1, len(curve)), 3.2), dpi=90, layout="constrained")
    panels = figure.subplots(1, max(1, len(curve)), squeeze=False)[0]
    for axes, (name, values) in zip(panels, curve.items(), strict=False):
        steps = np.arange(1, len(values) + 1)
        axes.plot(steps, values, color="0.8", linewidth=0.7)
        width = max(1, len(values) // 50)
        smooth = np.convolve(values, np.full(width, 1 / width), "valid")
        axes.plot(steps[width - 1 :], smooth, color="C0", label=f"mean of {width} steps")
        finite = np.asarray(values)[np.isfinite(values)]
        if log:
            axes.set_yscale("log")
        elif len(finite):
            low, high = np.quantile(finite, (0.0, 0.99))
            axes.set_ylim(low - 0.05 * (high - low) - 1e-9, high + 0.1 * (high - low) + 1e-9)
        axes.set(title=name.replace("_", " "), xlabel="step", ylabel="loss")
        axes.legend(fontsize="small")
    return Image.fromarray(rendered(figure))
