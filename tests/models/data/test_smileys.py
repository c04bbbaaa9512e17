import numpy as np
import pytest

from models.data.dataset import Dataset
from models.data.smileys import ATTRIBUTES, BACKGROUNDS, COLORS, EXPRESSIONS, smiley, smileys


@pytest.fixture(scope="module")
def drawn() -> Dataset:
    return smileys(900, seed=3)


def test_a_set_has_images_labels_attributes_and_captions(drawn: Dataset) -> None:
    assert drawn.images.shape == (900, 64, 64, 3) and drawn.images.dtype == np.uint8
    assert drawn.labels.shape == (900,) and drawn.labels.dtype == np.int64 and drawn.label_names == EXPRESSIONS
    assert drawn.attributes.shape == (900, len(ATTRIBUTES)) and drawn.attribute_names == ATTRIBUTES
    assert len(drawn.captions) == 900 and len(set(drawn.captions)) > 100


def test_a_image_depends_on_its_seed_and_index_alone(drawn: Dataset) -> None:
    part = smileys(5, seed=3, start=700, processes=1)
    assert np.array_equal(part.images, drawn.images[700:705])
    assert np.array_equal(part.labels, drawn.labels[700:705])
    assert part.captions == drawn.captions[700:705]
    assert not np.array_equal(smiley(4, 700)[0], drawn.images[700])


def test_no_two_are_alike(drawn: Dataset) -> None:
    assert len({image.tobytes() for image in drawn.images}) == len(drawn)


def test_values_are_used_and_seldom_clipped(drawn: Dataset) -> None:
    assert drawn.images.min() < 20 and drawn.images.max() == 255
    assert (drawn.images.std((1, 2)).max(1) > 20).all(), "no image is all but empty"
    # A pixel in twelve: where more are clipped, flat patches show.
    assert ((drawn.images == 0) | (drawn.images == 255)).mean() < 0.08


def test_every_expression_color_and_background_occurs(drawn: Dataset) -> None:
    assert (np.bincount(drawn.labels, minlength=len(EXPRESSIONS)) > 120).all()
    assert (drawn.attributes.mean(0) > 0.05).all()
    assert 0.5 < drawn.attribute("yellow_face").mean() < 0.7


def test_attributes_agree_with_labels_and_captions(drawn: Dataset) -> None:
    assert np.array_equal(np.stack([drawn.attribute(name) for name in EXPRESSIONS]).argmax(0), drawn.labels)
    for names, kind in ((COLORS, "face"), (BACKGROUNDS, "background")):
        assert (np.stack([drawn.attribute(f"{name}_{kind}") for name in names]).sum(0) == 1).all()
    for row, caption in enumerate(drawn.captions):
        expression, color, background = caption.split()[1], caption.split()[2], caption.split()[-1]
        assert drawn.attribute(expression)[row] and drawn.attribute(f"{color}_face")[row]
        assert drawn.attribute(f"{background}_background")[row]
    assert drawn.attribute("open_mouth")[drawn.attribute("surprised")].all()
    assert not drawn.attribute("open_mouth")[drawn.attribute("neutral") | drawn.attribute("frowning")].any()


def test_sizes_and_places_vary_without_steps() -> None:
    faces = [smiley(5, index)[1] for index in range(100)]
    for name in ("x", "y", "radius", "tilt", "eye_gap", "eye_size", "openness", "curvature", "mouth_width"):
        assert len({getattr(face, name) for face in faces}) > 95, name
    assert all(abs(face.x) + face.radius < 1 and abs(face.y) + face.radius < 1 for face in faces), "in the image"


def test_another_expression_changes_eyes_and_mouth_alone() -> None:
    drawn, known = smiley(8, 3)
    assert np.array_equal(smiley(8, 3, expression=known.expression)[0], drawn)
    glad, sad = (smiley(8, 3, e, x=0, y=0, tilt=0, radius=0.7)[0].astype(float) for e in ("smiling", "frowning"))
    change = np.abs(glad - sad).mean(2)
    assert change[36:48, 22:42].max() > 50, "the mouth"
    assert change[:16].max() == 0 and change[:, :16].max() == 0


def test_no_single_pixel_tells_the_expression(drawn: Dataset) -> None:
    """The best guess from the value of one channel of one pixel, in eighths, must be wrong of most."""
    values = drawn.images.reshape(len(drawn), -1) // 32
    right = np.zeros(values.shape[1])
    for value in range(8):
        right += np.max([(values[drawn.labels == k] == value).sum(0) for k in range(len(EXPRESSIONS))], axis=0)
    assert right.max() / len(drawn) < 0.5


def test_the_whole_image_tells_what_a_pixel_does_not(drawn: Dataset) -> None:
    small = drawn.images.reshape(900, 16, 4, 16, 4, 3).mean((2, 4)).reshape(900, -1) / 255
    small -= small[:700].mean(0)
    target = np.eye(len(EXPRESSIONS))[drawn.labels[:700]]
    ridge = small[:700].T @ small[:700] + np.eye(small.shape[1])
    guess = (small[700:] @ np.linalg.solve(ridge, small[:700].T @ target)).argmax(1)
    assert (guess == drawn.labels[700:]).mean() > 0.6, "one in five by chance"
