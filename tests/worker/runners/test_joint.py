"""Jobs that run as one batch: each gets what it gets alone, and its errors and previews are its own."""

from typing import Any

import numpy as np
import pytest

from jobs.errors import NotFound
from models.catalogue import Card
from tests.worker.runners.generations import IMAGES, TOLERANCE, WIDE, A, B, apart, outputs, run, task
from worker import runners
from worker.lease import CanceledError
from worker.run import JobResult, Task

FEW = {"num_inference_steps": 3}


def silent(*_: Any) -> None:
    """Reports nothing."""


def together(tasks: list[Task]) -> list[JobResult | Exception]:
    return list(runners.run(tasks))


@pytest.mark.parametrize(
    ("model", "more"),
    [("conv", {}), ("dcgan", {}), ("ddpm", FEW), ("ddpm", {**FEW, "scheduler": "ddpm"}), ("attribute-ddpm", FEW)],
)
def test_samples_of_a_batch_are_those_of_each_job_alone(
    known: dict[str, Card], model: str, more: dict[str, Any]
) -> None:
    asked: list[dict[str, Any]] = [{"seed": 3, "n": 2}, {"seeds": [9, 4, 7]}, {"seed": 5, "n": 1}]
    made = together([task(known, silent, model=model, **own, **more) for own in asked])
    for own, result in zip(asked, made, strict=True):
        alone, _ = run(known, model, **own, **more)
        assert isinstance(result, JobResult) and result.metrics["batch"] == 3
        assert [image.seed for image in result.images] == [image.seed for image in alone.images]
        assert result.metrics.get("attributes") == alone.metrics.get("attributes")
        for image, other in zip(outputs(result), outputs(alone), strict=True):
            assert apart(image, other) <= TOLERANCE


def test_each_job_of_a_batch_has_its_own_previews_and_cancel(known: dict[str, Card]) -> None:
    shapes: list[tuple[int, ...]] = []

    def step(done: int, total: int, message: str, image: Any = None) -> None:
        shapes.append(image().shape)

    def cancel(*_: Any) -> None:
        raise CanceledError

    tasks = [task(known, each, model="ddpm", n=n, **FEW) for each, n in ((step, 1), (cancel, 1), (step, 4))]
    first, canceled, last = together(tasks)
    assert isinstance(first, JobResult) and isinstance(last, JobResult) and isinstance(canceled, CanceledError)
    assert len(outputs(first)) == 1 and len(outputs(last)) == 4
    assert len(shapes) == 2 * FEW["num_inference_steps"] and len(set(shapes)) == 2, "a sheet of one, and of four"
    assert all(isinstance(each, CanceledError) for each in together([task(known, cancel, model="conv", n=1)] * 2))


def test_attributes_that_no_image_has_end_their_job_alone(known: dict[str, Card]) -> None:
    asked: list[dict[str, Any]] = [{}, {"attributes": ["hat", "beard"]}]
    good, bad = together([task(known, silent, model="attribute-ddpm", n=1, **own, **FEW) for own in asked])
    assert isinstance(good, JobResult) and isinstance(bad, Exception) and "hat, beard" in str(bad)


def test_reconstructions_of_a_batch_are_those_alone_and_a_missing_image_ends_its_job(known: dict[str, Card]) -> None:
    def read(image: str) -> Any:
        if image not in IMAGES:
            raise NotFound("image_not_found", "It is gone.")
        return IMAGES[image]

    asked = [[A], ["img_" + "e" * 64], [B, A]]
    tasks = [task(known, silent, model="conv", mode="reconstruct", images=images) for images in asked]
    for each in tasks:
        each.read_image = read
    first, gone, last = together(tasks)
    assert isinstance(gone, NotFound)
    for images, result in ((asked[0], first), (asked[2], last)):
        alone, _ = run(known, "conv", mode="reconstruct", images=images)
        assert isinstance(result, JobResult)
        for image, other in zip(outputs(result), outputs(alone), strict=True):
            assert apart(image, other) <= TOLERANCE
        found, expected = (each.metrics["mean_absolute_error"] for each in (result, alone))
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_batch_is_upscaled_together(upscalers: dict[str, Card]) -> None:
    tasks = [task(upscalers, silent, model="conv", seeds=[k], upscale=2, upscaler="repeats") for k in (4, 5)]
    for seed, result in zip((4, 5), together(tasks), strict=True):
        alone, _ = run(upscalers, "conv", seeds=[seed], upscale=2, upscaler="repeats")
        assert isinstance(result, JobResult) and apart(result.images[0], alone.images[0]) <= TOLERANCE
    modes = [task(upscalers, silent, model="repeats", mode="upscale", images=images) for images in ([A], [WIDE, A])]
    one, two = together(modes)
    assert isinstance(one, JobResult) and isinstance(two, JobResult)
    assert [image.pixels.shape[:2] for image in two.images] == [(160, 240), (256, 256)]
    np.testing.assert_array_equal(one.images[0].pixels, two.images[1].pixels)
