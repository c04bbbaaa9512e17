import numpy as np
import pytest

from models.data.dataset import Dataset
from models.data.pairs import split_by
from models.errors import DataError

# glasses, hat: eight images, of which those with glasses wear a hat more often.
TABLE = np.array([[0, 0], [0, 0], [0, 0], [0, 1], [1, 0], [1, 1], [1, 1], [1, 1]], bool)
SET = Dataset(np.arange(8, dtype=np.uint8).reshape(8, 1, 1, 1), attributes=TABLE, attribute_names=("glasses", "hat"))


def test_split_by_an_attribute() -> None:
    without, with_ = split_by(SET, "glasses")
    assert without.images.ravel().tolist() == [0, 1, 2, 3]
    assert with_.images.ravel().tolist() == [4, 5, 6, 7]


def test_matched_attributes_are_equally_frequent() -> None:
    without, with_ = split_by(SET, "glasses", matched=("hat",))
    assert without.images.ravel().tolist() == [0, 3] and with_.images.ravel().tolist() == [4, 5]
    assert without.attribute("hat").mean() == with_.attribute("hat").mean()


def test_an_unknown_attribute_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="there is no attribute 'beard'; there are glasses, hat"):
        split_by(SET, "beard")


def test_an_empty_side_is_refused() -> None:
    with pytest.raises(DataError, match="'glasses' must be present in some images and absent in others"):
        split_by(SET.where(slice(0, 4)), "glasses")
