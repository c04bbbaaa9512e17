from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.data.named import DRAWN, any_dataset, named_dataset
from models.errors import DataError


@pytest.mark.parametrize("name", DRAWN)
def test_the_splits_of_a_drawn_set_share_no_image(name: str) -> None:
    train, test = named_dataset(name, "train", 20), named_dataset(name, "test", 20)
    assert len(train) == len(test) == 20
    assert not {image.tobytes() for image in train.images} & {image.tobytes() for image in test.images}


def test_a_drawn_set_is_the_same_in_parts_and_says_how_far_it_is() -> None:
    counts: list[int] = []
    found = named_dataset("smileys", limit=1010, on_read=counts.append)
    assert counts == [0, 1000]
    last = DRAWN["smileys"](1, 0, start=1009)
    assert (found.images[1009] == last.images[0]).all() and found.captions[1009] == last.captions[0]
    assert (len(found.labels), len(found.attributes), len(found.captions)) == (1010, 1010, 1010)


def test_the_splits_of_the_digits_are_the_whole_set() -> None:
    train, test = named_dataset("digits"), named_dataset("digits", "test")
    assert (len(train), len(test)) == (1400, 397)
    assert set(test.labels) == set(range(10))
    assert len(named_dataset("digits", limit=7)) == 7


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(DataError, match="no data set 'cats'; there are digits, mnist, fashion-mnist, avatars"):
        named_dataset("cats")


def test_a_folder_is_read_at_the_size_asked_for(tmp_path: Path) -> None:
    for i in range(3):
        Image.fromarray(np.full((20, 30, 3), 80 * i, np.uint8)).save(tmp_path / f"{i}.png")
    found = any_dataset(str(tmp_path), size=8, channels=1, limit=2)
    assert found.images.shape == (2, 8, 8, 1)
