"""Upscaling by tiny networks, of which one repeats each pixel, and by a shipped one that is not there."""

from typing import Any

import numpy as np
import pytest

from jobs.errors import AtelierError
from models.catalogue import Card, card
from tests.worker.runners.generations import IMAGES, WIDE, A, B, outputs, run, task
from worker import runners
from worker.lease import CanceledError
from worker.run import JobResult, OutputImage, Pixels
from worker.runners import upscale as runner


def repeated(image: Pixels) -> Pixels:
    return image.repeat(4, 0).repeat(4, 1)


def test_each_image_is_upscaled_in_its_own_size(upscalers: dict[str, Card]) -> None:
    made, steps = run(upscalers, "repeats", mode="upscale", images=[A, WIDE, A])
    assert [image.role for image in made.images] == ["picture"] * 3
    for output, image in zip(made.images, [A, WIDE, A], strict=True):
        np.testing.assert_array_equal(output.pixels, repeated(IMAGES[image]))
    assert [step[0] for step in steps] == [2, 3] and steps[-1] == (3, 3, "upscaling")
    assert list(made.models) == ["repeats"] and "torch" in made.versions


@pytest.mark.parametrize("scale", [2, 3])
def test_a_smaller_scale_is_resampled(upscalers: dict[str, Card], scale: int) -> None:
    made, _ = run(upscalers, "repeats", mode="upscale", images=[WIDE], scale=scale)
    (image,) = made.images
    height, width = IMAGES[WIDE].shape[:2]
    assert image.pixels.shape == (scale * height, scale * width, 3)
    assert np.abs(image.pixels.mean((0, 1)) - IMAGES[WIDE].mean((0, 1))).max() < 1


def test_the_images_of_another_runner_are_upscaled_and_its_grid_is_not(upscalers: dict[str, Card]) -> None:
    plain, _ = run(upscalers, "conv", seeds=[4, 5])
    made, steps = run(upscalers, "conv", seeds=[4, 5], upscale=4, upscaler="repeats")
    assert [image.seed for image in made.images] == [image.seed for image in plain.images]
    for image, raw in zip(outputs(made), outputs(plain), strict=True):
        np.testing.assert_array_equal(image.pixels, repeated(raw.pixels))
    np.testing.assert_array_equal(made.images[-1].pixels, plain.images[-1].pixels)
    assert made.metrics == plain.metrics and made.models.keys() == {"conv", "repeats"}
    assert steps == [(2, 4, "decoding"), (4, 4, "upscaling")], "each is half of the job"


def test_upscaling_by_one_changes_nothing(upscalers: dict[str, Card]) -> None:
    plain, _ = run(upscalers, "conv", seeds=[4])
    made, _ = run(upscalers, "conv", seeds=[4], upscale=1)
    np.testing.assert_array_equal(made.images[0].pixels, plain.images[0].pixels)


def test_images_of_too_many_pixels_end_the_job(upscalers: dict[str, Card], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "MAX_UPSCALED", 511)
    with pytest.raises(AtelierError, match="512 pixels; at most 511") as caught:
        run(upscalers, "conv", seeds=[4, 5], upscale=4, upscaler="repeats")
    assert caught.value.code == "too_many_pixels"


def test_weights_that_are_missing_are_named_with_their_command(upscalers: dict[str, Card]) -> None:
    shipped = {"realesr-animevideov3": card("realesr-animevideov3")}
    with pytest.raises(AtelierError, match=r"python -m models\.fetch realesr-animevideov3") as caught:
        run(upscalers | shipped, "realesr-animevideov3", mode="upscale", images=[A])
    assert caught.value.code == "weights_unavailable"


def test_a_job_is_canceled_while_it_is_upscaled(upscalers: dict[str, Card]) -> None:
    def step(done: int, total: int, message: str, *_: Any) -> None:
        if message == "upscaling":
            raise CanceledError

    canceled = task(upscalers, step, model="conv", seeds=[4], upscale=4, upscaler="repeats")
    (result,) = runners.run([canceled])
    assert isinstance(result, CanceledError) and not isinstance(result, JobResult)
    assert canceled.report_progress is step


def test_frames_of_an_animation_are_upscaled_once_each(upscalers: dict[str, Card]) -> None:
    frames = np.stack([IMAGES[A], IMAGES[B], IMAGES[A]])
    film = OutputImage(frames[0], "animation", film=lambda frames, recipe: b"", frames=frames)
    steps: list[Any] = []
    job: Any = task(upscalers, lambda *step: steps.append(step), model="conv", seeds=[4], upscale=4, upscaler="repeats")
    (made,) = runner.upscale_results([job], [JobResult([film], {}, {}, {})])
    assert isinstance(made, JobResult)
    [larger] = made.images
    np.testing.assert_array_equal(larger.pixels, repeated(IMAGES[A]))
    assert larger.frames is not None and steps[-1][1] == 4, "two frames are the second half of the job"
    np.testing.assert_array_equal(larger.frames, np.stack([repeated(frame) for frame in frames]))
