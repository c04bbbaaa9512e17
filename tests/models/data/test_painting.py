import numpy as np
import pytest

from models.data.painting import FAMILIES, SIDE, colored, noise, pixel, smooth_step

GRAYS = np.linspace(0.2, 0.8, 5)[:, None].repeat(3, 1)


def test_noise_fills_its_range_and_is_smooth() -> None:
    values = noise(np.random.default_rng(0), 3)
    assert values.shape == (SIDE, SIDE) and (values.min(), values.max()) == (0, 1)
    assert np.abs(np.diff(values, axis=0)).max() < 0.05


def test_colors_lie_between_those_of_the_palette() -> None:
    assert np.allclose(colored(GRAYS, np.array([0, 0.125, 1]))[:, 0], [0.2, 0.275, 0.8])


def test_a_smooth_step_rises_from_low_to_high() -> None:
    assert smooth_step(np.array([-1.0, 0.0, 0.5, 1.0, 2.0]), 0, 1).tolist() == [0, 0, 0.5, 1, 1]


def test_points_beyond_the_border_have_the_nearest_pixel() -> None:
    rows, columns = pixel(np.array([[-5.0, 9.0], [10_000.0, 0.0]]))
    assert (rows.tolist(), columns.tolist()) == ([4, 0], [0, SIDE - 1])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_painting_of_grays_is_gray(family: str) -> None:
    painted = FAMILIES[family](np.random.default_rng(1), GRAYS)
    assert painted.shape == (SIDE, SIDE, 3) and np.isfinite(painted).all()
    assert np.abs(painted - painted[..., :1]).max() < 1 / 255 and painted.std() > 0.02
