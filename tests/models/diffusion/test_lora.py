"""LoRAs made here by peft, with random weights, on tiny models of the real classes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.build import load_model
from models.catalogue import RECORD, card, file_sha256
from models.diffusion.lora import with_loras
from models.diffusion.text_to_image import TextToImageModel, generate
from models.errors import LoraError
from tests.models.diffusion.test_text_to_image_full_size import save

STEPS: dict[str, Any] = {"width": 32, "height": 32, "num_inference_steps": 2, "scheduler": "ddim"}


@pytest.fixture(scope="module", params=["stable-diffusion-1.5", "sdxl"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TextToImageModel:
    found, weights_dir = card(request.param), tmp_path_factory.mktemp("weights")
    folder = weights_dir / found.id
    save(folder, "xl" in found.id)
    hashes = {name: file_sha256(folder / name) for name in found.files}
    (folder / RECORD).write_text(json.dumps({"source": found.source, "files": hashes}))
    loaded = load_model(found, weights_dir)
    assert isinstance(loaded, TextToImageModel)
    return loaded


@pytest.fixture
def lora(model: TextToImageModel, tmp_path: Path) -> Callable[..., Path]:
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


def made(model: TextToImageModel) -> Tensor:
    with torch.inference_mode():
        return generate(model, ["a hat"], seeds=[1], **STEPS)


def test_they_change_the_image_and_leave_the_base_as_it_was(model: TextToImageModel, lora: Callable[..., Path]) -> None:
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


def layer(name: str, wide: int = 0) -> dict[str, Tensor]:
    """A pair of a query of the UNet under another name, or of another width."""
    n = wide or 32
    return {f"{name}.lora_A.weight": torch.ones(2, n), f"{name}.lora_B.weight": torch.ones(n, 2)}


QUERY = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
NAN = {name: value * float("nan") for name, value in layer(f"unet.{QUERY}").items()}
NO_LORAS: dict[str, tuple[dict[str, Tensor], str]] = {
    "another width": (layer(f"unet.{QUERY}", 999), "size mismatch|Error"),
    "no names of a LoRA": ({"weight": torch.ones(2)}, "LoRA"),
    "no such layer": (layer("unet.nowhere"), "LoRA"),
    "no prefix": (layer(QUERY), "LoRA"),
    "another prefix": (layer(f"diffusion_model.{QUERY}"), "LoRA"),
    "no such text encoder": (layer("text_encoder_9.text_model.encoder.layers.0.self_attn.q_proj"), "LoRA"),
    "half a pair": (dict([next(iter(layer(f"unet.{QUERY}").items()))]), "lacks pairs"),
    "no change": ({name: 0 * value for name, value in layer(f"unet.{QUERY}").items()}, "changes a layer"),
    "NaN": (NAN, "NaN or infinity"),
    "empty": ({}, "it is empty"),
}


@pytest.mark.parametrize("kind", NO_LORAS)
def test_a_file_that_is_none_for_this_model_is_refused_and_leaves_nothing(
    model: TextToImageModel, tmp_path: Path, kind: str
) -> None:
    state, says = NO_LORAS[kind]
    before, names = made(model), set(model.state_dict())
    save_file(state, tmp_path / "bad.safetensors")
    with pytest.raises(LoraError, match=says) as error, with_loras(model, [(tmp_path / "bad.safetensors", 1.0)]):
        pass
    assert error.value.place == 0
    assert set(model.state_dict()) == names and torch.equal(made(model), before)


def test_tensors_that_fit_no_layer_are_named(
    model: TextToImageModel, lora: Callable[..., Path], tmp_path: Path
) -> None:
    whole = lora(1, "unet", "text_encoder")
    state, other = load_file(whole), layer("unet.nowhere") | layer("text_encoder_9.layers.0")
    save_file(state | other, tmp_path / "more.safetensors")
    with with_loras(model, [(whole, 1.0)]) as unused:
        found = made(model)
    assert unused == [[]]
    with with_loras(model, [(whole, 0.0), (tmp_path / "more.safetensors", 1.0)]) as unused:
        assert [sorted(names) for names in unused] == [[], sorted(other)]
        assert torch.allclose(made(model), found, atol=1e-4)


def test_no_pickle_is_read(model: TextToImageModel, tmp_path: Path) -> None:
    torch.save({"unet.x.lora_A.weight": torch.ones(2, 2)}, tmp_path / "bad.bin")
    with pytest.raises(ValueError, match="not a safetensors file"), with_loras(model, [(tmp_path / "bad.bin", 1.0)]):
        pass
