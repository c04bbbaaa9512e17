import numpy as np
import pytest
from PIL import Image

from models.errors import NotFiniteError
from models.pixels import center_box, center_square, to_bytes


@pytest.mark.parametrize(
    ("size", "box"), [((4, 4), (0, 0, 4, 4)), ((7, 4), (1, 0, 5, 4)), ((4, 7), (0, 1, 4, 5)), ((1, 9), (0, 4, 1, 5))]
)
def test_the_center_box_is_square_and_lies_on_whole_pixels(
    size: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    assert center_box(*size) == box


def test_the_center_square_at_its_own_size_has_the_pixels_of_the_image() -> None:
    pixels = np.arange(4 * 7 * 3, dtype=np.uint8).reshape(4, 7, 3)
    np.testing.assert_array_equal(np.asarray(center_square(Image.fromarray(pixels), 4)), pixels[:, 1:5])


def test_floats_become_bytes_and_nan_an_error() -> None:
    assert to_bytes(np.array([-1, 0, 0.5, 1, 2], np.float32)).tolist() == [0, 0, 128, 255, 255]
    with pytest.raises(NotFiniteError):
        to_bytes(np.array([np.nan], np.float32))
