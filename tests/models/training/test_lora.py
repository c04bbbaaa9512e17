"""LoRAs of tiny models, trained for a few steps; `python -m bench.lora` trains one that is of use."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from safetensors.torch import load_file
from torch import Tensor

from bench.lora import HAT, face_of, shows_hat, wizards
from models.build import WEIGHTS, load_model
from models.catalogue import RECORD, card, file_sha256
from models.data.dataset import Dataset
from models.diffusion.embedding import NOISE
from models.diffusion.lora import with_loras
from models.diffusion.text_to_image import TextToImageModel, generate
from models.errors import DataError
from models.tensors import expect_class
from models.training import lora
from models.training.denoising import noised
from models.training.recipe import frozen_model, train_model
from models.training.run import Schedule, Start
from tests.models.diffusion.test_text_to_image_full_size import save
from tests.models.training.tiny import SCHEDULE, train

pytestmark = pytest.mark.usefixtures("frozen", "few_steps")
TWICE = replace(SCHEDULE, num_steps=2)


@pytest.fixture(scope="session")
def begun(frozen_models: Path, data: dict[str, Dataset], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("begun")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(frozen_models)
        train("stable_diffusion", data, folder, replace(SCHEDULE, num_steps=1))
    return folder


def trained(start: Start, dataset: Dataset, folder: Path, schedule: Schedule = TWICE, **more: Any) -> dict[str, Any]:
    callbacks = {name: more.pop(name) for name in ("on_step", "on_progress") if name in more}
    settings = lora.LoraSettings(**{"rank": 2, "learning_rate": 0.01, "prompts": ("a hat",), **more})
    return train_model(
        lora.RECIPE, dataset, settings, schedule, folder, model_id="hat", data="set", start=start, **callbacks
    )


def generated(model: TextToImageModel, path: Path, scale: float = 1.0) -> tuple[Tensor, list[list[str]]]:
    with torch.inference_mode(), with_loras(model, [(path, scale)]) as unused:
        return generate(model, ["a hat"], seeds=[1], width=16, height=16, num_inference_steps=2), unused


def test_a_lora_is_resumed_and_changes_images_of_its_base(
    begun: Path, data: dict[str, Dataset], tmp_path: Path
) -> None:
    """Its file has kohya's names, all of which diffusers finds in the base; the base's own weights are not in it."""
    faces, schedule = data["tiny avatars"], Schedule(num_steps=4, batch_size=4, sample_every=2, checkpoint_every=2)
    whole = trained(frozen_model(str(begun)), faces, tmp_path / "whole", schedule, train_text_encoder=True)

    def stop(step: int) -> None:
        if step == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        trained(frozen_model(str(begun)), faces, tmp_path / "a", schedule, train_text_encoder=True, on_step=stop)
    resumed = trained(frozen_model(str(begun)), faces, tmp_path / "a", schedule, train_text_encoder=True)
    assert resumed["files"] == whole["files"]
    assert whole["architecture"] == {"name": "lora", "base": "m", "rank": 2, "parts": ["unet", "text_encoder"]}
    assert whole["task"] == "lora" and whole["training"]["start"] == "m"
    samples = sorted(path.name for path in (tmp_path / "whole" / "samples").iterdir())
    assert samples == ["000000.png", "000002.png", "000004.png"]
    model = expect_class(frozen_model(str(begun))[0], TextToImageModel)
    names = load_file(tmp_path / "whole" / WEIGHTS)
    assert "lora_te1_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight" in names
    assert {name.split("_")[1] for name in names} == {"unet", "te1"} and all(
        name.endswith((".lora_up.weight", ".lora_down.weight", ".alpha")) for name in names
    )
    changed, unused = generated(model, tmp_path / "whole" / WEIGHTS)
    same, _ = generated(model, tmp_path / "whole" / WEIGHTS, 0.0)
    assert unused == [[]] and (changed - same).abs().max() > 1e-3


def test_alpha_is_within_the_weights(begun: Path, data: dict[str, Dataset], tmp_path: Path) -> None:
    """Without a learning rate the first change is 0 whatever alpha is, so the second matrix is compared."""
    state = {"a.lora_A.weight": torch.ones(2, 3), "a.lora_B.weight": torch.ones(3, 2)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lora, "get_peft_model_state_dict", lambda module: state)
        scaled = lora._state({"unet": None, "text_encoder": None}, scale=0.5)
    assert torch.equal(scaled["lora_unet_a.lora_up.weight"], torch.full((3, 2), 0.5))
    assert torch.equal(scaled["lora_te1_text_model_a.lora_down.weight"], torch.ones(2, 3))
    assert scaled["lora_unet_a.alpha"] == 2, "the rank: whoever loads it scales by 1"


@pytest.mark.parametrize("base", ["stable-diffusion-1.5", "sdxl"])
def test_a_lora_of_a_full_size_layout(base: str, data: dict[str, Dataset], tmp_path: Path) -> None:
    found, folder = card(base), tmp_path / base
    save(folder, base == "sdxl")
    (folder / RECORD).write_text(
        json.dumps({"source": found.source, "files": {name: file_sha256(folder / name) for name in found.files}})
    )
    faces = data["tiny avatars"].where(slice(0, 4))
    start = load_model(found, tmp_path), found
    made = trained(start, faces, tmp_path / "lora", replace(TWICE, num_steps=1), train_text_encoder=True, snr_gamma=5.0)
    assert made["architecture"]["base"] == found.architecture.get("base", found.id)
    assert made["architecture"]["parts"] == ["unet", "text_encoder", "text_encoder_2"][: 3 if base == "sdxl" else 2]
    _, unused = generated(expect_class(load_model(found, tmp_path), TextToImageModel), tmp_path / "lora" / WEIGHTS)
    assert unused == [[]]


def test_the_target_is_what_the_scheduler_predicts() -> None:
    clean = torch.randn(4, 2, 3, 3)
    for kind in ("epsilon", "v_prediction"):
        scheduler: Any = DDPMScheduler(**{**NOISE, "prediction_type": kind})
        torch.manual_seed(0)
        noisy, timesteps, target = noised(clean, scheduler)
        signal = scheduler.alphas_cumprod[timesteps][:, None, None, None]
        noise = (noisy - signal.sqrt() * clean) / (1 - signal).sqrt()
        expected = noise if kind == "epsilon" else signal.sqrt() * noise - (1 - signal).sqrt() * clean
        torch.testing.assert_close(target, expected, atol=1e-3, rtol=1e-3)  # divided by a small noise level


def test_min_snr_weights_by_hand() -> None:
    """Hang et al. 2023: min(SNR, 5) / SNR of predicted noise; predicted v divides by SNR + 1."""
    scheduler: Any = DDPMScheduler(**{**NOISE, "prediction_type": "epsilon"})
    timesteps = torch.tensor([0, 999])
    signal = scheduler.alphas_cumprod[timesteps]
    snr = signal / (1 - signal)
    assert snr[0] > 5 > snr[1]
    torch.testing.assert_close(lora._weights(scheduler, timesteps, 5.0), torch.tensor([5 / float(snr[0]), 1.0]))
    assert torch.equal(lora._weights(scheduler, timesteps, None), torch.ones(2))
    of_v = lora._weights(DDPMScheduler(**NOISE), timesteps, 5.0)
    torch.testing.assert_close(of_v, torch.stack([5 / (snr[0] + 1), snr[1] / (snr[1] + 1)]))


def test_what_cannot_be_trained_is_refused(begun: Path, data: dict[str, Dataset], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a LoRA needs captions"):
        trained(frozen_model(str(begun)), data["digits"], tmp_path)
    with pytest.raises(DataError, match="start: a text-to-image model is needed"):
        trained(None, data["tiny avatars"], tmp_path)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="start: m is no text-to-image model with a UNet"):
        trained(frozen_model("clip"), data["tiny avatars"], tmp_path)


def test_the_new_hat_is_recognized_on_the_faces_of_the_bench() -> None:
    dataset = wizards(20)
    worn = np.array([f"a {HAT} hat" in caption for caption in dataset.captions])
    assert worn.sum() == 10 and np.array_equal(shows_hat(dataset.images), worn)
    others = np.stack([face_of(5, index, "random")[0] for index in range(60)])
    assert not shows_hat(others).any()
