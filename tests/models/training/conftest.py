from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from models.data.dataset import Dataset
from models.data.named import named_dataset
from models.diffusion.embedding import Kandinsky
from models.training import ddpm, lora, run, stable_diffusion, text_encoder
from tests.models.training.tiny import SCHEDULE, train


@pytest.fixture(scope="session")
def data() -> dict[str, Dataset]:
    """Data sets of 24 images, by the names that the settings have."""
    sets = {name: named_dataset(name, limit=24) for name in ("digits", "smileys", "avatars")}
    faces = sets["avatars"]
    return sets | {"tiny avatars": replace(faces, images=faces.images[:, ::4, ::4])}


@pytest.fixture(scope="session")
def frozen_models(data: dict[str, Dataset], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the models a diffusion model is trained with."""
    folder = tmp_path_factory.mktemp("frozen")
    once = replace(SCHEDULE, num_steps=1)
    for name, model in (("clip", "clip"), ("autoencoder", "movq"), ("autoencoder-kl", "kl")):
        train(name, data, folder / model, once)
    return folder


@pytest.fixture
def frozen(frozen_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes these models those of the working directory."""
    monkeypatch.chdir(frozen_models)


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the plots of losses out, which would take half of the time of a short run."""
    monkeypatch.setattr(run, "plot_losses", lambda curve: Image.new("RGB", (32, 32)))


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Denoises the samples of a run in 2 steps: with the usual 25 they would take most of the time of a short run."""
    denoise, generate = vars(ddpm)["denoise"], vars(stable_diffusion)["generate"]

    def in_two_steps(*arguments: Any, num_inference_steps: int) -> Any:
        return denoise(*arguments, num_inference_steps=2)

    monkeypatch.setattr(ddpm, "denoise", in_two_steps)
    for recipe in (stable_diffusion, text_encoder):
        monkeypatch.setattr(recipe, "generate", partial(generate, num_inference_steps=2))
    monkeypatch.setattr(lora, "_sampling", lambda architecture: {"num_inference_steps": 2})
    monkeypatch.setitem(Kandinsky.decode.__kwdefaults__ or {}, "num_inference_steps", 2)
