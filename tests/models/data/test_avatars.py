import re
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from models.data.avatars import ATTRIBUTES, EXPRESSIONS, HATS, Face, attributes_of, avatar, avatars, large_avatars
from models.data.dataset import Dataset


@pytest.fixture(scope="module")
def drawn() -> Dataset:
    return avatars(1200, seed=3)


def test_a_set_has_images_attributes_and_captions(drawn: Dataset) -> None:
    assert drawn.images.shape == (1200, 64, 64, 3) and drawn.images.dtype == np.uint8
    assert drawn.attributes.shape == (1200, len(ATTRIBUTES))
    assert drawn.captions[0].startswith("a ") and len(set(drawn.captions)) > 500


def test_a_image_depends_on_its_seed_and_index_alone(drawn: Dataset) -> None:
    part = avatars(5, seed=3, start=700, processes=1)
    assert np.array_equal(part.images, drawn.images[700:705])
    assert part.captions == drawn.captions[700:705]
    assert not np.array_equal(avatar(4, 700)[0], drawn.images[700])


def test_a_large_drawing_shows_the_same_face(drawn: Dataset) -> None:
    large = large_avatars(3, seed=3, start=700, processes=1)
    assert large.images.shape == (3, 256, 256, 3) and large.captions == drawn.captions[700:703]
    assert np.array_equal(large.attributes, drawn.attributes[700:703])
    means = large.images.reshape(3, 64, 4, 64, 4, 3).mean((2, 4))
    assert np.abs(means - drawn.images[700:703]).mean() < 3, "the grain of the small ones, 1.6, and lines a pixel apart"


def test_no_two_are_alike(drawn: Dataset) -> None:
    assert len({image.tobytes() for image in drawn.images}) == len(drawn)


def test_attributes_exclude_each_other_as_they_must(drawn: Dataset) -> None:
    expressions = np.stack([drawn.attribute(name) for name in EXPRESSIONS])
    assert (expressions.sum(0) == 1).all()
    colors = np.stack([drawn.attribute(f"{color}_hat") for color in HATS])
    assert np.array_equal(colors.sum(0) == 1, drawn.attribute("hat"))
    assert not (drawn.attribute("mustache") & drawn.attribute("woman")).any()
    assert (drawn.attributes.mean(0) > 0.04).all() and (drawn.attributes.mean(0) < 0.6).all()


def test_captions_say_what_is_drawn(drawn: Dataset) -> None:
    for name in ATTRIBUTES:
        said = np.array([bool(re.search(rf"\b{name.replace('_', ' ')}\b", caption)) for caption in drawn.captions])
        if name == "long_hair":
            said = np.array([" long " in caption for caption in drawn.captions])
        has = drawn.attribute(name)
        assert not (said & ~has).any(), name
        if name in ("woman", "glasses", "mustache", "hat"):
            assert (said == has).all(), name
        elif not name.endswith("_hat"):
            assert 0.4 < said.sum() / has.sum() < 0.95, f"{name} is mentioned for some and omitted for others"


def test_a_caption_that_tells_all_and_one_that_tells_nothing() -> None:
    face = Face(True, True, False, "red", "smiling", "long", "brown", "pale", "blue")
    every = "a smiling woman with pale skin, long brown hair, glasses and a red hat on a blue background"
    assert face.caption == every
    bare = replace(face, mentioned=frozenset())
    assert bare.caption == "a woman with glasses and a red hat"
    assert replace(bare, hat=None).caption == "a woman with glasses"
    assert replace(bare, hat=None, glasses=False).caption == "a woman"


def changed(index: int, **fixed: tuple[object, object]) -> NDArray[np.float64]:
    """How much each pixel changes, 0 to 255, between two values of an attribute with all else equal."""
    name, (before, after) = next(iter(fixed.items()))
    images = [avatar(8, index, hat=None, woman=True, mustache=False, **{name: v})[0] for v in (before, after)]
    change: NDArray[np.float64] = np.abs(images[0].astype(float) - images[1]).mean(2)
    return change


def test_fixing_an_attribute_leaves_the_rest_of_the_person() -> None:
    mild = np.mean([changed(index, hair=("brown", "black")) for index in range(20)], 0)
    assert mild[26:, 26:38].mean() < 12 < mild[8:18, 24:40].mean(), "hair color is on the hair"
    same = avatar(8, 3)[1]
    assert attributes_of(avatar(8, 3, expression=same.expression)[1]).tolist() == attributes_of(same).tolist()


@pytest.fixture(scope="module")
def order(drawn: Dataset) -> NDArray[np.int64]:
    """The order of the images by each channel of each pixel: (n, values)."""
    return np.argsort(drawn.images.reshape(len(drawn), -1).astype(np.float64), axis=0)


@pytest.mark.parametrize("name", ["woman", "glasses", "mustache", "hat", "long_hair", *EXPRESSIONS])
def test_no_single_pixel_tells_an_attribute(drawn: Dataset, order: NDArray[np.int64], name: str) -> None:
    """The best threshold on any one channel of any one pixel must leave many wrong; many pixels together must not."""
    has = drawn.attribute(name)
    guess = max(has.mean(), 1 - has.mean())
    below = np.cumsum(has[order], axis=0) / len(has)
    above = np.cumsum(~has[order], axis=0) / len(has)
    right = np.maximum((above + has.mean() - below).max(), (below + (1 - has.mean()) - above).max())
    print(f"{name}: best pixel {right:.2f}, always the same answer {guess:.2f}")
    assert right < 0.93


def test_the_whole_image_tells_what_a_pixel_does_not(drawn: Dataset) -> None:
    gray = drawn.images.reshape(1200, 32, 2, 32, 2, 3).mean((2, 4)).reshape(1200, -1) / 255
    design = np.c_[gray, np.ones(1200)]
    for name in ("hat", "long_hair", "glasses"):
        target = drawn.attribute(name) * 2.0 - 1
        ridge = design[:1000].T @ design[:1000] + 3 * np.eye(design.shape[1])
        weights = np.linalg.solve(ridge, design[:1000].T @ target[:1000])
        assert ((design[1000:] @ weights > 0) == (target[1000:] > 0)).mean() > 0.8, name
