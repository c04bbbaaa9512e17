"""Upscalers in one file, as they are published."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.build import load_model
from models.catalogue import card
from models.tensors import WeightsMismatchError, expect_class
from models.upscale.published import load_upscaler
from models.upscale.real_esrgan import RRDBNet, SRVGGNetCompact
from tests.models.upscale.published import NAMINGS, published


def written(state: dict[str, Tensor], folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "x.safetensors")
    return folder


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("prefix", ["", "params_ema."])
def test_a_residual_network_of_each_naming_is_that_network(naming: str, prefix: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, images = RRDBNet(8, 2, 4), torch.rand(1, 3, 6, 5)
    state = {f"{prefix}{name}": tensor.half() for name, tensor in published(network, naming).items()}
    found = load_upscaler(written(state, tmp_path), torch.float16)
    assert next(found.parameters()).dtype == torch.float32
    with torch.inference_mode():
        torch.testing.assert_close(found(images), network.half().float()(images))


@pytest.mark.parametrize("model_id", ["realesr-animevideov3", "realesrgan-x4plus-anime"])
def test_the_published_files_are_read(model_id: str, weights_dir: Path, tmp_path: Path) -> None:
    network, images = load_model(card(model_id), weights_dir), torch.rand(1, 3, 8, 8)
    state = published(network, "real") if isinstance(network, RRDBNet) else network.state_dict()
    found = load_upscaler(written(state, tmp_path), torch.float32)
    with torch.inference_mode():
        torch.testing.assert_close(found(images), expect_class(network, type(found))(images))


def twice() -> dict[str, Tensor]:
    """A compact network that upscales by 2."""
    return SRVGGNetCompact(4, 1).state_dict() | {
        "body.4.weight": torch.ones(12, 4, 3, 3),
        "body.4.bias": torch.ones(12),
    }


def unshuffled() -> dict[str, Tensor]:
    """Real-ESRGAN's x2plus: its first convolution reads blocks of 2 x 2 pixels."""
    return published(RRDBNet(8, 1, 4), "real") | {"conv_first.weight": torch.ones(8, 12, 3, 3)}


def of_one_upsampling() -> dict[str, Tensor]:
    """ESRGAN's first code at a scale of 2."""
    state = published(RRDBNet(8, 2, 4), "model")
    return {name: each for name, each in state.items() if not name.startswith(("model.6", "model.8", "model.10"))}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (twice(), "upscales by 2; a network that upscales by 4 is needed"),
        (unshuffled(), "not an ESRGAN that upscales RGB images by 4"),
        (of_one_upsampling(), "not an ESRGAN that upscales RGB images by 4"),
        (SRVGGNetCompact(4, 1, channels=1).state_dict(), "not those of an ESRGAN or Real-ESRGAN of RGB images"),
        ({"unet.weight": torch.ones(2)}, "not those of an ESRGAN"),
    ],
)
def test_other_networks_are_refused(state: dict[str, Tensor], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        load_upscaler(written(state, tmp_path), torch.float32)


def test_what_is_missing_or_too_much_is_named(tmp_path: Path) -> None:
    state = published(RRDBNet(8, 1, 4), "trunk")
    with pytest.raises(WeightsMismatchError, match=r"extra\.weight is not of this architecture"):
        load_upscaler(written(state | {"extra.weight": torch.ones(1)}, tmp_path), torch.float32)
    del state["HRconv.bias"]
    with pytest.raises(WeightsMismatchError, match=r"conv_hr\.bias is missing"):
        load_upscaler(written(state, tmp_path), torch.float32)
