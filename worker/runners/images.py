"""Sizes, conversions and grids of images (h, w, 3) of 0 to 255, for runners. Imports no torch."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from models.grids import labeled_grid
from models.pixels import center_square
from worker.run import OutputImage, Pixels


def fit(image: Pixels, size: int) -> Pixels:
    """The image with `size` pixels on its longer side and its aspect ratio kept."""
    h, w = image.shape[:2]
    scale = size / max(h, w)
    return resized(image, round(h * scale), round(w * scale))


def resized(image: Pixels, height: int, width: int) -> Pixels:
    """The image at this size, whatever its aspect ratio was."""
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def center_crop(image: Pixels, width: int, height: int) -> Pixels:
    """The center of an image with this aspect ratio, at this size."""
    return np.asarray(ImageOps.fit(Image.fromarray(image), (width, height), Image.Resampling.LANCZOS))


def center_squares(images: Sequence[Pixels] | Pixels, size: int, channels: int) -> Pixels:
    """The center squares of images, (n, size, size, 3); gray where a model has 1 channel."""
    squares = np.stack([np.asarray(center_square(Image.fromarray(image), size)) for image in images])
    if channels > 1:
        return squares
    return np.stack([np.asarray(Image.fromarray(square).convert("L").convert("RGB")) for square in squares])


def floats(images: Pixels) -> NDArray[np.float32]:
    """Images of 0 to 255 in [0, 1], of the same shape."""
    return images.astype(np.float32) / np.float32(255)


def rows_of(images: Pixels, rows: int) -> Pixels:
    """Images (rows * columns, h, w, 3) as (rows, columns, h, w, 3)."""
    return images.reshape(rows, -1, *images.shape[1:])


def numbered(name: str, n: int) -> list[str]:
    """Titles: the name and a number from 1 to n."""
    return [f"{name} {k}" for k in range(1, n + 1)]


def with_grid(images: Sequence[Pixels] | Pixels, grid: Pixels) -> list[OutputImage]:
    """Output images and their grid."""
    return [*map(OutputImage, images), OutputImage(grid, "grid")]


def before_after(content: Pixels, styles: list[Pixels], result: Pixels) -> OutputImage:
    """A grid of the content, the styles and the result side by side, each in a box of the result's size."""
    height, width = result.shape[:2]
    columns = [boxed(image, width, height) for image in (content, *styles, result)]
    style_names = ["style"] if len(styles) == 1 else numbered("style", len(styles))
    return OutputImage(labeled_grid(np.stack(columns)[None], [""], ["content", *style_names, "result"]), "grid")


def boxed(image: Pixels, width: int, height: int) -> Pixels:
    """The whole image on white, in a box of this size."""
    box = ImageOps.pad(Image.fromarray(image), (width, height), Image.Resampling.LANCZOS, color="white")
    return np.asarray(box)
