import numpy as np
import pytest

from models.data.dataset import Dataset
from models.data.painting import FAMILIES
from models.data.styles import ATTRIBUTES, PALETTES, style, styles


@pytest.fixture(scope="module")
def painted() -> Dataset:
    return styles(2 * len(FAMILIES), seed=3)


def test_a_set_has_images_labels_attributes_and_captions(painted: Dataset) -> None:
    assert painted.images.shape == (30, 256, 256, 3) and painted.images.dtype == np.uint8
    assert painted.label_names == tuple(FAMILIES) and painted.attribute_names == ATTRIBUTES
    assert painted.labels.tolist() == [*range(15), *range(15)], "every family in turn"
    for row, caption in enumerate(painted.captions):
        family, _, palette = caption.removesuffix(" colors").partition(" in ")
        assert painted.attribute(family.replace(" ", "_"))[row] and painted.attribute(palette)[row]
    assert (painted.attributes[:, len(FAMILIES) :].sum(1) == 1).all() and palette in PALETTES


def test_an_image_depends_on_its_seed_and_index_alone(painted: Dataset) -> None:
    assert np.array_equal(style(3, 17)[0], painted.images[17])
    assert not np.array_equal(style(4, 17)[0], painted.images[17])


def test_two_of_a_family_differ_and_none_is_empty(painted: Dataset) -> None:
    first, second = painted.images[:15].astype(float), painted.images[15:].astype(float)
    assert (np.abs(first - second).mean((1, 2, 3)) > 10).all()
    assert (painted.images.reshape(30, -1).std(1) > 15).all()
