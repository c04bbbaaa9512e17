"""Regions of images with sides that can be checked by hand."""

import numpy as np
import pytest

from images.regions import Box, bounding_box, clipped, region_around, scaled_part


def test_bounding_box_holds_all_that_is_marked() -> None:
    marked = np.zeros((9, 12), bool)
    marked[2, 3] = marked[6, 10] = True
    assert bounding_box(marked) == Box(3, 2, 11, 7) and marked[Box(3, 2, 11, 7).slices].sum() == 2
    assert bounding_box(np.ones((9, 12), bool)).size == (12, 9)


@pytest.mark.parametrize(
    ("box", "padding", "shape", "expected"),
    [
        # In an image of 100 x 60. 20 x 10 pixels and 5 on each side: 30 x 20, as a square 30 x 30 around its middle.
        (Box(40, 20, 60, 30), 5, (64, 64), Box(35, 10, 65, 40)),
        (Box(40, 20, 60, 30), 5, (96, 64), Box(35, 15, 65, 35)),  # it has that aspect
        (Box(40, 20, 60, 30), 5, (64, 128), Box(35, 0, 65, 60)),  # 30 x 60, moved into the image
        (Box(0, 0, 10, 10), 5, (64, 64), Box(0, 0, 15, 15)),  # no padding beyond the edge
        (Box(90, 0, 100, 60), 8, (64, 64), Box(40, 0, 100, 60)),
        (Box(0, 50, 100, 60), 8, (64, 64), Box(0, -20, 100, 80)),  # wider than the image is high
        (Box(40, 20, 50, 30), 1, (104, 72), Box(36, 19, 54, 31)),  # 12 high: 17.3 wide, and so 18
    ],
)
def test_region_has_the_aspect_of_the_result(box: Box, padding: int, shape: tuple[int, int], expected: Box) -> None:
    found = region_around(box, padding, (100, 60), shape)
    assert found == expected
    inside = clipped(found, (100, 60))
    assert clipped(box, inside[2:]) == box and inside.left <= box.left and inside.top <= box.top


def test_a_part_of_a_region_is_scaled_with_it() -> None:
    region = Box(0, -20, 100, 80)
    assert scaled_part(Box(0, 0, 100, 60), region, (50, 50)) == Box(0, 10, 50, 40)
    assert scaled_part(region, region, (64, 64)) == Box(0, 0, 64, 64)
    # An image of 20000 x 16 pixels in 64: less than a pixel is one.
    assert scaled_part(Box(0, 0, 20_000, 16), Box(0, -9992, 20_000, 10_008), (64, 64)) == Box(0, 32, 64, 33)
