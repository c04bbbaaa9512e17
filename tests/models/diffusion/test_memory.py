"""Which image fits: arithmetic, and no GPU is asked."""

from types import SimpleNamespace
from typing import cast

import pytest
import torch

from models.diffusion.memory import fitting_size, needed_bytes, offloads
from models.diffusion.text_to_image import TextToImageModel


def model(tiling: bool, dtype: torch.dtype = torch.bfloat16) -> TextToImageModel:
    """What the estimate asks of Stable Diffusion 1.5."""
    config = SimpleNamespace(block_out_channels=(128, 256, 512, 512))
    vae = SimpleNamespace(config=config, dtype=dtype, use_tiling=tiling, tile_sample_min_size=512)
    return cast(TextToImageModel, SimpleNamespace(pipeline=SimpleNamespace(vae=vae)))


def test_a_image_takes_its_pixels_and_larger_ones_are_decoded_by_tiles() -> None:
    small, large = 512 * 512, 1024 * 1024
    assert needed_bytes(model(True), 512, 512) == 2 * (512 + 2048) * small == needed_bytes(model(False), 512, 512)
    assert needed_bytes(model(False), 1024, 1024) == 2 * (512 + 2048) * large
    assert needed_bytes(model(True), 1024, 1024) == 2 * (512 * large + 2048 * small)
    assert needed_bytes(model(False, torch.float32), 512, 512) == 4 * (512 + 2048) * small


@pytest.mark.parametrize(
    ("size", "free", "fitting"),
    [
        ((512, 512), 2 * 2560 * 512 * 512, (512, 512)),
        ((512, 512), 2 * 2560 * 512 * 512 - 1, (504, 504)),
        ((1024, 512), 2 * 2560 * 256 * 512, (512, 256)),
        ((2048, 8), 2 * 2560 * 2048 * 8 - 1, (0, 0)),
        ((512, 512), 0, (0, 0)),
    ],
)
def test_the_largest_size_of_the_shape_that_fits(size: tuple[int, int], free: int, fitting: tuple[int, int]) -> None:
    found = fitting_size(model(False), *size, free)
    assert found == fitting
    assert found == (0, 0) or needed_bytes(model(False), *found) <= free


@pytest.mark.parametrize(("weights", "free", "beside"), [(10, 12, False), (10, 11, True), (34, 24, True)])
def test_weights_without_room_stay_beside_the_gpu(weights: int, free: int, beside: bool) -> None:
    assert offloads(weights * 2**30, free * 2**30) is beside
