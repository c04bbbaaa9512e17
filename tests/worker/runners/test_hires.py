"""Images above a model's own size, generated in two sizes by a tiny untrained model of the real architecture."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from models.catalogue import Card, card
from tests.worker.runners.prompted import TOLERANCE, apart, images_of, run, task
from tests.worker.tasks import run_alone
from worker.run import JobResult, Pixels, Task
from worker.runners.hires import enlarged

UPSCALER = "upscaler-avatars"
ROUNDED = 4 * TOLERANCE  # what three networks after each other round differently


def large(tiny: Card, step: Callable[..., None] = lambda *progress: None, **more: object) -> Task:
    made = task(tiny, step, width=64, height=64, **more)
    made.find_model = lambda model_id: tiny if model_id == "tiny" else card(model_id)
    return made


def test_an_image_is_generated_at_the_models_own_size_upscaled_and_changed(tiny: Card) -> None:
    steps: list[tuple[int, int]] = []

    def step(done: int, total: int, message: str, image: Callable[[], Pixels]) -> None:
        steps.append((done, total))

    made = run_alone(large(tiny, step, hires_upscaler=UPSCALER))
    assert steps == [(k, 5) for k in range(1, 6)]
    assert images_of(made).shape == (1, 64, 64, 3) and set(made.models) == {"tiny", UPSCALER}
    both = run([large(tiny, hires_upscaler=UPSCALER, num_images_per_prompt=2), large(tiny, hires_upscaler=UPSCALER)])
    assert all(isinstance(each, JobResult) and each.metrics["batch"] == 2 for each in both)
    assert all(apart(images_of(each)[:1], images_of(made)) <= ROUNDED for each in both)
    assert apart(images_of(run_alone(large(tiny, hires_strength=1))), images_of(made)) > ROUNDED


def test_what_is_not_finite_stays_so(tiny: Card) -> None:
    params: Any = large(tiny).params
    images = torch.rand(2, 3, 32, 32)
    images[1, 0, 0, 0] = torch.nan
    larger = enlarged(large(tiny), params, images)
    assert larger.shape == (2, 3, 64, 64) and larger[0].isfinite().all() and not larger[1].isfinite().any()
    assert float(larger[0].mean()) == pytest.approx(float(images[0].mean()), abs=0.05)
