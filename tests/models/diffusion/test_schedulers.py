"""Every scheduler on the shipped text-to-image model of avatars, and on a tiny untrained one."""

from inspect import signature
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import PNDMScheduler
from torch import Tensor

from models.build import load_model
from models.catalogue import cards
from models.diffusion.embedding import NOISE
from models.diffusion.schedulers import SCHEDULERS, for_steps, make_scheduler
from models.diffusion.text_to_image import TextToImageModel, generate
from models.judge import judge_names, judge_of, present
from models.tensors import seeded, to_pixels
from tests.models.diffusion.test_text_to_image import made, model  # noqa: F401 (a fixture)

NOISE_OF_1000 = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
}
PROMPT = "a smiling woman with glasses and a red hat"
NAMED = {"woman": True, "smiling": True, "glasses": True, "hat": True, "red_hat": True}
OTHER = "a man with a blue hat"
# Those that repeated or left the timesteps of the training at 1,000 steps.
LEAVING = ("ddim", "ddpm", "pndm", "dpm++ 2m", "dpm++ 2m sde", "dpm++ 3m sde", "deis", "unipc", "sa-solver")
# One of each family, beside `ddim`, which the card's own figures use.
WHOLE = ("pndm", "euler-a", "heun", "lms karras", "dpm2-a", "dpm++ 2m karras", "dpm++ 3m sde")


@pytest.fixture(scope="module")
def shipped() -> TextToImageModel:
    loaded = load_model(cards()["stable-diffusion-avatars"])
    assert isinstance(loaded, TextToImageModel)
    return loaded


@torch.inference_mode()
def faces(shipped: TextToImageModel, prompts: list[str], seeds: list[int], **more: Any) -> Tensor:
    return generate(shipped, prompts, seeds=seeds, width=64, height=64, **more)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_an_image_is_its_own_seeds_alone_and_in_a_batch(model: TextToImageModel, scheduler: str) -> None:  # noqa: F811
    steps: dict[str, Any] = {"scheduler": scheduler, "num_inference_steps": 3}
    together = made(model, ["a man", "a hat"], [6, 7], **steps)
    alone = made(model, ["a hat"], [7], **steps)
    assert together.isfinite().all() and together.flatten(1).std(dim=1).min() > 0.05
    assert (together[1:] - alone).abs().max() < 1e-3


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_step_is_reported_once_and_masks_are_kept(model: TextToImageModel, scheduler: str) -> None:  # noqa: F811
    """Heun and DPM2 evaluate the network twice in a step, PNDM once more at its start."""
    images, masks = torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    masks[..., :16] = 1
    reported(model, scheduler, 1, {})
    from_noise = reported(model, scheduler, 3, {})
    inpainted = reported(model, scheduler, 3, {"images": images, "masks": masks, "strength": 1.0})
    assert torch.equal(inpainted[..., 16:], images[..., 16:]) and not torch.equal(inpainted, from_noise)
    if scheduler != "pndm":  # refused there, see jobs/requests
        reported(model, scheduler, 3, {"images": images, "strength": 0.5, "num_inference_steps": 6})


def reported(model: TextToImageModel, scheduler: str, n: int, start: dict[str, Any]) -> Tensor:  # noqa: F811
    """Generates an image and checks that its n steps are reported."""
    numbers: list[int] = []
    asked = {"scheduler": scheduler, "num_inference_steps": n, "on_step": lambda k, latents: numbers.append(k)}
    found = made(model, ["a hat"], [1], **asked | start)
    assert numbers == list(range(1, n + 1)) and found.isfinite().all() and found.std() > 0.01
    return found


@pytest.mark.parametrize("name", LEAVING)
def test_every_timestep_of_the_training_can_be_a_step(name: str) -> None:
    """With the timesteps of Stable Diffusion 1.x, which begin at 1: 1,000 of them would end beyond the training's."""
    config = {**NOISE_OF_1000, "timestep_spacing": "leading", "steps_offset": 1}
    assert finite_at_all_steps(make_scheduler(name, config, 1000), 1000)


def test_the_own_scheduler_of_a_model_takes_every_timestep_too() -> None:
    own = PNDMScheduler(**NOISE_OF_1000, skip_prk_steps=True, steps_offset=1)
    assert finite_at_all_steps(for_steps(own, 1000), 1000) and for_steps(own, 500) is own


def finite_at_all_steps(scheduler: Any, n: int) -> bool:
    scheduler.set_timesteps(n)
    noised = {"generator": seeded(0)} if "generator" in signature(scheduler.step).parameters else {}
    latents = torch.full((1, 1, 1, 1), float(scheduler.init_noise_sigma))
    for timestep in scheduler.timesteps:
        scheduler.scale_model_input(latents, timestep)
        latents = scheduler.step(0.5 * torch.sign(latents), timestep, latents, **noised).prev_sample
    return bool(latents.isfinite().all()) and int(scheduler.timesteps.max()) <= 999


@pytest.mark.parametrize("scheduler", WHOLE)
def test_ten_steps_show_what_the_prompt_names(shipped: TextToImageModel, scheduler: str) -> None:
    judge = judge_of("avatars", 1)
    images = faces(shipped, [PROMPT] * 2, [1, 2], scheduler=scheduler, num_inference_steps=10)
    found = present(judge, to_pixels(images))[:, [judge_names(judge).index(name) for name in NAMED]]
    assert found.mean() >= 9 / 10


def test_a_job_leaves_nothing_of_its_scheduler_to_the_next(model: TextToImageModel) -> None:  # noqa: F811
    before = made(model, ["a hat"], [1])
    made(model, ["a hat"], [1], scheduler="dpm++ 3m sde karras")
    assert torch.equal(made(model, ["a hat"], [1]), before)
    made(model, ["a hat"], [1], scheduler="lms karras")
    assert torch.equal(made(model, ["a hat"], [1]), before)


def test_karras_spaces_noise_levels_as_in_the_paper() -> None:
    """Karras et al. 2022, eq. 5, with rho 7: even in the 7th root of sigma."""
    config: Any = make_scheduler("ddim", NOISE, 8).config
    found, even = (make_scheduler(name, config, 8) for name in ("dpm++ 2m karras", "dpm++ 2m"))
    for scheduler in (found, even):
        scheduler.set_timesteps(8)
    roots = found.sigmas[:-1].double().numpy() ** (1 / 7)
    np.testing.assert_allclose(np.diff(roots), np.diff(roots).mean(), rtol=1e-4)
    assert np.diff(even.sigmas[:-1].double().numpy() ** (1 / 7)).std() > 1e-3


def test_eta_is_the_noise_of_ddim(shipped: TextToImageModel) -> None:
    """At 1, DDIM's noise has the variance of DDPM's (Song et al. 2021, eq. 16); at 0, there is none."""
    steps: dict[str, Any] = {"scheduler": "ddim", "num_inference_steps": 4}
    none, half, full = (faces(shipped, [PROMPT], [7], eta=eta, **steps) for eta in (0.0, 0.5, 1.0))
    assert torch.equal(none, faces(shipped, [PROMPT], [7], **steps))
    ddpm = faces(shipped, [PROMPT], [7], scheduler="ddpm", num_inference_steps=4)
    assert (full - ddpm).abs().max() < 0.01 < (full - none).abs().max()
    assert (half - none).abs().mean() < (full - none).abs().mean()
    together = faces(shipped, [OTHER, PROMPT], [6, 7], eta=1.0, **steps)
    assert (together[1:] - full).abs().max() < 1e-3
