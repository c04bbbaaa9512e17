from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMPipeline
from torch import Tensor

from models.diffusion.unconditional import (
    MAX_ATTRIBUTE_ROWS,
    Ddpm,
    DenoisingStep,
    SchedulerName,
    generators_of,
    make_scheduler,
    pack_attributes,
    sample,
    unpack_attributes,
)
from models.errors import AttributesNotFoundError

SCHEDULERS: tuple[SchedulerName, ...] = ("ddpm", "ddim", "dpm-solver++")


def tiny(image_size: int = 16, patch_size: int = 1, channels: int = 1) -> Ddpm:
    torch.manual_seed(0)
    return Ddpm(image_size, channels, (8, 16), layers_per_block=1, patch_size=patch_size).eval()


def noise_of(model: Ddpm, seeds: list[int]) -> Tensor:
    return model.draw(generators_of(seeds))[0]


@pytest.mark.parametrize(("image_size", "patch_size", "channels"), [(16, 1, 1), (28, 2, 1), (32, 4, 3)])
def test_shapes(image_size: int, patch_size: int, channels: int) -> None:
    model = tiny(image_size, patch_size, channels)
    noise = noise_of(model, [0, 1])
    assert model(noise, torch.tensor([3, 900])).shape == noise.shape == (2, channels, image_size, image_size)
    assert model.latent_dim == channels * image_size**2


AUTOENCODER: dict[str, Any] = {"block_out_channels": [32, 32, 32], "layers_per_block": 1, "latent_channels": 4}


def test_of_latents_noise_has_their_shape_and_what_is_made_has_the_images() -> None:
    model = Ddpm(32, 3, (8, 16), layers_per_block=1, patch_size=1, autoencoder=AUTOENCODER).eval().requires_grad_(False)
    assert model.shape == (4, 8, 8) and model.latent_dim == 256
    steps: list[DenoisingStep] = []
    made = sample(model, noise_of(model, [3, 4]), num_inference_steps=2, on_step=steps.append)
    assert made.shape == (2, 3, 32, 32) and 0 <= made.min() <= made.max() <= 1
    assert all(step.noisy.shape == step.pred_original_sample.shape == (2, 4, 8, 8) for step in steps)
    # The last step of DDIM ends at alphas_cumprod[0], not at 1: a little noise is left.
    assert torch.allclose(model.decode(steps[-1].pred_original_sample).clamp(0, 1), made, atol=0.05)
    assert torch.equal(model.encode(made), model.vae.encode(2 * made - 1).latent_dist.mode())


class Oracle(Ddpm):
    """Knows the clean image, or the clean latents, and answers with the v that leads there."""

    def __init__(self, clean: Tensor, of_latents: bool = False) -> None:
        super().__init__(*((16, 3, (8,), 1, 1, AUTOENCODER) if of_latents else (4, 1, (8,), 1, 1)))
        self.clean = clean
        self.alphas_cumprod = make_scheduler("ddpm").alphas_cumprod

    def forward(self, noisy: Tensor, timesteps: Tensor, attributes: Tensor | None = None) -> Tensor:
        alpha_bar: Tensor = self.alphas_cumprod[int(timesteps)]
        noise = (noisy - alpha_bar.sqrt() * self.clean) / (1 - alpha_bar).sqrt()
        return alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * self.clean


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("steps", [1, 2, 7, 50])
def test_a_perfect_prediction_gives_the_clean_image_at_any_step_count(scheduler: SchedulerName, steps: int) -> None:
    clean = torch.linspace(-0.9, 0.9, 16).reshape(1, 1, 4, 4)
    model, pred_original_sample = Oracle(clean), []
    made = sample(
        model,
        noise_of(model, [5]),
        scheduler=scheduler,
        num_inference_steps=steps,
        generators=[torch.Generator().manual_seed(5)],
        on_step=lambda step: pred_original_sample.append((step.step, step.pred_original_sample)),
    )
    # The samplers end at the lowest noise level of the schedule, sigma of about 0.01, not at 0.
    assert torch.allclose(made, (clean + 1) / 2, atol=0.02)
    assert [step for step, _ in pred_original_sample] == list(range(1, steps + 1))
    assert all(torch.allclose(x, clean, atol=1e-3) for _, x in pred_original_sample)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_latents_beyond_1_are_reached_too(scheduler: SchedulerName) -> None:
    """Those of ddpm-avatars were cut to [-1, 1] by DDPM's default, and its faces all came out alike."""
    clean = torch.linspace(-3, 3, 64).reshape(1, 4, 4, 4)
    model = Oracle(clean, of_latents=True).eval().requires_grad_(False)
    model.vae.decoder.conv_out.weight.mul_(10)
    generators = [torch.Generator().manual_seed(5)]
    made = sample(model, noise_of(model, [5]), scheduler=scheduler, num_inference_steps=7, generators=generators)
    cut = model.decode(clean.clamp(-1, 1)).clamp(0, 1)
    wanted = model.decode(clean).clamp(0, 1)
    assert (made - wanted).abs().max() < 0.1 * (cut - wanted).abs().max()


@pytest.mark.parametrize("scheduler", ["ddim", "dpm-solver++"])
def test_noise_of_unit_variance_is_left_where_it_is(scheduler: SchedulerName) -> None:
    """Of images that are noise of unit variance, x_t is so at any time and the best v is 0: the path stands still.

    In steps it turns by small angles, and loses the same share of every value. Clipping the predicted x0 drew values
    beyond 1 inwards more than others, and DDIM came to another distribution.
    """
    stepper, noise = make_scheduler(scheduler), torch.linspace(-3, 3, 14)[None]
    stepper.set_timesteps(20)
    x = noise
    for timestep in stepper.timesteps:
        x = stepper.step(torch.zeros_like(x), timestep, x).prev_sample
    left = x / noise
    assert 0.9 < left.mean() < 1.05
    assert torch.allclose(left, left.mean(), atol=1e-4)


def test_the_same_as_the_pipeline_of_diffusers() -> None:
    model, stepper = tiny(), make_scheduler("ddim")
    pipeline: Any = DDIMPipeline(model.unet, stepper)
    pipeline.scheduler = stepper  # the pipeline's own copy loses the spacing of the timesteps
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(7)
    wanted = pipeline(generator=generator, num_inference_steps=5, output_type="np").images
    ours = sample(model, noise_of(model, [7]), num_inference_steps=5).permute(0, 2, 3, 1).numpy()
    assert np.allclose(ours, wanted, atol=1e-4)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("make", [tiny, lambda: conditioned(torch.eye(3))])
def test_a_image_is_the_same_alone_and_in_a_batch(scheduler: SchedulerName, make: Callable[[], Ddpm]) -> None:
    model = make()

    def made(seeds: list[int]) -> Tensor:
        generators = generators_of(seeds)
        noise, attributes = model.draw(generators)
        return sample(model, noise, attributes, scheduler=scheduler, num_inference_steps=4, generators=generators)

    assert torch.allclose(made([3, 4, 5])[1], made([4])[0], atol=1e-4)
    assert not torch.allclose(made([3]), made([4]), atol=1e-2)


def conditioned(rows: Tensor) -> Ddpm:
    """A model whose training data had these attributes, over and over; each moves what it makes."""
    torch.manual_seed(0)
    names = [f"has {k}" for k in range(rows.shape[1])]
    model = Ddpm(16, 1, (8, 16), layers_per_block=1, patch_size=1, attributes=names).eval()
    torch.nn.init.normal_(model.unet.class_embedding.weight, std=3)
    model.rows.copy_(pack_attributes(rows.repeat(MAX_ATTRIBUTE_ROWS // len(rows) + 1, 1)[:MAX_ATTRIBUTE_ROWS]))
    return model


@pytest.mark.parametrize("k", [1, 8, 11])
def test_attributes_take_a_bit_each_and_come_back(k: int) -> None:
    rows = torch.randn(5, k).sign()
    assert pack_attributes(rows).dtype == torch.uint8 and pack_attributes(rows).shape == (5, -(-k // 8))
    assert torch.equal(unpack_attributes(pack_attributes(rows), k), rows)
    assert pack_attributes(torch.tensor([[1.0, 0, 1, 0, 0, 0, 0, 0, 1]])).tolist() == [[5, 1]]


def test_attributes_are_drawn_as_often_as_they_were_and_together_as_they_were() -> None:
    model = conditioned(torch.tensor([[1, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0]]))
    noise, drawn = model.draw(generators_of(range(400)))
    assert torch.equal(noise, noise_of(tiny(), list(range(400)))), "the noise of an unconditional model"
    assert drawn is not None and drawn.shape == (400, 3) and set(drawn.flatten().tolist()) == {-1, 1}
    # Three standard errors of a share of 0.75 among 400 draws: 3 * sqrt(0.75 * 0.25 / 400) = 0.065.
    assert abs((drawn[:, 0] > 0).float().mean() - 0.75) < 0.07 and (drawn[:, 2] < 0).all()
    assert not ((drawn[:, 1] > 0) & (drawn[:, 0] < 0)).any()


def test_attributes_that_are_wanted_are_had_by_all() -> None:
    model = conditioned(torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 1]]))
    _, drawn = model.draw(generators_of(range(50)), ["has 0"])
    assert drawn is not None and (drawn[:, 0] > 0).all() and 0 < (drawn[:, 1] > 0).sum() < 50
    says = "none of 1,024 images of the training data has has 1, has 2 at once"
    with pytest.raises(AttributesNotFoundError, match=says):
        model.draw(generators_of([0]), ["has 1", "has 2"])
    assert tiny().draw(generators_of([0]))[1] is None


def test_attributes_change_the_image_except_in_an_untrained_model() -> None:
    noise, new = noise_of(tiny(), [3]), Ddpm(16, 1, (8, 16), 1, 1, attributes=["hat"]).eval()
    time, hat = torch.tensor([500]), torch.ones(1, 1)
    assert torch.equal(new(noise, time, hat), new(noise, time, -hat)) and torch.equal(
        new(noise, time), new(noise, time, hat)
    )
    model = conditioned(torch.eye(3))
    one, other = (model(noise, time, torch.tensor([row])) for row in ([1.0, -1, -1], [-1.0, 1, -1]))
    assert not torch.allclose(one, other, atol=1e-2)
    assert torch.equal(model(noise, time), model(noise, time, torch.zeros(1, 3)))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("scale", [0, 0.5, 1, 3])
def test_guidance_exaggerates_what_the_attributes_change(scheduler: SchedulerName, scale: float) -> None:
    """The predicted x0 is linear in v: it lies on the line through the unconditional and the conditional one."""
    model = conditioned(torch.eye(3))
    noise, attributes = model.draw(generators_of([3, 4]))

    def pred_original_sample(attributes: Tensor | None, **more: Any) -> Tensor:
        steps: list[DenoisingStep] = []
        options: dict[str, Any] = {"scheduler": scheduler, "num_inference_steps": 1, "on_step": steps.append} | more
        sample(model, noise, attributes, generators=generators_of([3, 4]), **options)
        return steps[0].pred_original_sample

    without, with_them = pred_original_sample(None), pred_original_sample(attributes, guidance_scale=1)
    guided = pred_original_sample(attributes, guidance_scale=scale)
    # The rounding of both estimates is multiplied by the scale; x0 divides it by a signal level of about 0.06.
    assert torch.allclose(guided, without + scale * (with_them - without), atol=1e-3 * (1 + scale))
    assert not torch.allclose(without, with_them, atol=0.1)


def test_guidance_does_not_change_an_unconditional_model() -> None:
    model = tiny()
    one, other = (sample(model, noise_of(model, [3]), num_inference_steps=3, guidance_scale=s) for s in (1, 9))
    assert torch.equal(one, other)
