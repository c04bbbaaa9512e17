import numpy as np
import pytest

from models.data.dataset import Dataset
from models.data.styles import ATTRIBUTES, BUILTIN_STYLES, KINDS, PALETTES, style, styles
from models.stylize import fast

TURN = 17  # every family, and two built-in styles


@pytest.fixture(scope="module")
def painted() -> Dataset:
    return styles(2 * TURN, seed=3)


def test_a_set_has_images_labels_attributes_and_captions(painted: Dataset) -> None:
    assert painted.images.shape == (34, 256, 256, 3) and painted.images.dtype == np.uint8
    assert painted.label_names == KINDS and painted.attribute_names == ATTRIBUTES
    assert painted.labels.tolist() == [*range(15), 15, 15] * 2, "every family in turn, then two built-in styles"
    for row, caption in enumerate(painted.captions):
        family, _, palette = caption.removesuffix(" colors").partition(" in ")
        if painted.label_names[painted.labels[row]] != "builtin":
            assert painted.attribute(family.replace(" ", "_"))[row] and painted.attribute(palette)[row]
            assert painted.attributes[row, len(KINDS) :].sum() == 1 and palette in PALETTES


def test_the_built_in_styles_follow_each_other(painted: Dataset) -> None:
    builtin = [painted.captions[row] for row in (15, 16, 32, 33)]
    assert builtin == [f"built-in style {number}" for number in range(4)]
    assert BUILTIN_STYLES == fast.BUILTIN_STYLES
    last, first = (style(0, turn * TURN + 16)[1].number for turn in (12, 25))
    assert last == first == 25, "13 turns have all of them"
    assert not painted.attributes[15, len(KINDS) :].any(), "no palette"


def test_an_image_depends_on_its_seed_and_index_alone(painted: Dataset) -> None:
    for index in (17, 32):
        assert np.array_equal(style(3, index)[0], painted.images[index])
        assert not np.array_equal(style(4, index)[0], painted.images[index])


def test_two_of_a_family_differ_and_none_is_empty(painted: Dataset) -> None:
    first, second = painted.images[:TURN].astype(float), painted.images[TURN:].astype(float)
    assert (np.abs(first - second).mean((1, 2, 3)) > 10).all()
    assert (painted.images.reshape(2 * TURN, -1).std(1) > 15).all()
