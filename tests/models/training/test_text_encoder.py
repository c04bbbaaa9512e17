"""A text encoder distilled for paraphrases, of a tiny text-to-image model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from models.build import WEIGHTS
from models.data.dataset import Dataset
from models.diffusion.text_to_image import TextToImageModel
from models.errors import DataError
from models.tensors import expect_class
from models.training import stable_diffusion, text_encoder
from models.training.recipe import Recipe, frozen_model, train_model
from models.training.run import Schedule
from models.training.text_encoder import _attended, _cross_attentions
from tests.models.training.tiny import SCHEDULE, train

pytestmark = pytest.mark.usefixtures("frozen", "few_steps")
ONCE = replace(SCHEDULE, num_steps=1)


@pytest.fixture
def start(data: dict[str, Dataset], tmp_path: Path) -> Path:
    train("stable_diffusion", data, tmp_path / "first", ONCE)
    return tmp_path / "first"


def trained(
    recipe: Recipe, dataset: Dataset, begin: Path, folder: Path, schedule: Schedule = ONCE, **settings: Any
) -> dict[str, Any]:
    chosen, earlier = recipe.settings(**settings), frozen_model(str(begin))
    return train_model(recipe, dataset, chosen, schedule, folder, model_id="m", data="avatars", start=earlier)


def test_a_text_encoder_is_distilled_and_then_trained_on_images(
    start: Path, data: dict[str, Dataset], tmp_path: Path
) -> None:
    faces = data["tiny avatars"]
    schedule = Schedule(num_steps=30, batch_size=8, sample_every=30)
    card = trained(text_encoder.RECIPE, faces, start, tmp_path / "then", schedule, learning_rate=3e-3)
    text = card["architecture"]["text"]
    assert (text["text_layers"], text["context_length"], text["hidden_size"]) == (3, 48, 32)
    assert card["training"]["typos"] and "spectacles" in card["training"]["words"]
    assert card["training"]["last_losses"]["error"] < 1, "as much as the teacher's attention varies"
    before, after = (load_file(folder / WEIGHTS) for folder in (start, tmp_path / "then"))
    names = [name for name in before if name.startswith(("unet.", "vae."))]
    assert names and all(torch.equal(before[name], after[name]) for name in names)

    settings: dict[str, Any] = {
        "autoencoder": "",
        "block_out_channels": (32, 32),
        "paraphrased": 0.5,
        "learning_rate": 0.0,
    }
    last = trained(stable_diffusion.RECIPE, faces, tmp_path / "then", tmp_path / "last", **settings)
    assert last["architecture"] == card["architecture"] and last["training"]["words"] == card["training"]["words"]
    same = load_file(tmp_path / "last" / WEIGHTS)
    assert all(torch.equal(after[name], same[name]) for name in after)


def test_a_text_encoder_of_embeddings_is_distilled(data: dict[str, Dataset], tmp_path: Path) -> None:
    train("kandinsky", data, tmp_path / "first", ONCE)
    schedule = Schedule(num_steps=30, batch_size=8, sample_every=30)
    settings = {"context_length": 64, "learning_rate": 3e-3}
    card = trained(
        text_encoder.RECIPE, data["tiny avatars"], tmp_path / "first", tmp_path / "then", schedule, **settings
    )
    assert card["task"] == "embedding-to-image" and card["architecture"]["clip"]["context_length"] == 64
    before, after = (load_file(tmp_path / name / WEIGHTS) for name in ("first", "then"))
    same = [name for name in before if not name.startswith(text_encoder.ENCODERS["clip"])]
    assert {name for name in after if name not in same} and all(torch.equal(before[name], after[name]) for name in same)
    untrained = trained(text_encoder.RECIPE, data["tiny avatars"], tmp_path / "first", tmp_path / "once")
    errors = [each["training"]["last_losses"]["error"] for each in (untrained, card)]
    assert errors[1] < 2 < errors[0], "multiples of the variance of the captions' embeddings"


def test_what_is_read_is_the_attention_of_the_layers(start: Path) -> None:
    model = expect_class(frozen_model(str(start))[0], TextToImageModel)
    layers = _cross_attentions(model.pipeline.unet)
    name, layer = next(iter(layers.items()))
    hidden, states = torch.randn(5, layer.to_q.in_features), torch.randn(2, 7, 32)
    read = _attended(layers, {name: hidden}, states)[name].transpose(1, 2).flatten(2)
    expected = layer(hidden.expand(2, -1, -1), encoder_hidden_states=states)
    torch.testing.assert_close(layer.to_out[0](read), expected, atol=1e-5, rtol=1e-5)


def test_what_cannot_be_distilled_is_refused(start: Path, data: dict[str, Dataset], tmp_path: Path) -> None:
    chosen = text_encoder.RECIPE.settings()
    with pytest.raises(DataError, match="start: a text-to-image model or one of image embeddings is needed"):
        train_model(text_encoder.RECIPE, data["avatars"], chosen, ONCE, tmp_path / "none", model_id="m", data="avatars")
    with pytest.raises(DataError, match="for the set avatars alone"):
        trained(text_encoder.RECIPE, data["smileys"], start, tmp_path / "other")
