"""The runner with tiny models of the real architectures."""

from typing import Any

import numpy as np
import pytest
from torch import nn

from jobs.errors import AtelierError
from jobs.requests.base import MAX_SEED
from jobs.settings import get_settings
from models.build import WEIGHTS, load_model
from models.catalogue import Card
from models.grids import labeled_grid
from models.tensors import to_tensor
from tests.worker.runners.generations import IMAGES, TOLERANCE, WIDE, A, B, apart, outputs, reconstructed, run, task
from tests.worker.tasks import run_alone
from worker.lease import CanceledError
from worker.run import JobResult, Pixels
from worker.runners import generation, network


def grid(made: JobResult) -> Pixels:
    [found] = [image.pixels for image in made.images if image.role == "grid"]
    return found


STOCHASTIC = {"num_inference_steps": 4, "scheduler": "ddpm"}


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("vae", {}),
        ("conv", {}),
        ("gan", {}),
        ("dcgan", {}),
        ("ddpm", {"num_inference_steps": 4}),
        ("ddpm", STOCHASTIC),
        ("latent-ddpm", {"num_inference_steps": 4}),
        ("attribute-ddpm", {"num_inference_steps": 4}),
    ],
)
def test_an_image_is_the_same_alone_and_in_a_batch(known: dict[str, Card], model: str, more: dict[str, Any]) -> None:
    made, steps = run(known, model, n=3, seed=MAX_SEED, **more)
    assert [image.role for image in made.images] == ["picture"] * 3 + ["grid"]
    assert [image.seed for image in made.images] == [MAX_SEED, 0, 1, None]
    for image in outputs(made):
        alone, _ = run(known, model, seeds=[image.seed], **more)
        assert len(alone.images) == 1, "one image has no grid"
        assert alone.images[0].seed == image.seed
        assert apart(alone.images[0], image) <= TOLERANCE
    assert apart(*outputs(made)[:2]) > 2 * TOLERANCE
    assert steps[-1][0] == steps[-1][1]
    assert list(made.models) == [model] and made.models[model] == str(known[model].files[WEIGHTS])[:16]


def test_reconstructions_and_their_errors(known: dict[str, Card]) -> None:
    made, _ = run(known, "vae", mode="reconstruct", images=[A, WIDE])
    assert [image.pixels.shape for image in outputs(made)] == [(16, 16, 3)] * 2
    errors = made.metrics["mean_absolute_error"]
    assert len(errors) == 2 and all(0 < error < 1 for error in errors)
    assert grid(made).shape[1] > 2 * 96


def test_the_model_sees_the_center_square(known: dict[str, Card]) -> None:
    found = network.Network(known["conv"], nn.Identity()).read(task(known, print, model="vae"), [WIDE])[0]
    square = IMAGES[WIDE][:, 10:50]
    assert found.shape == (16, 16, 3)
    assert np.abs(found.mean((0, 1)) - square.mean((0, 1))).max() < 4
    gray = network.Network(known["vae"], nn.Identity()).read(task(known, print, model="vae"), [WIDE])[0]
    assert (gray[..., 0] == gray[..., 2]).all()


@pytest.mark.parametrize(
    ("model", "ends"), [("vae", [A, 3, B]), ("conv", [A, B, 3]), ("gan", [1, 2, 3]), ("dcgan", [A, 2, 3])]
)
def test_frames_include_every_end(known: dict[str, Card], model: str, ends: list[Any]) -> None:
    made, _ = run(known, model, mode="interpolate", between=ends, steps=4)
    frames = outputs(made)
    assert len(frames) == 7
    assert apart(frames[0], frames[3]) > 2 * TOLERANCE
    for frame, end in zip(frames[::3], ends, strict=True):
        [alone] = (
            outputs(run(known, model, seeds=[end])[0]) if isinstance(end, int) else reconstructed(known, model, end)
        )
        assert apart(frame, alone) <= TOLERANCE


@pytest.mark.parametrize("model", ["ddpm", "attribute-ddpm"])
@pytest.mark.parametrize("scheduler", ["ddim", "dpm-solver++"])
def test_a_diffusion_model_interpolates_between_noises(known: dict[str, Card], scheduler: str, model: str) -> None:
    more = {"num_inference_steps": 3, "scheduler": scheduler}
    made, steps = run(known, model, mode="interpolate", between=[4, 9], steps=5, **more)
    frames = outputs(made)
    first, last = outputs(run(known, model, seeds=[4, 9], **more)[0])
    assert apart(frames[0], first) <= TOLERANCE and apart(frames[-1], last) <= TOLERANCE
    assert steps == [(1, 3, "denoising"), (2, 3, "denoising"), (3, 3, "denoising")]


def test_images_have_the_requested_attributes(known: dict[str, Card]) -> None:
    brief: dict[str, Any] = {"num_inference_steps": 2}
    made, _ = run(known, "attribute-ddpm", n=12, attributes=["hat"], **brief)
    assert all("hat" in names and "beard" not in names for names in made.metrics["attributes"])
    assert {"glasses" in names for names in made.metrics["attributes"]} == {True, False}
    assert "attributes" not in run(known, "ddpm", n=1, **brief)[0].metrics
    [free], [bearded] = (
        run(known, "attribute-ddpm", seeds=[3], **brief, **more)[0].images for more in ({}, {"attributes": ["beard"]})
    )
    assert apart(free, bearded) > 2 * TOLERANCE, "seed 3 is not drawn with a beard"
    [guided] = run(known, "attribute-ddpm", seeds=[3], guidance_scale=8, **brief)[0].images
    assert apart(free, guided) > 2 * TOLERANCE
    with pytest.raises(
        AtelierError, match="attributes: none of 1,024 images of the training data has hat, beard at once"
    ) as error:
        run(known, "attribute-ddpm", n=1, attributes=["hat", "beard"], **brief)
    assert error.value.code == "attributes_not_found" and error.value.details["field"] == "attributes"


def test_steps_are_counted_over_batches(known: dict[str, Card], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "BATCH", 2)
    made, steps = run(known, "ddpm", n=5, num_inference_steps=2)
    assert len(outputs(made)) == 5
    assert [step for step, _, _ in steps] == [1, 2, 3, 4, 5, 6] and steps[0][1] == 6


def test_two_dimensions_from_the_mean_are_a_manifold(known: dict[str, Card]) -> None:
    made, _ = run(known, "vae", mode="traverse", steps=5)
    assert [image.role for image in made.images] == ["grid"] + ["picture"] * 25
    middle = made.images[1 + 12]
    [mean] = outputs(run(known, "vae", mode="arithmetic", terms=[{"sign": "+", "z": [0, 0]}])[0])
    assert apart(middle, mean) <= 1


@pytest.mark.parametrize(
    ("model", "more", "rows"),
    [
        ("vae", {"start": 3}, 2),
        ("vae", {"dimensions": [1]}, 1),
        ("gan", {}, 3),
        ("conv", {"start": A, "dimensions": [4, 0]}, 2),
    ],
)
def test_a_row_for_each_dimension(known: dict[str, Card], model: str, more: dict[str, Any], rows: int) -> None:
    made, _ = run(known, model, mode="traverse", steps=3, **more)
    assert [image.role for image in made.images] == ["grid"] + ["picture"] * 3 * rows


def test_only_the_dimension_with_an_effect_changes_the_image(known: dict[str, Card]) -> None:
    made, _ = run(known, "gan", mode="traverse", steps=3, start=5, extent=3)
    dark, _, bright, *others = [float(image.pixels.mean()) for image in outputs(made)]
    assert dark < 120 < 200 < bright
    assert len(set(others)) == 1


def test_no_title_says_minus_zero(known: dict[str, Card], monkeypatch: pytest.MonkeyPatch) -> None:
    """The middle one of seven values from -2 to 2 is -6e-8."""
    titles: list[str] = []

    def draw(images: Pixels, row_titles: list[str], column_titles: list[str]) -> Pixels:
        titles.extend(column_titles)
        return labeled_grid(images, row_titles, column_titles)

    monkeypatch.setattr(generation, "labeled_grid", draw)
    run(known, "gan", mode="traverse", steps=7, extent=2)
    assert titles == ["-2.00", "-1.33", "-0.67", "0.00", "0.67", "1.33", "2.00"]


@pytest.mark.parametrize("direction", ["a-to-b", "b-to-a"])
def test_translations(known: dict[str, Card], direction: str) -> None:
    made, _ = run(known, "cyclegan", mode="translate", images=[A, B], direction=direction)
    assert [image.role for image in made.images] == ["picture", "picture", "grid"]
    module: Any = load_model(known["cyclegan"], get_settings().weights_dir)
    seen = network.Network(known["cyclegan"], module).read(task(known, print, model="vae"), [A])
    wanted = module.translate(to_tensor(seen), direction)[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(outputs(made)[0].pixels - wanted).max() <= TOLERANCE + 1


@pytest.mark.parametrize(
    ("model", "steps", "shown", "count"),
    [("ddpm", 6, 3, 3), ("ddpm", 3, 16, 3), ("ddpm", 50, 8, 8), ("latent-ddpm", 6, 3, 3), ("attribute-ddpm", 6, 3, 3)],
)
def test_denoising_steps_are_evenly_spaced(
    known: dict[str, Card], model: str, steps: int, shown: int, count: int
) -> None:
    made, _ = run(known, model, mode="denoise-steps", num_inference_steps=steps, shown=shown, seed=4)
    assert [image.role for image in made.images] == ["picture"] * count + ["grid"]
    [alone] = outputs(run(known, model, seeds=[4], num_inference_steps=steps)[0])
    assert apart(outputs(made)[-1], alone) <= TOLERANCE


def test_the_same_job_gives_the_same_images(known: dict[str, Card]) -> None:
    first, second = (run(known, "ddpm", n=2, **STOCHASTIC)[0] for _ in range(2))
    assert all(apart(a, b) == 0 for a, b in zip(first.images, second.images, strict=True))


def test_a_canceled_job_stops_at_its_next_step(known: dict[str, Card]) -> None:
    taken: list[int] = []

    def step(step: int, total: int, message: str, image: Any = None) -> None:
        taken.append(step)
        if step == 2:
            raise CanceledError

    with pytest.raises(CanceledError):
        run_alone(task(known, step, model="ddpm", num_inference_steps=9))
    assert taken == [1, 2]
