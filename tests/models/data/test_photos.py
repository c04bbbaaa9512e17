import numpy as np

from models.data.named import named_dataset
from models.data.photos import OF_SCIKIT_LEARN, TEST, TRAIN, photo, photos


def test_a_crop_depends_on_its_number_alone() -> None:
    whole = photos(12)
    assert whole.images.shape == (12, 256, 256, 3) and whole.images.dtype == np.uint8
    np.testing.assert_array_equal(photos(3, start=9).images, whole.images[9:])
    assert len({image.tobytes() for image in whole.images}) == 12
    assert [whole.label_names[label] for label in whole.labels[:3]] == list(TRAIN[:3])


def test_the_splits_share_no_photograph() -> None:
    assert not {*TRAIN} & {*TEST}
    assert named_dataset("photos", "test", limit=3).label_names == TEST
    assert all(min(photo(name).size) >= 256 for name in (*TRAIN, *TEST))
    assert {*OF_SCIKIT_LEARN} < {*TRAIN}
