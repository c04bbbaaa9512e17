"""Rectangles of pixels: the part of an image that is generated at another size, and where it lies in that."""

from typing import NamedTuple

import numpy as np

from images.mask import Marked

Size = tuple[int, int]  # width, height


class Box(NamedTuple):
    """A rectangle of pixels; `right` and `bottom` are the first that are not in it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> Size:
        """The width and the height."""
        return self.right - self.left, self.bottom - self.top

    @property
    def slices(self) -> tuple[slice, slice]:
        """The index of its pixels in an array (height, width, …)."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


def bounding_box(marked: Marked) -> Box:
    """Returns the smallest box that holds all that is marked; something must be."""
    rows, columns = (np.flatnonzero(marked.any(axis)) for axis in (1, 0))
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def region_around(box: Box, padding: int, image: Size, shape: Size) -> Box:
    """Returns the smallest box of the aspect of `shape` with a part of an image and `padding` pixels around that part.

    It is moved into the image where it fits, and else centered on it: then it is larger than the image.
    """
    left, top, right, bottom = box
    padded = clipped(Box(left - padding, top - padding, right + padding, bottom + padding), image)
    # The smallest multiple, width/height * (numerator/denominator), in integers: without rounding errors.
    width, height = padded.size
    if width * shape[1] >= height * shape[0]:
        size = width, -(-width * shape[1] // shape[0])
    else:
        size = -(-height * shape[0] // shape[1]), height
    x, y = (_start((padded[axis] + padded[axis + 2] - size[axis]) // 2, size[axis], image[axis]) for axis in (0, 1))
    return Box(x, y, x + size[0], y + size[1])


def _start(start: int, side: int, image_side: int) -> int:
    room = image_side - side
    return min(max(start, 0), room) if room >= 0 else room // 2


def clipped(box: Box, image: Size) -> Box:
    """Returns the part of a box that is inside an image."""
    return Box(max(0, box.left), max(0, box.top), min(image[0], box.right), min(image[1], box.bottom))


def scaled_part(part: Box, region: Box, shape: Size) -> Box:
    """Returns where a part of a region lies once the region has the size `shape`; at least a pixel."""
    (width, height), (region_width, region_height) = shape, region.size
    left, right = _scaled(part.left - region.left, part.right - region.left, width, region_width)
    top, bottom = _scaled(part.top - region.top, part.bottom - region.top, height, region_height)
    return Box(left, top, right, bottom)


def _scaled(start: int, end: int, to: int, side: int) -> tuple[int, int]:
    first = min(round(start * to / side), to - 1)
    return first, max(first + 1, round(end * to / side))
