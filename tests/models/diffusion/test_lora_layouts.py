"""One LoRA in the layouts of diffusers and of kohya's trainers, on tiny models of the real classes and on the mini."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.diffusion.lora import with_loras
from models.diffusion.text_to_image import TextToImageModel, generate
from models.errors import LoraError

LAYERS = {"unet": ["to_q", "to_v", "to_out.0"], "text_encoder": ["q_proj", "k_proj", "v_proj", "out_proj"]}
RANK = 2


def write_diffusers(model: TextToImageModel, path: Path) -> Path:
    """Writes a LoRA of random weights under the names of diffusers."""
    torch.manual_seed(0)
    layers = {}
    for part, names in LAYERS.items():
        module = getattr(model.pipeline, part)
        module.add_adapter(LoraConfig(r=RANK, target_modules=names, init_lora_weights=False), "made")
        layers[f"{part}_lora_layers"] = get_peft_model_state_dict(module, adapter_name="made")
    type(model.pipeline).save_lora_weights(path.parent, weight_name=path.name, **layers)
    model.pipeline.unload_lora_weights()
    # As published files name the layers of CLIP, which recent releases of transformers name without `text_model`.
    state = {key.replace("text_encoder.e", "text_encoder.text_model.e"): v for key, v in load_file(path).items()}
    assert any("text_encoder.text_model." in key for key in state)
    save_file(state, path)
    return path


def kohya(state: dict[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """The same LoRA under the names of kohya's trainers; its scale is alpha by rank."""
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        part, _, rest = key.partition(".")
        layer, side = rest.replace(".lora_A.", ".lora.down.").replace(".lora_B.", ".lora.up.").split(".lora.")
        name = f"lora_{'te' if part == 'text_encoder' else part}_{layer.replace('.', '_')}"
        renamed[f"{name}.lora_{side}"] = value
        renamed[f"{name}.alpha"] = torch.tensor(alpha)
    return renamed


def made(model: TextToImageModel, *loras: tuple[Path, float]) -> Tensor:
    options: dict[str, Any] = {"width": 32, "height": 32, "num_inference_steps": 2, "scheduler": "ddim"}
    with with_loras(model, loras) as unused, torch.inference_mode():
        assert not any(unused)
        return generate(model, ["a hat"], seeds=[1], **options)


def test_both_layouts_give_the_same_image(model: TextToImageModel, tmp_path: Path) -> None:
    first, second = write_diffusers(model, tmp_path / "a.safetensors"), tmp_path / "b.safetensors"
    state = load_file(first)
    assert all(key.startswith(("unet.", "text_encoder.")) and ".lora_" in key for key in state)
    if hasattr(model.pipeline, "text_encoder_2"):
        state = {key.replace("text_encoder.", "text_encoder_1."): value for key, value in state.items()}
    renamed = {key.replace("lora_text_encoder_1", "lora_te1"): value for key, value in kohya(state, RANK / 2).items()}
    assert {key.rpartition(".")[2] for key in renamed} == {"weight", "alpha"}
    save_file(renamed, second)
    plain, expected = made(model), made(model, (first, 0.5))
    assert (plain - expected).abs().max() > 1e-3
    assert torch.allclose(made(model, (second, 1.0)), expected, atol=1e-4)
    assert torch.equal(made(model), plain)


@pytest.mark.parametrize("layout", ["diffusers", "kohya"])
def test_a_damaged_file_is_named(model: TextToImageModel, layout: str, tmp_path: Path) -> None:
    path = write_diffusers(model, tmp_path / "a.safetensors")
    state = load_file(path)
    if layout == "kohya":
        save_file(kohya(state, 1.0), path)
    path.write_bytes(path.read_bytes()[:-5])
    with (
        pytest.raises(LoraError, match=r"a\.safetensors holds no LoRA of this model: "),
        with_loras(model, [(path, 1.0)]),
    ):
        pass
    whole = kohya(state, 1.0) if layout == "kohya" else state
    down = next(key for key in whole if key.endswith(("lora_down.weight", "lora_A.weight", "lora.down.weight")))
    save_file({key: value for key, value in whole.items() if key != down}, path)
    with pytest.raises(LoraError, match=r"a\.safetensors "), with_loras(model, [(path, 1.0)]):
        pass
