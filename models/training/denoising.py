"""Inputs and targets of a diffusion model's training step."""

from typing import Any

import torch
from torch import Tensor


def noised(clean: Tensor, scheduler: Any, timestep_location: float | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Adds noise to images or latents (n, c, h, w); returns the noisy x, its timesteps (n,) and the target.

    The target is the noise, or v = alpha noise - sigma clean if the scheduler predicts that (Salimans and Ho 2022,
    "Progressive distillation for fast sampling of diffusion models", section 4). Timesteps are spread evenly over the
    batch, which makes the loss less noisy than independent draws. With a location m they are logit-normal,
    sigmoid(N(m, 1)), and denser in the middle (Esser et al. 2024, "Scaling rectified flow transformers for
    high-resolution image synthesis", section 3.1).
    """
    noise = torch.randn_like(clean)
    places = (torch.arange(len(clean)) + torch.rand(len(clean))) / len(clean)
    if timestep_location is not None:
        places = torch.sigmoid(timestep_location + torch.special.ndtri(places))
    n = scheduler.config.num_train_timesteps
    timesteps = (places * n).long().clamp(max=n - 1).to(clean.device)  # the last value may round to 1
    predicts_v = scheduler.config.prediction_type == "v_prediction"
    target = scheduler.get_velocity(clean, noise, timesteps) if predicts_v else noise
    return scheduler.add_noise(clean, noise, timesteps), timesteps, target
