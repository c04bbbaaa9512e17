"""ControlNets of random weights in the published layouts, on tiny models of the real classes and on the mini."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.diffusion.control import (
    CONFIG,
    WEIGHTS,
    Control,
    canny,
    check_control,
    controlnet_config,
    load_controlnet,
)
from models.diffusion.text_to_image import TextToImageModel, generate
from models.errors import AdditionError
from tests.models.diffusion.additions import save_controlnet, write_original


def made(model: TextToImageModel, prompts: list[str], control: Control | None = None, **more: Any) -> Tensor:
    options: dict[str, Any] = {"width": 32, "height": 32, "num_inference_steps": 4, "scheduler": "euler"}
    with torch.inference_mode():
        return generate(model, prompts, seeds=[1] * len(prompts), control=control, **options | more)


def stripes(n: int) -> Tensor:
    images = torch.zeros(n, 3, 32, 32)
    images[0, :, ::4] = 1
    return images


def test_images_follow_their_own_control(model: TextToImageModel, tmp_path: Path) -> None:
    save_controlnet(model.pipeline, tmp_path)
    network = load_controlnet(tmp_path, torch.float32).eval().requires_grad_(False)
    check_control(model.pipeline, network)
    plain = made(model, ["a hat"])
    both = made(model, ["a hat", "a hat"], Control(network, stripes(2)))
    assert (both[0] - plain[0]).abs().max() > 1e-2 < (both[0] - both[1]).abs().max()
    alone = made(model, ["a hat"], Control(network, stripes(1)))
    assert torch.allclose(alone[0], both[0], atol=1e-3), "four steps of networks with weights far from 0"
    assert torch.allclose(made(model, ["a hat"], Control(network, stripes(1), scale=0.0)), plain, atol=1e-4)
    assert not torch.allclose(made(model, ["a hat"], Control(network, stripes(1), end=0.5)), alone, atol=1e-3)
    start = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    changed = [
        made(model, ["a hat"], control, images=start, strength=0.5) for control in (None, Control(network, stripes(1)))
    ]
    assert (changed[0] - changed[1]).abs().max() > 1e-2
    assert torch.equal(made(model, ["a hat"]), plain)


def test_both_layouts_are_one_network(model: TextToImageModel, tmp_path: Path) -> None:
    if hasattr(model.pipeline, "text_encoder_2"):
        pytest.skip("ControlNets of SDXL are published as diffusers names them")
    first, second = tmp_path / "a", tmp_path / "b"
    save_controlnet(model.pipeline, first, (8, 8, 16, 16))
    second.mkdir()
    (second / CONFIG).write_text((first / CONFIG).read_text())
    state = write_original(first, second / WEIGHTS, model.pipeline)
    assert not {*state} & {*load_file(first / WEIGHTS)}
    one, other = (load_controlnet(folder, torch.float32).state_dict() for folder in (first, second))
    assert one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())
    save_file({key: value for key, value in state.items() if "zero_convs.1" not in key}, second / WEIGHTS)
    with pytest.raises(ValueError, match=r"lacks 2 tensors of the controlnet, such as controlnet_down_blocks\.1\."):
        load_controlnet(second, torch.float32)


def test_damaged_and_unfitting_files_are_named(model: TextToImageModel, tmp_path: Path) -> None:
    path = save_controlnet(model.pipeline, tmp_path)
    whole = load_file(path)
    save_file(whole | {"conv_in.weight": torch.ones(3)}, path)
    with pytest.raises(ValueError, match=r"has conv_in\.weight of the controlnet in the size"):
        load_controlnet(tmp_path, torch.float32)
    save_file({"x": torch.ones(1)}, path)
    with pytest.raises(ValueError, match="lacks"):
        load_controlnet(tmp_path, torch.float32)
    save_file(whole, path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match="is no whole safetensors file"):
        load_controlnet(tmp_path, torch.float32)
    save_controlnet(model.pipeline, tmp_path, (8,) * 6)
    with pytest.raises(AdditionError, match="it divides sides by 32"):
        check_control(model.pipeline, load_controlnet(tmp_path, torch.float32))
    other: Any = load_controlnet(tmp_path, torch.float32)
    other.register_to_config(cross_attention_dim=7)
    with pytest.raises(AdditionError, match="its cross_attention_dim is 7, and that of the model's UNet"):
        check_control(model.pipeline, other)


@pytest.mark.parametrize("base", ["stable-diffusion-1.5", "stable-diffusion-2.1", "sdxl"])
def test_the_shipped_configuration_is_that_of_published_controlnets(base: str) -> None:
    from diffusers import ControlNetModel

    kind: Any = ControlNetModel
    with torch.device("meta"):
        network = kind.from_config(controlnet_config(base))
    millions = sum(value.numel() for value in network.parameters()) / 1e6
    # As published: 1.45 GB and 1.46 GB in float32, and 2.50 GB in fp16.
    assert millions == pytest.approx(
        {"stable-diffusion-1.5": 361.3, "stable-diffusion-2.1": 364.2, "sdxl": 1251.0}[base], abs=0.5
    )
    assert json.dumps(controlnet_config(base))


def test_canny_finds_the_edges_of_a_box() -> None:
    image = np.zeros((40, 48, 3), np.uint8)
    image[10:30, 12:36] = 200
    edges = canny(image, 100, 200)
    assert edges.shape == image.shape and edges.dtype == np.uint8
    assert {*np.unique(edges)} == {0, 255}
    assert edges[9:12, 20].max() == 255 and not edges[15:25, 20].any() and not edges[:8].any()
    assert not canny(image, 3000, 3000).any()
