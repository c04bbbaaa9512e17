"""Style-guided denoising: the gradient of a loss of the predicted x0 changes each step.

Dhariwal and Nichol 2021, "Diffusion models beat GANs on image synthesis", section 4 (classifier guidance); the loss is
that of Gatys, Ecker and Bethge 2016, "Image style transfer using convolutional neural networks". The images of a small
model have no room for strokes: `paint_strokes` adds these to the enlarged image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDIMScheduler
from torch import Tensor
from torch.nn import functional as F

from models.diffusion.text_to_image import TextToImageModel
from models.diffusion.unconditional import Ddpm, make_scheduler
from models.perceptual.vgg import VGG
from models.stylize.color import LUMINANCE
from models.stylize.gatys import Region, Style, transfer
from models.tensors import seeded

STROKE_STEPS = 20  # of L-BFGS, from the guided image; more change its content
STROKE_WEIGHT = 5.0  # of the style loss; the content's weight is 1
NEIGHBORHOOD = 32  # pixels a side, several strokes wide
FULL_STROKES = 0.1  # guidance scale from which on strokes have their full strength

Loss = Callable[[Tensor], Tensor]  # images (n, channels, h, w) in about [0, 1] -> a scalar, summed over the images


@dataclass(frozen=True)
class Denoiser:
    """The parts of a diffusion model that guidance uses, over images or latents x (n, channels, h, w).

    predict: maps (x, timestep) to the scheduler's `model_output`. decode: maps clean x to images in about [0, 1].
    encode: maps images in [0, 1] to clean x. shape: (channels, h, w) of x.
    """

    scheduler: Any
    predict: Callable[[Tensor, Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]
    encode: Callable[[Tensor], Tensor]
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class GuidedStep:
    """One guided denoising step.

    step: counted from 1. pred_original_sample: the images (n, channels, h, w) in [0, 1] of the predicted x0. loss: its
    style loss; None for a step without guidance.
    """

    step: int
    pred_original_sample: Tensor
    loss: float | None


def unconditional_denoiser(model: Ddpm, attributes: Tensor | None = None) -> Denoiser:
    """Returns the denoiser of a model without prompts, conditioned on attributes (n, k) where these are given."""
    return Denoiser(
        make_scheduler("ddim"),
        lambda x, timestep: model(x, timestep, attributes),
        model.decode,
        model.encode,
        model.shape,
    )


@torch.no_grad()
def prompted_denoiser(
    model: TextToImageModel,
    prompts: Sequence[str],
    *,
    width: int,
    height: int,
    negative_prompts: Sequence[str] = (),
    guidance_scale: float = 4.0,
) -> Denoiser:
    """Returns the denoiser of a latent text-to-image model, one prompt per image, with classifier-free guidance."""
    pipeline, device = model.pipeline, model.pipeline._execution_device
    vae, scale = pipeline.vae, pipeline.vae.config.scaling_factor
    prompt_embeds, negative_prompt_embeds = pipeline.encode_prompt(
        list(prompts), device, 1, guidance_scale > 1, negative_prompt=list(negative_prompts) or None
    )

    def predict(x: Tensor, timestep: Tensor) -> Tensor:
        if guidance_scale <= 1:
            conditional: Tensor = pipeline.unet(x, timestep, prompt_embeds).sample
            return conditional
        both = pipeline.unet(torch.cat([x, x]), timestep, torch.cat([negative_prompt_embeds, prompt_embeds])).sample
        without, with_text = both.float().chunk(2)
        guided: Tensor = without + guidance_scale * (with_text - without)
        return guided

    factor = pipeline.vae_scale_factor
    return Denoiser(
        DDIMScheduler.from_config(model.scheduler.config),
        predict,
        lambda x: vae.decode(x / scale).sample / 2 + 0.5,
        lambda images: vae.encode(2 * images - 1).latent_dist.mode() * scale,
        (pipeline.unet.config.in_channels, height // factor, width // factor),
    )


def style_guided(
    denoiser: Denoiser,
    loss: Loss,
    *,
    seeds: Sequence[int],
    scale: Tensor,
    num_inference_steps: int = 50,
    guided_from: float = 0.0,
    guided_to: float = 1.0,
    start: Tensor | None = None,
    strength: float = 1.0,
    on_step: Callable[[GuidedStep], None] = lambda taken: None,
) -> Tensor:
    """Samples images (n, channels, h, w) in [0, 1] by DDIM, changing each predicted x0 against the loss's gradient.

    At each step x0 becomes x0 - scale rms(x0) g / rms(g), where g is the gradient of the loss of the decoded x0 with
    respect to x_t, through the model. Classifier guidance (Dhariwal and Nichol 2021, algorithm 2) changes the noise by
    sqrt(1 - alpha_bar) g, which is the same direction. Here its length is relative to that of x0, so that one scale
    fits every loss, step and model.

    scale: (n,), one per image, 0 for no guidance. guided_from, guided_to: the range of guided steps, as shares of all
    steps. start: images (n, channels, h, w) in [0, 1] to begin from, noised for the last `strength` of the steps (Meng
    et al. 2022, "SDEdit"). `on_step` is called after every step and may raise to stop.
    """
    scheduler = denoiser.scheduler
    scheduler.set_timesteps(num_inference_steps)
    generators = [seeded(seed) for seed in seeds]
    x = torch.stack([torch.randn(denoiser.shape, generator=generator) for generator in generators]).to(scale.device)
    timesteps = scheduler.timesteps
    if start is not None:
        timesteps = timesteps[len(timesteps) - min(int(num_inference_steps * strength), num_inference_steps) :]
        with torch.no_grad():
            x = scheduler.add_noise(denoiser.encode(start), x, timesteps[:1])
    for step, timestep in enumerate(timesteps, 1):
        guided = bool(scale.any()) and guided_from <= (step - 1) / len(timesteps) < guided_to
        alpha_bar = scheduler.alphas_cumprod[timestep].to(x.device)
        with torch.set_grad_enabled(guided):
            x = x.detach().requires_grad_(guided)
            output = denoiser.predict(x, timestep.to(x.device)).float()
            clean = _clean(x, output, alpha_bar, scheduler.config.prediction_type)
            images = denoiser.decode(clean).float()
            value = loss(images) if guided else None
        if value is not None:
            (gradient,) = torch.autograd.grad(value, x)
            clean = clean.detach()
            clean = clean - scale[:, None, None, None] * _rms(clean) * gradient / _rms(gradient).clamp_min(1e-12)
        noise = (x.detach() - alpha_bar.sqrt() * clean) / (1 - alpha_bar).sqrt()
        x = _step(scheduler, clean, noise, timestep, x.detach())
        on_step(GuidedStep(step, images.detach().clamp(0, 1), None if value is None else float(value.detach())))
    with torch.no_grad():
        made: Tensor = denoiser.decode(x).float().clamp(0, 1)
    return made


def paint_strokes(vgg: VGG, image: Tensor, styles: Sequence[Style], scale: float, **options: Any) -> Tensor:
    """Paints the strokes of the styles on an enlarged image of `style_guided`, (1, 3, h, w) in [0, 1].

    Gatys, Ecker and Bethge 2016, eq. 7, with the image as its content and start, of which only the luminance is taken
    (Gatys et al. 2017, "Controlling perceptual factors in neural style transfer", section 5), less its mean in each
    neighborhood: color and brightness are those that guidance chose. This works on pixels, without the diffusion model:
    a decoder of clean images of 64 px cannot draw a stroke. scale: of the guidance; the strokes grow with it up to
    FULL_STROKES. options: those of `transfer`.
    """
    image = image.to(vgg.mean.device)
    painted = transfer(
        vgg, image, [Region(styles)], style_weight=STROKE_WEIGHT, num_steps=STROKE_STEPS, **options
    ).image
    weights = torch.as_tensor(LUMINANCE, dtype=image.dtype, device=image.device).view(3, 1, 1)
    change = ((painted - image) * weights).sum(1, keepdim=True)
    height, width = image.shape[2:]
    coarse = F.adaptive_avg_pool2d(change, (max(1, height // NEIGHBORHOOD), max(1, width // NEIGHBORHOOD)))
    change = change - F.interpolate(coarse, (height, width), mode="bilinear")
    return (image + min(1.0, scale / FULL_STROKES) * change).clamp(0, 1)


def _clean(x: Tensor, output: Tensor, alpha_bar: Tensor, prediction_type: str) -> Tensor:
    """Returns the predicted x0 of a model output for x."""
    if prediction_type == "v_prediction":
        return alpha_bar.sqrt() * x - (1 - alpha_bar).sqrt() * output
    return (x - (1 - alpha_bar).sqrt() * output) / alpha_bar.sqrt()


def _step(scheduler: Any, clean: Tensor, noise: Tensor, timestep: Tensor, x: Tensor) -> Tensor:
    """Takes the scheduler's step for the model output that corresponds to this clean x and noise."""
    alpha_bar = scheduler.alphas_cumprod[timestep].to(x.device)
    is_v = scheduler.config.prediction_type == "v_prediction"
    output = alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * clean if is_v else noise
    stepped: Tensor = scheduler.step(output, timestep, x).prev_sample
    return stepped


def _rms(values: Tensor) -> Tensor:
    """Root mean square of each row, (n, 1, 1, 1)."""
    return values.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
