"""Style transfers by diffusion, with a tiny untrained model of the real architecture."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jobs.errors import AtelierError
from jobs.settings import get_settings
from models.catalogue import Card
from models.perceptual.vgg import load_vgg
from tests.stack import ROOT
from tests.worker.runners.generations import saved_repeats
from tests.worker.runners.prompted import GONE, IMAGE, MASK, images_of, task
from tests.worker.tasks import run_alone
from worker.run import Pixels, Task
from worker.runners.style_diffusion import losses_of


def test_a_sweep_of_style_guidance_is_a_grid_and_lowers_the_loss(tiny: Card) -> None:
    made = run_alone(
        task(
            tiny,
            method="diffusion",
            mode="transfer",
            style=MASK,
            style_guidance_scale=[0, 0.3],
            num_images_per_prompt=2,
            style_layers=["relu1_1"],
        )
    )
    assert [(image.role, image.seed) for image in made.images] == [
        *(("picture", seed) for seed in (1, 1, 2, 2)),
        ("grid", None),
    ]
    losses = np.array(made.metrics["style_loss"])
    assert losses.shape == (2, 2) and (losses[:, 1] < losses[:, 0]).all()
    assert set(made.models) == {"tiny", "vgg16"}
    alone = run_alone(task(tiny, scheduler="ddim"))
    unguided, [own] = made.images[0].pixels, images_of(alone)
    assert np.abs(unguided.astype(int) - own).mean() < 2, "no guidance is the model's own image"


def test_strokes_are_painted_on_upscaled_images_and_not_without_guidance(tiny: Card) -> None:
    cards = {"tiny": tiny, "repeats": saved_repeats(get_settings().weights_dir)}
    strokes = np.asarray(Image.open(ROOT / "examples" / "photos" / "strokes.jpg"))
    steps: list[tuple[int, int, str]] = []

    def step(done: int, total: int, message: str, image: Callable[[], Pixels] | None = None) -> None:
        steps.append((done, total, message))
        assert image is None or image().dtype == np.uint8

    asked: dict[str, Any] = {"method": "diffusion", "mode": "transfer", "style": MASK, "style_guidance_scale": [0, 0.1]}
    asked |= {"style_layers": ["relu1_1", "relu2_1"], "num_inference_steps": 2}

    def job(scale: int) -> Task[Any]:
        job = task(tiny, step, upscale=scale, upscaler="repeats" if scale > 1 else None, **asked)
        return replace(job, find_model=cards.__getitem__, read_image=lambda image: strokes)

    small, large = run_alone(job(1)), run_alone(job(4))
    merely_larger = [image.pixels.repeat(4, 0).repeat(4, 1) for image in small.images[:2]]
    np.testing.assert_array_equal(large.images[0].pixels, merely_larger[0])
    np.testing.assert_array_equal(large.images[1].pixels, run_alone(job(4)).images[1].pixels)
    assert set(large.models) == {"tiny", "vgg16", "repeats"}
    assert "painting" not in {message for _, _, message in steps[:4]}
    shares = [done / total for done, total, _ in steps[4 : 4 + 4 + 1 + 20]]
    assert shares == sorted(shares) and shares[-1] == 1
    vgg, styles = load_vgg("vgg16", get_settings().weights_dir), [(strokes, 1.0)]
    [[plain, guided]] = losses_of(vgg, styles, np.stack(merely_larger)[None], job(4).params)
    [[unpainted, painted]] = large.metrics["style_loss"]
    assert unpainted == plain and painted < guided / 1.5 and painted < plain / 2.5
    asked["style_guidance_scale"] = 0
    run_alone(job(4))
    assert steps[-1][0] == steps[-1][1], "the progress ends at its end, also without strokes"


def test_a_style_transfer_by_diffusion_can_start_from_an_image(tiny: Card) -> None:
    steps: list[tuple[int, int]] = []

    def step(done: int, total: int, message: str, image: Callable[[], Pixels]) -> None:
        steps.append((done, total))
        assert image().dtype == np.uint8

    asked: dict[str, Any] = {"method": "diffusion", "mode": "transfer", "style": MASK, "style_layers": ["relu1_1"]}
    made = run_alone(task(tiny, step, content=IMAGE, strength=0.5, **asked))
    assert steps == [(1, 2), (2, 2)] and len(made.images) == 1
    with pytest.raises(AtelierError, match="gone"):
        run_alone(task(tiny, content=GONE, **asked))


def test_what_is_cut_off_a_prompt_is_a_warning(tiny: Card) -> None:
    asked: dict[str, Any] = {"method": "diffusion", "mode": "transfer", "style": MASK, "style_layers": ["relu1_1"]}
    short, long = (task(tiny, prompt="hat " * n, **asked) for n in (6, 9))  # of 8 tokens with start and end
    assert "prompt_cut" not in run_alone(short).metrics and not short.warnings
    assert run_alone(long).metrics["prompt_cut"].split() == ["hat"] * 3
    [warning] = long.warnings
    assert warning["code"] == "prompt_cut" and "the rest is not used: hat hat hat" in warning["message"]
