from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler

from models.training.denoising import noised


def test_v_and_what_is_seen_give_the_image_and_the_noise_back() -> None:
    scheduler: Any = DDPMScheduler(num_train_timesteps=100, prediction_type="v_prediction")
    torch.manual_seed(0)
    clean = torch.rand(20, 1, 3, 3)
    noisy, timesteps, velocity = noised(clean, scheduler)
    alpha = scheduler.alphas_cumprod[timesteps].sqrt()[:, None, None, None]
    sigma = (1 - alpha**2).sqrt()
    assert torch.allclose(alpha * noisy - sigma * velocity, clean, atol=1e-5)
    noise = sigma * noisy + alpha * velocity
    assert torch.allclose(alpha * clean + sigma * noise, noisy, atol=1e-5)
    assert 0.7 < noise.std() < 1.3


def test_times_are_spread_evenly() -> None:
    scheduler: Any = DDPMScheduler(num_train_timesteps=100)
    _, timesteps, _ = noised(torch.zeros(20, 1, 2, 2), scheduler)
    assert (timesteps // 5).tolist() == list(range(20)), "one in each twentieth"


def test_logit_normal_times_are_spread_about_their_location() -> None:
    scheduler: Any = DDPMScheduler(num_train_timesteps=1000)
    _, timesteps, _ = noised(torch.zeros(1000, 1, 2, 2), scheduler, -0.5)
    logits = torch.logit((timesteps + 0.5) / 1000)
    # Stratified draws: one in each thousandth, so that only the tails and the rounding to timesteps are left.
    assert abs(logits.mean() + 0.5) < 0.02 and abs(logits.std() - 1) < 0.02


@pytest.mark.parametrize("location", [None, 0.0])
def test_a_draw_next_to_1_is_of_the_last_time_and_not_beyond(
    location: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """63 and the largest float below 1 are 64 in float32."""
    monkeypatch.setattr(torch, "rand", lambda n: torch.full((n,), 1 - 2**-24))
    scheduler: Any = DDPMScheduler(num_train_timesteps=100)
    assert noised(torch.zeros(64, 1, 2, 2), scheduler, location)[1].max() == 99
