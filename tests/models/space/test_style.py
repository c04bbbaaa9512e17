"""The space of styles, with the pretrained networks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from models.space.style import MIN_CONTENT_KEPT, StyleSpace, content_kept, default_photo
from models.stylize.fast import Array, load_arbitrary, stylize_images

Photo = Callable[[str, int], Array]


@pytest.fixture(scope="module")
def space(weights_dir: Path) -> StyleSpace:
    return StyleSpace(load_arbitrary(weights_dir), np.zeros((64, 64, 3), np.float32))


def as_batch(image: Array) -> torch.Tensor:
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None]


def test_a_photo_painted_by_a_vector_is_the_style_transfer_of_fast(space: StyleSpace, photo: Photo) -> None:
    style, content = photo("coffee", 300), photo("chelsea", 200)
    steps: list[int] = []
    vectors = space.encode(as_batch(style))
    assert vectors.shape == (1, 100) == (1, space.dim)
    painter = StyleSpace(space.net, content)
    twice = painter.decode(vectors.repeat(2, 1), seeds=[0, 0], on_step=lambda: steps.append(1))
    expected = stylize_images(space.net, content, [(style, 1.0)])
    assert twice.shape == (2, 3, *content.shape[:2]) and len(steps) == 2
    assert np.array_equal(twice[0].permute(1, 2, 0).numpy(), expected) and torch.equal(twice[0], twice[1])


def test_painting_can_be_stopped_and_keeps_the_order_of_styles(space: StyleSpace, photo: Photo) -> None:
    painter = StyleSpace(space.net, photo("chelsea", 64))
    vectors = torch.linspace(0, 1, 500)[:500].reshape(5, 100)
    together = painter.decode(vectors, seeds=[0] * 5)
    alone = torch.cat([painter.decode(vector[None], seeds=[0]) for vector in vectors])
    assert torch.equal(together, alone) and not torch.equal(alone[0], alone[4])

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        painter.decode(vectors, seeds=[0] * 5, on_step=stop)


def test_images_are_encoded_one_by_one_or_together(space: StyleSpace) -> None:
    images = torch.rand(3, 3, 256, 256)
    assert torch.equal(space.encode(images), torch.cat([space.encode(each[None]) for each in images]))


def test_the_default_photo_cannot_be_written_to() -> None:
    assert default_photo().shape == (300, 451, 3)
    with pytest.raises(ValueError, match="read-only"):
        default_photo()[0] = 0


def test_an_image_keeps_the_structure_of_its_content_unless_strokes_cover_it(photo: Photo) -> None:
    content = photo("chelsea", 200)
    columns = np.arange(content.shape[1])[None, :, None]
    strokes = np.broadcast_to(0.5 + 0.5 * np.sin(columns), content.shape).astype(np.float32)
    shown = [content, 1 - content, content**2, 0.7 * content + 0.3 * strokes, strokes]
    kept = content_kept(content, np.array([(255 * each).round() for each in shown], np.uint8))
    assert kept[:2] == pytest.approx([1, 1], abs=0.05), "itself and its negative, rounded to bytes"
    assert kept[1] > kept[2] > kept[3] > 2 * MIN_CONTENT_KEPT > MIN_CONTENT_KEPT > kept[4] >= 0


def test_a_plain_content_has_nothing_to_cover() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3), dtype=np.uint8)
    assert content_kept(np.full((40, 60, 3), 0.5, np.float32), images).tolist() == [1, 1]
