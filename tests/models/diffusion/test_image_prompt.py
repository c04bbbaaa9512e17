"""IP-Adapters of random weights in the published layouts, on tiny models of the real classes and on the mini."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.diffusion.image_prompt import ADAPTER, ImagePrompt, load_image_prompt, with_image_prompt
from models.diffusion.text_to_image import TextToImageModel, generate
from models.errors import AdditionError
from tests.models.diffusion.additions import save_image_prompt


def made(model: TextToImageModel, prompts: list[str], image_prompt: Tensor | None = None, **more: Any) -> Tensor:
    options: dict[str, Any] = {"width": 32, "height": 32, "num_inference_steps": 2, "scheduler": "ddim"}
    with torch.inference_mode():
        return generate(model, prompts, seeds=[1] * len(prompts), image_prompt=image_prompt, **options | more)


def prompted(model: TextToImageModel, prompt: ImagePrompt, value: float, scale: float = 1.0, n: int = 1) -> Tensor:
    image = torch.full((1, 3, 24, 24), value)
    image[:, 0] = 0.5
    with with_image_prompt(model.pipeline, prompt, scale) as hidden, torch.inference_mode():
        return made(model, ["a hat"] * n, prompt.encode(image, hidden=hidden))


@pytest.mark.parametrize("plus", [False, True])
def test_images_follow_the_image_prompt(model: TextToImageModel, plus: bool, tmp_path: Path) -> None:
    save_image_prompt(model.pipeline, tmp_path, plus=plus)
    prompt = load_image_prompt(tmp_path, torch.float32)
    prompt.eval().requires_grad_(False)
    before = {key: value.clone() for key, value in model.pipeline.unet.state_dict().items()}
    plain = made(model, ["a hat"])
    dark, light = prompted(model, prompt, 0.0, n=2), prompted(model, prompt, 1.0)
    assert (dark - plain).abs().max() > 1e-3 and (dark[:1] - light).abs().max() > 1e-3
    assert torch.allclose(dark[0], dark[1], atol=1e-4)
    assert torch.allclose(prompted(model, prompt, 1.0, scale=0.0), plain, atol=1e-4)
    with with_image_prompt(model.pipeline, prompt, 1.0) as hidden, torch.inference_mode():
        embeds = prompt.encode(torch.zeros(1, 3, 9, 9), hidden=hidden)
        made(model, ["a hat"], embeds[1:], guidance_scale=1.0)
    after = model.pipeline.unet.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(value, after[key]) for key, value in before.items())
    assert torch.equal(made(model, ["a hat"]), plain)


def test_damaged_and_unfitting_files_are_named(model: TextToImageModel, tmp_path: Path) -> None:
    path = save_image_prompt(model.pipeline, tmp_path, plus=False)
    whole, plain = load_file(path), made(model, ["a hat"])
    wrong: list[tuple[dict[str, Tensor], str]] = [
        ({key: value for key, value in whole.items() if ".3.to_k" not in key}, "3.to_k_ip.weight"),
        (whole | {"ip_adapter.1.to_k_ip.weight": torch.ones(5, 5)}, "size mismatch|shape"),
    ]
    for state, message in wrong:
        save_file(state, path)
        prompt = load_image_prompt(tmp_path, torch.float32)
        with pytest.raises(AdditionError, match=message), with_image_prompt(model.pipeline, prompt, 1.0):
            pass
        assert torch.equal(made(model, ["a hat"]), plain)
    save_file({"lora.a": torch.ones(1)}, path)
    with pytest.raises(ValueError, match=f"{ADAPTER} holds no IP-Adapter"):
        load_image_prompt(tmp_path, torch.float32)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match="a file is damaged"):
        load_image_prompt(tmp_path, torch.float32)
