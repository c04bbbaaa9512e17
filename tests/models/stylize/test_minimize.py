from typing import Any

import pytest
import torch
from torch import Tensor

from models.errors import DivergedError
from models.stylize.minimize import OptimizationStep, levels, minimize

WANTED = torch.linspace(0, 1, 3 * 24 * 20).view(1, 3, 24, 20)


def distance(size: tuple[int, int], level: int) -> Any:
    """A bowl of another steepness in each pixel, with its least value of 1 at `WANTED`."""
    steep = torch.linspace(0.5, 2, WANTED.numel()).view_as(WANTED)

    def objective(pixels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        loss = 1 + (steep * (pixels - WANTED)).square().mean()
        return loss, {"apart": loss.detach() - 1}

    return objective


def test_lbfgs_finds_the_bottom() -> None:
    found = minimize(distance, torch.zeros_like(WANTED), [((24, 20), 80)])
    # A quadratic: L-BFGS converges to float32 rounding of the loss, whose root is about 3e-4.
    torch.testing.assert_close(found.image, WANTED, rtol=0, atol=1e-3)
    assert found.loss == pytest.approx(1, abs=1e-5)
    assert found.steps == 80


def test_adam_ends_in_the_average_of_its_last_iterates() -> None:
    pixels: list[Tensor] = []
    found = minimize(
        distance,
        torch.zeros_like(WANTED),
        [((24, 20), 300)],
        optimizer="adam",
        on_step=lambda step: pixels.append(step.image()),
    )
    # Adam circles the minimum at the size of its steps; the average of the last ones lies within them.
    torch.testing.assert_close(found.image, WANTED, rtol=0, atol=0.02)
    assert torch.equal(found.image, pixels[-1])


def test_it_ends_when_the_loss_no_longer_falls() -> None:
    found = minimize(distance, torch.zeros_like(WANTED), [((24, 20), 300)], tolerance=0.01)
    assert 20 <= found.steps < 60
    assert found.loss < 1.01


def test_a_step_that_doubles_the_loss_is_taken_back() -> None:
    """A loss that is a hundred times steeper past a wall: the steps before know nothing of it."""

    def walled(size: tuple[int, int], level: int) -> Any:
        def objective(pixels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            beyond = (pixels - 0.5).clamp_min(0)
            return 1e-3 + (pixels - 0.6).square().mean() + 1e4 * beyond.square().mean(), {}

        return objective

    seen: list[OptimizationStep] = []
    minimize(walled, torch.zeros(1, 3, 16, 16), [((16, 16), 60)], on_step=seen.append)
    assert max(step.loss for step in seen) > 2 * seen[0].loss  # it did run into the wall
    assert min(step.loss for step in seen) < 0.05 * seen[0].loss  # and found its foot all the same


@pytest.mark.parametrize(
    "size, num_steps, expected",
    [
        ((384, 256), 90, [((192, 128), 30), ((272, 181), 30), ((384, 256), 30)]),
        ((271, 271), 9, [((271, 271), 9)]),
        ((272, 272), 9, [((192, 192), 4), ((272, 272), 5)]),
        ((1024, 1024), 1, [((1024, 1024), 1)]),
        ((1024, 20), 10, [((1024, 20), 10)]),
    ],
)
def test_levels(size: tuple[int, int], num_steps: int, expected: list[tuple[tuple[int, int], int]]) -> None:
    assert levels(size, num_steps) == expected


def test_a_start_that_is_already_the_bottom_stays_as_it_is() -> None:
    start = torch.full((1, 3, 16, 16), 0.5)
    found = minimize(lambda size, level: lambda x: ((x - 0.5).square().sum(), {}), start, [((16, 16), 5)])
    assert torch.equal(found.image, start) and found.loss == 0


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_an_image_that_breaks_at_the_last_step_has_diverged(optimizer: Any) -> None:
    """The loss of a step is that of the image it set out from."""

    def objective(x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return (0 * x).sqrt().sum(), {}  # 0, with a gradient of 0 / 0

    with pytest.raises(DivergedError, match="image is not finite after step 1"):
        minimize(lambda size, level: objective, torch.ones(1, 3, 16, 16), [((16, 16), 1)], optimizer=optimizer)
