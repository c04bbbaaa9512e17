"""Guidance with small untrained models: what it leaves alone, and which way it moves."""

from typing import Any

import pytest
import torch
from torch import Tensor

from models.diffusion.style_guidance import (
    Denoiser,
    GuidedStep,
    paint_strokes,
    prompted_denoiser,
    style_guided,
    unconditional_denoiser,
)
from models.diffusion.text_to_image import TextToImageModel, generate, stable_diffusion
from models.diffusion.unconditional import Ddpm, generators_of, sample
from models.perceptual.vgg import VGG
from models.stylize.gatys import Style

TEXT: dict[str, Any] = {"image_size": 16, "base_channels": 8, "hidden_size": 32, "text_layers": 1, "projection_dim": 8}
TEXT |= {"context_length": 8, "merges": ["h a", "ha t</w>"]}
AUTOENCODER: dict[str, Any] = {"block_out_channels": (32, 32), "layers_per_block": 1, "latent_channels": 4}


@pytest.fixture(scope="module")
def pixel_model() -> Ddpm:
    torch.manual_seed(0)
    return Ddpm(16, 3, (8, 16), 1, 1).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def latent_model() -> TextToImageModel:
    torch.manual_seed(0)
    return stable_diffusion((32, 32), 1, 32, TEXT, AUTOENCODER).eval().requires_grad_(False)


def darkness(images: Tensor) -> Tensor:
    """A loss whose gradient is known: it is least for white."""
    return -images.mean(dim=(1, 2, 3)).sum()


def guided(denoiser: Denoiser, seeds: list[int], scale: list[float], **more: Any) -> Tensor:
    return style_guided(denoiser, darkness, seeds=seeds, scale=torch.tensor(scale), **{"num_inference_steps": 6} | more)


def test_without_guidance_it_is_the_models_own_ddim(pixel_model: Ddpm, latent_model: TextToImageModel) -> None:
    found = guided(unconditional_denoiser(pixel_model), [1, 2], [0, 0])
    expected = sample(pixel_model, pixel_model.draw(generators_of([1, 2]))[0], scheduler="ddim", num_inference_steps=6)
    assert torch.allclose(found, expected, atol=1e-4)
    size: Any = {"width": 32, "height": 32}
    denoiser = prompted_denoiser(latent_model, ["a hat"], **size, negative_prompts=["fog"], guidance_scale=3)
    own = generate(
        latent_model, ["a hat"], seeds=[1], negative_prompts=["fog"], guidance_scale=3, num_inference_steps=6, **size
    )
    assert torch.allclose(guided(denoiser, [1], [0]), own, atol=1e-4)


@pytest.mark.parametrize("kind", ["pixels", "latents", "latents without a guided text"])
def test_the_stronger_it_is_the_smaller_the_loss(kind: str, pixel_model: Ddpm, latent_model: TextToImageModel) -> None:
    scales = [0.0, 0.1, 0.3]
    denoiser = (
        unconditional_denoiser(pixel_model)
        if kind == "pixels"
        else prompted_denoiser(
            latent_model, ["a hat"] * 3, width=32, height=32, guidance_scale=1 if "without" in kind else 4
        )
    )
    images = guided(denoiser, [1, 1, 1], scales)
    losses = [float(darkness(image[None])) for image in images]
    assert losses == sorted(losses, reverse=True) and losses[0] - losses[2] > 0.02
    alone = guided(denoiser, [1], [0.3]) if kind == "pixels" else images[2:]
    # Six guided steps amplify the rounding of another batch size about tenfold.
    assert torch.allclose(alone, images[2:], atol=1e-3), "one is not moved by the others"


def test_only_the_steps_of_the_range_are_guided(pixel_model: Ddpm) -> None:
    steps: list[GuidedStep] = []
    guided(unconditional_denoiser(pixel_model), [1], [0.2], guided_from=0.3, guided_to=0.7, on_step=steps.append)
    assert [taken.step for taken in steps] == [1, 2, 3, 4, 5, 6]
    assert [taken.loss is not None for taken in steps] == [False, False, True, True, True, False]
    assert all(taken.pred_original_sample.min() >= 0 and taken.pred_original_sample.max() <= 1 for taken in steps)


def test_a_image_to_start_from_is_kept_the_more_the_smaller_the_strength(pixel_model: Ddpm) -> None:
    torch.manual_seed(1)
    start = torch.rand(1, 3, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    steps: list[GuidedStep] = []
    kept = [
        guided(unconditional_denoiser(pixel_model), [1], [0.0], start=start, strength=strength, on_step=steps.append)
        for strength in (0.2, 1.0)
    ]
    assert len(steps) == 1 + 6
    errors = [(image - start).abs().mean() for image in kept]
    assert errors[0] < errors[1]


def test_strokes_change_the_luminance_alone_and_grow_with_the_scale(vgg16: VGG) -> None:
    image = torch.full((1, 3, 32, 32), 0.5)
    image[:, 0] = 0.7
    style = Style(torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)))
    none, half, full = (
        paint_strokes(vgg16, image, [style], scale, style_layers=["relu1_1"]) for scale in (0, 0.05, 0.1)
    )
    assert torch.equal(none, image)
    change = full - image
    inside = (full > 0).all(1) & (full < 1).all(1)
    assert change.std() > 0.05 and torch.allclose(change.amax(1)[inside], change.amin(1)[inside], atol=1e-5)
    assert torch.allclose((half - image)[:, :, inside[0]], change[:, :, inside[0]] / 2, atol=1e-5)


def test_a_model_that_predicts_noise_is_guided_alike(pixel_model: Ddpm) -> None:
    """A denoiser that predicts noise instead of v makes the same images."""
    as_v = unconditional_denoiser(pixel_model)
    alphas_bar = as_v.scheduler.alphas_cumprod

    def predict(x: Tensor, timestep: Tensor) -> Tensor:
        alpha_bar = alphas_bar[timestep]
        noise: Tensor = (1 - alpha_bar).sqrt() * x + alpha_bar.sqrt() * pixel_model(x, timestep)
        return noise

    scheduler = type(as_v.scheduler).from_config(as_v.scheduler.config, prediction_type="epsilon")
    as_noise = Denoiser(scheduler, predict, as_v.decode, as_v.encode, as_v.shape)
    # From where some image is left: in pure noise an error of rounding in the noise is all there is of it.
    more: Any = {"start": torch.rand(1, 3, 16, 16), "strength": 0.8}
    # The conversion between noise and velocity divides by a signal level of about 0.1.
    assert torch.allclose(guided(as_noise, [1], [0.1], **more), guided(as_v, [1], [0.1], **more), atol=1e-3)
