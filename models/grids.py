"""Grids of images with titles."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from models.data.dataset import contact_sheet
from models.pixels import ImageArray

READABLE, GAP, FONT_SIZE = 96, 4, 12  # pixels
MAX_SIDE = (
    8_192  # pixels of all images in a row or column: a side of a WebP file has at most 16,383, and memory is limited
)
_FONT = ImageFont.load_default(FONT_SIZE)


def readable_scale(side: int) -> int:
    """Integer factor that enlarges an image to at least `READABLE` pixels a side."""
    return max(1, math.ceil(READABLE / side))


def sheet(images: ImageArray, captions: Sequence[str] = ()) -> ImageArray:
    """Lays out images (n, h, w, 3) in a near square, enlarged, each with its caption below; (height, width, 3)."""
    columns = math.ceil(len(images) ** 0.5)
    return np.asarray(contact_sheet(images, columns, captions, readable_scale(images.shape[2])))


def labeled_grid(images: ImageArray, row_titles: Sequence[str], column_titles: Sequence[str]) -> ImageArray:
    """Lays out images (rows, columns, h, w, 3) with titles on the left and on top; (height, width, 3).

    Small images are enlarged; many large ones are reduced.
    """
    rows, columns = images.shape[:2]
    width, height = _tile_size(*images.shape[:4])
    left, top = _extent(row_titles)[0] + 2 * GAP, _extent(column_titles)[1] + 2 * GAP
    across = max(width, _extent(column_titles)[0]) + GAP
    down = max(height, _extent(row_titles)[1]) + GAP
    canvas = Image.new("RGB", (left + columns * across, top + rows * down), "white")
    pen = ImageDraw.Draw(canvas)
    for row, title in enumerate(row_titles):
        middle = top + row * down + height // 2
        pen.multiline_text((GAP, middle), title, "black", _FONT, anchor="lm")
    for column, title in enumerate(column_titles):
        middle = left + column * across + width // 2
        pen.multiline_text((middle, top - GAP), title, "black", _FONT, anchor="md", align="center")
    for row, column in np.ndindex(rows, columns):
        image = Image.fromarray(images[row, column])
        resampling = Image.Resampling.NEAREST if width >= image.width else Image.Resampling.LANCZOS
        canvas.paste(image.resize((width, height), resampling), (left + column * across, top + row * down))
    return np.asarray(canvas)


def _tile_size(rows: int, columns: int, height: int, width: int) -> tuple[int, int]:
    """Returns the width and height of the images in a grid."""
    scale = readable_scale(width)
    shrink = min(1.0, MAX_SIDE / (columns * width * scale), MAX_SIDE / (rows * height * scale))
    return max(1, int(width * scale * shrink)), max(1, int(height * scale * shrink))


def _extent(titles: Sequence[str]) -> tuple[int, int]:
    """Returns the largest width and height of the titles, which may have several lines."""
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    boxes = [pen.multiline_textbbox((0, 0), title, _FONT) for title in titles]
    return max(math.ceil(box[2]) for box in boxes), max(math.ceil(box[3]) for box in boxes)
