"""Tiny models in the published layout of one file: they are those of the folder, and a wrong file is named."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.catalogue import CHECKPOINT
from models.diffusion.single_file import pipeline_of_checkpoint
from models.diffusion.text_to_image import generate, load_text_to_image
from tests.models.diffusion.single_file import State, write_checkpoint
from tests.models.diffusion.test_text_to_image_full_size import save

BASES = ("stable-diffusion-1.5", "stable-diffusion-2.1", "sdxl")


def laid_out(tmp_path: Path, base: str) -> tuple[Path, State]:
    """A folder in the layout of diffusers, and its checkpoint beside its configuration."""
    save(tmp_path / "parts", base == "sdxl")
    state = write_checkpoint(load_text_to_image(tmp_path / "parts").pipeline, tmp_path / CHECKPOINT, base)
    copy_configuration(tmp_path / "parts", tmp_path)
    return tmp_path / "parts", state


def copy_configuration(parts: Path, folder: Path) -> None:
    for path in parts.rglob("*"):
        if path.suffix in (".json", ".txt"):
            target = folder / path.relative_to(parts)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())


def image_of(folder: Path) -> Tensor:
    with torch.inference_mode():
        return generate(load_text_to_image(folder), ["a hat"], seeds=[1], width=32, height=32, num_inference_steps=2)


@pytest.mark.parametrize("base", BASES)
def test_a_checkpoint_is_the_model_of_its_parts(tmp_path: Path, base: str) -> None:
    parts, _ = laid_out(tmp_path, base)
    assert torch.allclose(image_of(parts), image_of(tmp_path), atol=1e-5)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, State]:
    folder = tmp_path_factory.mktemp("checkpoint")
    return folder / CHECKPOINT, laid_out(folder, BASES[0])[1]


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        ("model.diffusion_model.", r"holds no unet: no key begins with model\.diffusion_model\."),
        ("first_stage_model.", r"holds no vae: no key begins with first_stage_model\."),
        ("cond_stage_model.", "holds no text_encoder: "),
        ("model.diffusion_model.out.2.", r"lacks 2 tensors of the unet, such as conv_out\.(bias|weight)"),
        ("model.diffusion_model.time_embed.", "lacks 4 tensors of the unet, such as time_embedding"),
        ("first_stage_model.post_quant_conv.", "lacks 2 tensors of the vae, such as post_quant_conv"),
        ("cond_stage_model.transformer.text_model.final_layer_norm.", "lacks 2 tensors of the text_encoder"),
    ],
)
def test_what_a_checkpoint_lacks_is_named(checkpoint: tuple[Path, State], prefix: str, message: str) -> None:
    path, state = checkpoint
    save_file({key: value for key, value in state.items() if not key.startswith(prefix)}, path)
    with pytest.raises(ValueError, match=message):
        pipeline_of_checkpoint(path, torch.float32)


def test_a_tensor_of_another_size_is_named(checkpoint: tuple[Path, State]) -> None:
    path, state = checkpoint
    save_file(state | {"model.diffusion_model.out.2.weight": torch.zeros(8, 32, 3, 3)}, path)
    with pytest.raises(
        ValueError, match=r"conv_out\.weight of the unet in the size \(8, 32, 3, 3\), .*\(4, 32, 3, 3\)"
    ):
        pipeline_of_checkpoint(path, torch.float32)


def test_a_truncated_file_and_a_pickle_are_refused(checkpoint: tuple[Path, State]) -> None:
    path, state = checkpoint
    save_file(state, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=f"{CHECKPOINT} is no whole safetensors file: "):
        pipeline_of_checkpoint(path, torch.float32)
    torch.save(state, path)
    with pytest.raises(ValueError, match="is no whole safetensors file"):
        pipeline_of_checkpoint(path, torch.float32)
