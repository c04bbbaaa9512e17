from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.data.dataset import Dataset
from models.errors import DataError
from models.training.upscaler import _crops
from tests.models.training.tiny import SCHEDULE, SETTINGS, train


def test_crops_are_of_the_same_place() -> None:
    large = torch.arange(2 * 3 * 64 * 64).reshape(2, 3, 64, 64)
    small = large[:, :, ::4, ::4]
    given, real = _crops(torch.stack([small, small]), large, 8)
    assert given.shape == (2, 3, 8, 8) and real.shape == (2, 3, 32, 32)
    assert torch.equal(real[:, :, ::4, ::4], given)


@pytest.mark.usefixtures("frozen", "few_steps")
def test_an_upscaler_learns_from_what_diffusion_models_make(
    data: dict[str, Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = replace(SCHEDULE, num_steps=1)
    for name in ("kandinsky", "ddpm of latents"):
        train(name, data, tmp_path / name, once)
    recipe, name, settings = SETTINGS["upscaler"]
    generators = (str(tmp_path / "kandinsky"), str(tmp_path / "ddpm of latents"))
    monkeypatch.setitem(SETTINGS, "of models", (recipe, name, {**settings, "generators": generators}))
    card = train("of models", data, tmp_path / "upscaler", once)
    assert card["task"] == "upscaling" and card["architecture"]["name"] == "srvgg-net-compact"
    assert card["training"]["generators"] == list(generators)
    monkeypatch.setitem(SETTINGS, "of a movq", (recipe, name, {**settings, "generators": ("movq",)}))
    with pytest.raises(DataError, match="movq is not a diffusion model"):
        train("of a movq", data, tmp_path / "other", once)
