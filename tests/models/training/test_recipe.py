import json
from pathlib import Path
from types import ModuleType

import pytest
import torch

from models.build import ARCHITECTURES, WEIGHTS, build, load_model
from models.catalogue import Card, file_sha256
from models.errors import WeightsError
from models.generative.classifier import Classifier
from models.training import (
    autoencoder,
    classifier,
    clip,
    cyclegan,
    dcgan,
    ddpm,
    gan,
    kandinsky,
    lora,
    stable_diffusion,
    text_encoder,
    upscaler,
    vae,
    vae_gan,
)
from models.training.recipe import command

RECIPES = (
    *(autoencoder, classifier, clip, cyclegan, dcgan, ddpm, gan, kandinsky, lora, stable_diffusion, text_encoder, vae),
    *(upscaler, vae_gan),
)
TINY = ["--data", "digits", "--limit", "16", "--num-steps", "3", "--batch-size", "8"]


@pytest.mark.parametrize("module", RECIPES)
def test_help_names_every_setting_and_its_default(module: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        command(module.RECIPE, ["--help"])
    shown = capsys.readouterr().out
    assert end.value.code == 0
    for name in module.RECIPE.settings.__dataclass_fields__:
        assert f"--{name.replace('_', '-')}" in shown
    assert f"default: {module.RECIPE.schedule.num_steps}" in shown


def test_the_command_leaves_a_model_that_loads(tmp_path: Path) -> None:
    argv = [*TINY, "--id", "tiny", "--out", str(tmp_path / "trained"), "--block-out-channels", "8", "16", "--seed", "5"]
    assert command(ddpm.RECIPE, argv) == 0
    card = Card(**json.loads((tmp_path / "trained/tiny/card.json").read_text()))
    assert card.id == "tiny" and card.training["seed"] == 5 and card.training["data"] == "digits"
    assert card.architecture["block_out_channels"] == [8, 16]
    assert card.files == {WEIGHTS: file_sha256(tmp_path / "trained/tiny" / WEIGHTS)}
    model = load_model(card, tmp_path)
    assert not model.training and not any(p.requires_grad for p in model.parameters())


def test_files_that_do_not_fit_the_card_are_refused(tmp_path: Path) -> None:
    command(gan.RECIPE, [*TINY, "--id", "tiny", "--out", str(tmp_path / "trained")])
    written = json.loads((tmp_path / "trained/tiny/card.json").read_text())
    other = Card(**{**written, "architecture": {**written["architecture"], "latent_dim": 9}})
    with pytest.raises(WeightsError, match=r"Model tiny cannot be loaded: .*layers\.0\.weight has an"):
        load_model(other, tmp_path)
    (tmp_path / "trained/tiny" / WEIGHTS).write_bytes(b"{}")
    with pytest.raises(WeightsError, match="sha256 differs"):
        load_model(Card(**written), tmp_path)


@pytest.mark.parametrize(
    ("module", "argv", "fault"),
    [
        (vae, ["--data", "cats"], "no data set 'cats'"),
        (vae, ["--batch-size", "0"], "batch_size must be at least 1"),
        (gan, ["--data", "avatars"], "recipe gan takes gray images"),
        (cyclegan, ["--attribute", "beard"], "no attribute 'beard'"),
        (cyclegan, ["--pool-size", "3", "--batch-size", "4"], "pool_size must be at least batch_size, which is 4"),
        (dcgan, [], "image_size must be 64"),
        (ddpm, ["--block-out-channels", "12"], "multiples of 8"),
        (clip, [], "a CLIP needs captions"),
        (upscaler, ["--data", "avatars"], "of a side of at least 128 pixels"),
        (kandinsky, ["--data", "avatars", "--clip", "nowhere"], "there is no trained model in nowhere"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_line(
    module: ModuleType, argv: list[str], fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command(module.RECIPE, [*TINY, "--id", "tiny", "--out", str(tmp_path), *argv])
    assert fault in capsys.readouterr().err


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_unknown_argument_is_no_architecture(name: str) -> None:
    with pytest.raises(TypeError):
        build({"name": name, "surprise": 1})


def test_classifier_shapes() -> None:
    questions = [["no hat", "hat"], ["a", "b", "c"]]
    model = build({"name": "classifier", "channels": 1, "questions": questions, "base_channels": 8}).eval()
    images = torch.rand(2, 1, 28, 28)
    assert isinstance(model, Classifier)
    assert model.features(images).shape == (2, 64)
    assert [logits.shape for logits in model.logits(images)] == [(2, 2), (2, 3)]
    assert model.answers(images).shape == (2, 2)
