"""Draws figures of Matplotlib into arrays."""

from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from models.pixels import ImageArray


def rendered(figure: Figure) -> ImageArray:
    """Pixels of a figure, uint8 (height, width, 3)."""
    canvas: Any = FigureCanvasAgg(figure)  # `savefig` would draw twice, and encode the pixels
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
