import numpy as np
import pytest

from models.data.dataset import Dataset, color, contact_sheet, in_gray
from models.errors import DataError

IMAGES = np.arange(4 * 2 * 2 * 3, dtype=np.uint8).reshape(4, 2, 2, 3)
FULL = Dataset(
    images=IMAGES,
    labels=np.array([0, 1, 0, 1]),
    label_names=("cat", "dog"),
    attributes=np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.bool_),
    attribute_names=("hat", "glasses"),
    captions=("a", "b", "c", "d"),
)


@pytest.mark.parametrize(
    "chosen", [FULL.attribute("hat"), np.array([1, 2]), slice(1, 3)], ids=["mask", "indices", "slice"]
)
def test_where_keeps_what_is_known_of_each_image(chosen: np.ndarray | slice) -> None:
    part = FULL.where(chosen)
    assert len(part) == 2
    assert np.array_equal(part.images, IMAGES[1:3])
    assert part.labels.tolist() == [1, 0]
    assert part.attributes.tolist() == [[True, True], [True, False]]
    assert part.captions == ("b", "c")
    assert part.label_names == FULL.label_names and part.attribute_names == FULL.attribute_names


def test_where_of_indices_keeps_their_order_and_repeats() -> None:
    assert FULL.where(np.array([3, 0, 3])).captions == ("d", "a", "d")


def test_where_of_images_alone() -> None:
    part = Dataset(IMAGES).where(slice(2))
    assert len(part) == 2 and len(part.labels) == len(part.attributes) == len(part.captions) == 0


def test_where_of_none_of_them() -> None:
    part = FULL.where(np.zeros(4, np.bool_))
    assert len(part) == 0 and part.images.shape == (0, 2, 2, 3)


def test_an_attribute_is_a_column_and_an_unknown_one_is_named_with_those_there_are() -> None:
    assert FULL.attribute("glasses").tolist() == [True, True, False, False]
    with pytest.raises(DataError, match="no attribute 'beard'; there are hat, glasses"):
        FULL.attribute("beard")
    with pytest.raises(DataError, match="there are none"):
        Dataset(IMAGES).attribute("hat")


@pytest.mark.parametrize("channels", [1, 3])
def test_a_contact_sheet_holds_every_image_in_rows(channels: int) -> None:
    images = np.stack([np.full((4, 6, channels), 40 * i, np.uint8) for i in range(5)])
    sheet = contact_sheet(images, columns=2)
    assert sheet.size == (2 * (6 + 2), 3 * (4 + 2))
    pixels = np.asarray(sheet)
    for i in range(5):
        top, left = i // 2 * 6, i % 2 * 8
        assert np.all(pixels[top : top + 4, left : left + 6] == 40 * i)
    assert np.all(pixels[12:, 8:] == 255)  # the place of a sixth


def test_a_contact_sheet_is_scaled_and_written_on() -> None:
    images = np.zeros((2, 30, 40, 3), np.uint8)
    sheet = contact_sheet(images, columns=2, captions=("one", "two"), scale=2)
    assert sheet.size == (2 * 82, 60 + 16 + 2)
    assert np.asarray(sheet)[60:, :80].min() < 255


def test_a_long_caption_goes_on_in_the_next_line() -> None:
    images = np.zeros((2, 30, 90, 3), np.uint8)
    sheet = contact_sheet(images, columns=2, captions=("a woman with a red hat", "a man"))
    assert sheet.size == (2 * 92, 30 + 3 + 2 * 13 + 2)
    first, second = (np.asarray(sheet)[30 + 3 + 13 : -2, left : left + 90] for left in (0, 92))
    assert first.min() < 100 and second.min() == 255


def test_gray_is_the_luma_of_a_gray_space() -> None:
    images = np.array([[[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 9, 9]]]], np.uint8)
    gray = in_gray(Dataset(images=images, labels=np.array([3])))
    assert gray.images[0, ..., 0].tolist() == [[76, 150], [29, 9]] and gray.labels.tolist() == [3]
    assert in_gray(gray) is gray
    three = color(gray.images)
    assert three[0, 1, 0].tolist() == [29, 29, 29] and color(three) is three
