"""LoRAs of the jobs of a batch, with a tiny untrained model of the real architecture."""

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file, save_file

from jobs.errors import AtelierError
from jobs.settings import get_settings
from models.build import build
from models.catalogue import Card, file_sha256
from tests.worker.runners.prompted import ARCHITECTURE, TOLERANCE, apart, images_of, run, task
from tests.worker.tasks import run_alone
from worker.run import JobResult, Task


def lora(weights_dir: Path, name: str = "ink") -> Card:
    """The card of a LoRA of the tiny model, made by peft with random weights, and its file."""
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    torch.manual_seed(1)
    pipeline: Any = cast(Any, build(ARCHITECTURE)).pipeline
    pipeline.unet.add_adapter(LoraConfig(r=4, target_modules=["to_q", "to_v", "to_out.0"], init_lora_weights=False))
    folder = weights_dir / name
    layers = get_peft_model_state_dict(pipeline.unet)
    pipeline.save_lora_weights(folder, unet_lora_layers=layers, weight_name=f"{name}.safetensors")
    source, architecture = {"kind": "local"}, {"name": "lora", "base": "tiny"}
    files: dict[str, str | None] = {f"{name}.safetensors": file_sha256(folder / f"{name}.safetensors")}
    return Card(name, "lora", "", "", "MIT", source, files, architecture)


def test_loras_change_only_the_images_of_their_jobs(tiny: Card) -> None:
    weights_dir = get_settings().weights_dir
    ink = lora(weights_dir)

    def wearing(*loras: dict[str, Any]) -> Task:
        made = task(tiny, loras=list(loras))
        made.find_model = lambda model_id: {"tiny": tiny, "ink": ink}[model_id]
        return made

    plain = images_of(run_alone(wearing()))
    first, second = run([wearing({"model": "ink", "scale": 2.0}), wearing({"model": "ink", "scale": 2.0})])
    assert isinstance(first, JobResult) and set(first.models) == {"tiny", "ink"}
    assert first.models["ink"] == str(ink.files["ink.safetensors"])[:16]
    assert apart(images_of(first), plain) > 2 * TOLERANCE >= apart(images_of(first), images_of(second))
    assert (images_of(run_alone(wearing())) == plain).all()

    (weights_dir / "ink" / "ink.safetensors").write_bytes(b"other")
    with pytest.raises(AtelierError, match="sha256 differs") as caught:
        run([wearing({"model": "ink"})])
    assert caught.value.code == "weights_unavailable"
    ink.files["ink.safetensors"] = file_sha256(weights_dir / "ink" / "ink.safetensors")
    with pytest.raises(AtelierError, match="LoRA ink cannot be put on model tiny") as caught:
        run([wearing({"model": "ink"})])
    assert caught.value.code == "lora_unusable"
    (weights_dir / "ink" / "ink.safetensors").unlink()
    with pytest.raises(AtelierError, match=r"python -m models\.fetch ink"):
        run([wearing({"model": "ink"})])
    assert (images_of(run_alone(wearing())) == plain).all()


def test_unused_tensors_of_a_lora_are_a_warning_of_each_job(tiny: Card) -> None:
    weights_dir = get_settings().weights_dir
    ink = lora(weights_dir, "more")
    path = weights_dir / "more" / "more.safetensors"
    nowhere = {f"unet.nowhere.lora_{side}.weight": torch.ones(2, 2) for side in "AB"}
    save_file(load_file(path) | nowhere, path)
    ink.files[path.name] = file_sha256(path)
    both = [task(tiny, loras=[{"model": "more"}]) for _ in range(2)]
    for each in both:
        each.find_model = lambda model_id: {"tiny": tiny, "more": ink}[model_id]
    assert all(isinstance(made, JobResult) for made in run(both))
    for each in both:
        [warning] = each.warnings
        assert warning["code"] == "lora_keys_unused"
        assert "2 tensors of LoRA more" in warning["message"] and "unet.nowhere.lora_A.weight" in warning["message"]
