"""LoRAs made here by peft, with random weights, on tiny models of the real classes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor

from models.build import load_model
from models.catalogue import RECORD, card, file_sha256
from models.diffusion.lora import with_loras
from models.diffusion.text_to_image import TextToImage, generate
from tests.models.diffusion.test_full_size import save

STEPS: dict[str, Any] = {"width": 32, "height": 32, "num_inference_steps": 2, "scheduler": "ddim"}


@pytest.fixture(scope="module", params=["stable-diffusion-1.5", "sdxl"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TextToImage:
    found, weights_dir = card(request.param), tmp_path_factory.mktemp("weights")
    folder = weights_dir / found.id
    save(folder, "xl" in found.id)
    hashes = {name: file_sha256(folder / name) for name in found.files}
    (folder / RECORD).write_text(json.dumps({"source": found.source, "files": hashes}))
    loaded = load_model(found, weights_dir)
    assert isinstance(loaded, TextToImage)
    return loaded


@pytest.fixture
def lora(model: TextToImage, tmp_path: Path) -> Callable[..., Path]:
    """Writes one of random weights that are not zero, for the parts asked for."""
    names = {"unet": ["to_q", "to_v"], "text_encoder": ["q_proj", "v_proj"]}

    def make(seed: int, *parts: str) -> Path:
        torch.manual_seed(seed)
        layers = {}
        for part in parts:
            module = getattr(model.pipeline, part)
            module.add_adapter(LoraConfig(r=2, target_modules=names[part], init_lora_weights=False), "made")
            layers[f"{part}_lora_layers"] = get_peft_model_state_dict(module, adapter_name="made")
        type(model.pipeline).save_lora_weights(tmp_path, weight_name=f"{seed}.safetensors", **layers)
        model.pipeline.unload_lora_weights()
        return tmp_path / f"{seed}.safetensors"

    return make


def made(model: TextToImage) -> Tensor:
    with torch.inference_mode():
        return generate(model, ["a hat"], seeds=[1], **STEPS)


def test_they_change_the_picture_and_leave_the_base_as_it_was(model: TextToImage, lora: Callable[..., Path]) -> None:
    first, second, third = lora(1, "unet"), lora(2, "unet", "text_encoder"), lora(3, "text_encoder")
    before, weights = made(model), {name: value.clone() for name, value in model.state_dict().items()}

    def wearing(*loras: tuple[Path, float]) -> Tensor:
        with with_loras(model, loras):
            return made(model)

    found = [before, wearing((first, 1.0)), wearing((first, 0.5)), wearing((second, 1.0)), wearing((third, 1.0))]
    found.append(wearing((first, 1.0), (second, 1.0)))
    for i, one in enumerate(found):
        assert all((one - other).abs().max() > 1e-4 for other in found[:i]), i
    assert torch.equal(wearing((first, 1.0)), found[1])
    assert (wearing((first, 0.0)) - before).abs().max() < 1e-5
    after = model.state_dict()
    assert after.keys() == weights.keys()
    assert all(torch.equal(after[name], weights[name]) for name in weights)
    assert torch.equal(made(model), before)


def test_a_file_that_is_none_for_this_model_is_refused_and_leaves_nothing(model: TextToImage, tmp_path: Path) -> None:
    before, names = made(model), set(model.state_dict())
    layer = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    wide = {f"{layer}.lora_A.weight": torch.ones(2, 999), f"{layer}.lora_B.weight": torch.ones(999, 2)}
    for state in (wide, {"weight": torch.ones(2)}, {"unet.nowhere.lora_A.weight": torch.ones(2, 2)}):
        save_file(state, tmp_path / "bad.safetensors")
        with pytest.raises((ValueError, RuntimeError)), with_loras(model, [(tmp_path / "bad.safetensors", 1.0)]):
            pass
    assert set(model.state_dict()) == names and torch.equal(made(model), before)


def test_no_pickle_is_read(model: TextToImage, tmp_path: Path) -> None:
    torch.save({"unet.x.lora_A.weight": torch.ones(2, 2)}, tmp_path / "bad.bin")
    with pytest.raises(ValueError, match="no safetensors file"), with_loras(model, [(tmp_path / "bad.bin", 1.0)]):
        pass
