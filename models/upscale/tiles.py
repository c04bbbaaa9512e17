"""Upscales images of any size in overlapping tiles, so that memory does not grow with the image."""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from models.tensors import autocast, to_pixels, to_tensor
from models.upscale.real_esrgan import SCALE, Upscaler

TILE = 256  # longest side of what the network sees at once
BATCH_PIXELS = TILE**2  # of all tiles that it sees at once: 16 images of 64 px

Pixels = NDArray[np.uint8]


class Span(NamedTuple):
    """A tile along one axis: what the network sees, `start` to `end`, and its part in the result, `first` to `last`."""

    start: int
    end: int
    first: int
    last: int

    def kept(self, origin: int = 0) -> slice:
        """Its part in the result, in pixels of the result from `origin`."""
        return slice(SCALE * (self.first - origin), SCALE * (self.last - origin))


def spans(side: int, tile: int, overlap: int) -> list[Span]:
    """The tiles along an axis: of one length, evenly placed, each kept up to the middle of its overlap with the next.

    Two neighbors overlap by at least twice `overlap`, so the network sees at least `overlap` pixels around each part,
    up to the edge of the image.
    """
    length = min(side, tile)
    n = 1 + max(0, -(-(side - length) // (tile - 2 * overlap)))
    starts = [k * (side - length) // max(1, n - 1) for k in range(n)]
    cuts = [0, *((a + length + b) // 2 for a, b in pairwise(starts)), side]
    return [Span(start, start + length, cuts[k], cuts[k + 1]) for k, start in enumerate(starts)]


def count_tiles(network: Upscaler, images: Pixels) -> int:
    """The number of tiles of images (n, h, w, 3), by which `upscale` reports progress."""
    n, height, width, _ = images.shape
    rows, columns = (spans(side, TILE, network.overlap) for side in (height, width))
    return int(n) * len(rows) * len(columns)


@torch.inference_mode()
def upscale(
    network: Upscaler, images: Pixels, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Pixels:
    """Upscales images (n, h, w, 3) of 0 to 255 to (n, 4h, 4w, 3), in mixed precision if it is fast; gray stays gray.

    on_progress: called with the number of tiles done, and of all. Raises NotFiniteError.
    """
    n, height, width, _ = images.shape
    device = next(network.parameters()).device
    rows, columns = (spans(side, TILE, network.overlap) for side in (height, width))
    places = [(row, column, k) for row in rows for column in columns for k in range(n)]
    batch_size = max(1, BATCH_PIXELS // (min(height, TILE) * min(width, TILE)))
    result = np.empty((n, SCALE * height, SCALE * width, 3), np.uint8)
    for start in range(0, len(places), batch_size):
        batch = places[start : start + batch_size]
        seen = np.stack([images[k, row.start : row.end, column.start : column.end] for row, column, k in batch])
        with autocast(device):
            tiles = to_pixels(network(to_tensor(seen, device)).float())
        for (row, column, k), tile in zip(batch, tiles, strict=True):
            result[k, row.kept(), column.kept()] = tile[row.kept(row.start), column.kept(column.start)]
        on_progress(start + len(batch), len(places))
    gray = (images == images[..., :1]).all((1, 2, 3))  # which the networks, trained on colors, would tinge
    result[gray] = result[gray].mean(3, keepdims=True).round()
    return result
