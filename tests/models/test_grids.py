import numpy as np
import pytest

from models.grids import labeled_grid, readable_scale, sheet

RED, BLUE = (255, 0, 0), (0, 0, 255)


def plain(color: tuple[int, int, int], side: int = 16) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.full((side, side, 3), color, np.uint8)


@pytest.mark.parametrize(("side", "scale"), [(8, 12), (28, 4), (64, 2), (96, 1), (256, 1)])
def test_small_images_are_enlarged_by_whole_numbers(side: int, scale: int) -> None:
    assert readable_scale(side) == scale


def test_grid_shows_each_image_whole_in_its_place_with_titles_around() -> None:
    colors = [RED, BLUE, (0, 255, 0), (9, 90, 9), (200, 0, 99), (1, 2, 3)]
    images = np.stack([plain(color) for color in colors]).reshape(2, 3, 16, 16, 3)
    grid = labeled_grid(images, ["a row", "another"], ["1", "2", "several\nlines"])
    for color in colors:
        rows, columns = np.nonzero((grid == color).all(2))
        assert len(rows) == 96 * 96
        assert np.ptp(rows) == np.ptp(columns) == 95
    first_rows, first_columns = np.nonzero((grid == RED).all(2))
    assert (grid[: first_rows.min()] < 128).any(), "titles on top"
    assert (grid[:, : first_columns.min()] < 128).any(), "titles on the left"
    assert grid.dtype == np.uint8 and grid.shape[2] == 3


@pytest.mark.parametrize(("rows", "columns", "side"), [(1, 64, 256), (80, 2, 512), (80, 64, 16)])
def test_many_large_images_are_made_smaller_and_all_are_there(rows: int, columns: int, side: int) -> None:
    images = np.broadcast_to(plain(RED, side), (rows, columns, side, side, 3))
    grid = labeled_grid(images, ["row"] * rows, [str(k) for k in range(columns)])
    assert max(grid.shape) < 16_383, "WebP has no more"
    red = (grid == RED).all(2)
    for line, n in ((red.any(1), rows), (red.any(0), columns)):
        assert np.count_nonzero(line[1:] & ~line[:-1]) == n


def test_wide_titles_widen_the_columns_and_none_is_cut_off() -> None:
    images = np.stack([plain(RED, 96), plain(BLUE, 96)])[None]
    narrow = labeled_grid(images, ["row"], ["a", "b"])
    wide = labeled_grid(images, ["row"], ["a" * 40, "b" * 40])
    assert wide.shape[1] > narrow.shape[1]
    ink = np.nonzero((wide < 200).all(2).any(0))[0]
    assert ink.min() > 0 and ink.max() < wide.shape[1] - 1


def test_sheet_is_near_square_with_captions() -> None:
    images = np.stack([plain(RED)] * 5)
    bare, captioned = sheet(images), sheet(images, [f"seed {i}" for i in range(5)])
    assert bare.shape[:2] == (2 * (96 + 2), 3 * (96 + 2))
    assert captioned.shape[0] > bare.shape[0]
