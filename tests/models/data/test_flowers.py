import re

import numpy as np
import pytest

from models.data.dataset import Dataset
from models.data.flowers import ATTRIBUTES, BACKGROUNDS, SPECIES, flower, flowers
from models.data.petals import COLORS, petal_outline


@pytest.fixture(scope="module")
def drawn() -> Dataset:
    return flowers(300, seed=3)


def test_a_set_has_images_labels_attributes_and_captions(drawn: Dataset) -> None:
    assert drawn.images.shape == (300, 128, 128, 3) and drawn.images.dtype == np.uint8
    assert drawn.labels.shape == (300,) and drawn.labels.dtype == np.int64
    assert drawn.attributes.shape == (300, len(ATTRIBUTES)) and drawn.attribute_names == ATTRIBUTES
    assert drawn.label_names == tuple(SPECIES) and len(drawn.captions) == 300 and len(set(drawn.captions)) > 150


def test_a_image_depends_on_its_seed_and_index_alone(drawn: Dataset) -> None:
    part = flowers(5, seed=3, start=200, processes=1)
    assert np.array_equal(part.images, drawn.images[200:205])
    assert np.array_equal(part.labels, drawn.labels[200:205])
    assert part.captions == drawn.captions[200:205]
    assert not np.array_equal(flower(4, 200)[0], drawn.images[200])


def test_no_two_are_alike(drawn: Dataset) -> None:
    assert len({image.tobytes() for image in drawn.images}) == len(drawn)


def test_values_are_used_and_seldom_clipped(drawn: Dataset) -> None:
    assert drawn.images.min() < 10 and drawn.images.max() == 255
    assert (drawn.images.std((1, 2)).max(1) > 20).all(), "no image is all but empty"
    # A pixel in twenty: where more are clipped, flat patches show.
    assert ((drawn.images == 0) | (drawn.images == 255)).mean() < 0.05


def test_every_species_color_and_background_occurs(drawn: Dataset) -> None:
    assert (np.bincount(drawn.labels, minlength=len(SPECIES)) >= 10).all()
    assert (drawn.attributes.sum(0) >= 5).all()


def test_attributes_agree_with_labels_and_captions(drawn: Dataset) -> None:
    assert np.array_equal(np.stack([drawn.attribute(name) for name in SPECIES]).argmax(0), drawn.labels)
    for group in (SPECIES, COLORS, [f"{name}_background" for name in BACKGROUNDS]):
        assert (np.stack([drawn.attribute(name) for name in group]).sum(0) == 1).all()
    for word in (*SPECIES, *COLORS, "leaves"):
        said = [bool(re.search(rf"an? .*\b{word}\b.* (on|under|at|among) ", caption)) for caption in drawn.captions]
        assert np.array_equal(said, drawn.attribute(word)), word


def test_a_species_grows_in_its_own_colors_alone(drawn: Dataset) -> None:
    for species, colors in SPECIES.items():
        others = [drawn.attribute(color) for color in COLORS if color not in colors]
        assert not (np.any(others, axis=0) & drawn.attribute(species)).any(), species


def test_fixing_the_background_leaves_the_flower() -> None:
    plain, leafy = (flower(8, 3, background=name, color="red", species="rose")[0] for name in ("grey", "slate"))
    change = np.abs(plain.astype(float) - leafy).mean(2)
    assert change[45:65, 55:75].mean() < 3 < 40 < change[:12, :12].mean()


def test_a_petal_goes_from_its_base_to_its_tip_and_back() -> None:
    outline = petal_outline(0.3, 1.0, 1.0, notch=0.2)
    assert outline.shape == (25, 2)
    np.testing.assert_allclose(outline[[0, 6, 12, 18, 24]], [(0, 0), (0.3, 0.5), (0, 0.8), (-0.3, 0.5), (0, 0)])


def test_no_single_pixel_tells_the_species(drawn: Dataset) -> None:
    """The best guess from the value of one channel of one pixel, in eighths, must be wrong of most."""
    values = drawn.images.reshape(len(drawn), -1) // 32
    right = np.zeros(values.shape[1])
    for value in range(8):
        right += np.max([(values[drawn.labels == k] == value).sum(0) for k in range(len(SPECIES))], axis=0)
    assert right.max() / len(drawn) < 0.5


def test_the_whole_image_tells_what_a_pixel_does_not(drawn: Dataset) -> None:
    small = drawn.images.reshape(300, 16, 8, 16, 8, 3).mean((2, 4)).reshape(300, -1) / 255
    small -= small[:220].mean(0)
    target = np.eye(len(SPECIES))[drawn.labels[:220]]
    ridge = small[:220].T @ small[:220] + np.eye(small.shape[1])
    guess = (small[220:] @ np.linalg.solve(ridge, small[:220].T @ target)).argmax(1)
    assert (guess == drawn.labels[220:]).mean() > 0.4, "one in ten by chance"
