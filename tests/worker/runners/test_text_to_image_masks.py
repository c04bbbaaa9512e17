"""Masks and images that a job of a prompt starts from, with a tiny untrained model of the real architecture."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from jobs.errors import AtelierError
from models.catalogue import Card
from tests.worker.runners.prompted import IMAGE, MASK, images_of, read_image, run, task
from tests.worker.tasks import forget, run_alone
from worker.run import Pixels
from worker.runners import text_to_image


def test_inpainting_keeps_the_image_outside_the_mask(tiny: Card) -> None:
    made = run_alone(task(tiny, mode="inpaint", image=IMAGE, mask=MASK, strength=1.0))
    [found] = images_of(made)
    assert (found[17:] == 90).all()
    assert np.abs(found[:15].astype(int) - 90).mean() > 5


@pytest.mark.parametrize("levels", [(1, 255), (10, 245), (100, 140)])
def test_a_gray_mask_changes_the_image_partly(tiny: Card, levels: tuple[int, int]) -> None:
    def made(low: int, high: int) -> Pixels:
        image = np.full((40, 48, 3), low, np.uint8)
        image[:20] = high
        asked = task(tiny, mode="inpaint", image=IMAGE, mask=MASK, strength=1.0)
        asked.read_image = lambda image_id: image if image_id == MASK else read_image(image_id)
        found: Pixels = images_of(run_alone(asked))[0]
        return found

    assert (made(*levels) == made(0, 255)).all()


def test_a_mask_is_feathered_inside_its_edge(tiny: Card) -> None:
    """The image is 90 everywhere: the step at the edge falls to a fifth, and outside nothing changes."""

    def found(feather: int) -> NDArray[np.int64]:
        asked = task(tiny, mode="inpaint", image=IMAGE, mask=MASK, strength=1.0, mask_feather=feather)
        made: Pixels = images_of(run_alone(asked))[0]
        return made.astype(np.int64)

    hard, soft = found(0), found(4)
    assert (soft[16:] == 90).all() and (soft[:12] == hard[:12]).all()
    for row, share in ((15, 0.2), (14, 0.4), (13, 0.6), (12, 0.8)):
        assert np.abs(soft[row] - (90 + share * (hard[row] - 90))).max() <= 1


def test_an_image_unlike_the_training_data_is_a_warning(tiny: Card) -> None:
    def warned(greatest: float) -> list[str]:
        forget()
        figures = {"reconstruction_error": {"median": 0.0, "greatest": greatest, "images": 9}}
        asked = task(replace(tiny, training=figures), mode="image-to-image", image=IMAGE, strength=1.0)
        run([asked])
        return [each["code"] for each in asked.warnings]

    assert warned(1.0) == [] and warned(0.0) == ["image_unlike_training"]
    forget()


def test_an_image_that_does_not_fit_names_the_size_that_does(tiny: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_to_image, "available_memory", lambda device: 4 * (512 + 8 * 32) * 64 * 32)
    with pytest.raises(AtelierError, match=r"^width: 128 x 64 pixels need .* free; 64 x 32 would fit\.$") as caught:
        run([task(tiny, width=128, height=64)])
    assert caught.value.code == "out_of_memory"
    assert len(images_of(run_alone(task(tiny)))) == 1
