from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from models.build import build, load_model
from models.catalogue import card
from models.pixels import center_square
from models.tensors import expect_class, to_tensor
from models.upscale.real_esrgan import RRDBNet, SRVGGNetCompact, Upscaler


@pytest.mark.parametrize(
    ("model_id", "millions"),
    [("realesr-animevideov3", 0.621), ("realesrgan-x4plus-anime", 4.468), ("realesrgan-x4plus", 16.698)],
)
def test_has_the_number_of_parameters_that_is_published(model_id: str, millions: float) -> None:
    """Real-ESRGAN's repository, docs/model_zoo.md, by the sizes of its networks."""
    network = build(card(model_id).architecture)
    assert sum(each.numel() for each in network.parameters()) / 1e6 == pytest.approx(millions, abs=1e-3)


def test_a_compact_network_without_weights_repeats_each_pixel() -> None:
    network = SRVGGNetCompact(4, 1)
    for each in network.parameters():
        torch.nn.init.zeros_(each)
    images = torch.rand(2, 3, 2, 3)
    torch.testing.assert_close(network(images), images.repeat_interleave(4, 2).repeat_interleave(4, 3))


def test_the_influence_of_a_pixel_ends_where_the_compact_network_says() -> None:
    torch.manual_seed(0)
    network = SRVGGNetCompact(8, 3)
    images = torch.rand(1, 3, 1, 21)
    changed = images.clone()
    changed[..., 10] += 0.5
    with torch.inference_mode():
        moved = (network(images) != network(changed)).any(1)[0].any(0).nonzero()
    assert (int(moved.min()) // 4, int(moved.max()) // 4) == (10 - network.overlap, 10 + network.overlap)


def test_a_residual_network_upscales_any_size_by_four() -> None:
    with torch.inference_mode():
        assert RRDBNet(8, 1, 4)(torch.rand(2, 3, 5, 7)).shape == (2, 3, 20, 28)


@pytest.mark.parametrize("model_id", ["realesr-animevideov3", "realesrgan-x4plus-anime"])
def test_shows_what_it_upscales_in_the_same_colors(weights_dir: Path, model_id: str) -> None:
    """Made small again it is nearly the image; with red and blue exchanged it would differ by 0.08."""
    network = expect_class(load_model(card(model_id), weights_dir), Upscaler)
    image = to_tensor(np.asarray(center_square(Image.fromarray(skimage.data.astronaut()[:256, 100:356]), 48))[None])
    with torch.inference_mode():
        blocks = torch.nn.functional.avg_pool2d(network(image), 4)
    assert (blocks - image).abs().mean() < 0.03
