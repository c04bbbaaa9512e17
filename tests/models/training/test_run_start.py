"""Trainings that continue from the weights of an earlier one."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from models.build import WEIGHTS, build
from models.data.dataset import Dataset
from models.diffusion.unconditional import Ddpm, generators_of
from models.errors import DataError
from models.tensors import load_weights
from models.training import classifier, ddpm, stable_diffusion, vae
from models.training.recipe import Recipe, frozen_model, train_model
from models.training.run import Start
from tests.models.training.tiny import SCHEDULE, SETTINGS, train

pytestmark = pytest.mark.usefixtures("frozen", "few_steps", "no_plots")


def start(folder: Path | str) -> Start:
    return frozen_model(str(folder))


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("autoencoder-kl", {}),
        ("ddpm", {}),
        ("ddpm of latents", {"autoencoder": "", "block_out_channels": (32, 64)}),
        ("conditioned ddpm", {}),
        ("conditioned ddpm", {"attributes": ()}),
        ("stable_diffusion", {}),
        ("stable_diffusion", {"clip": "", "autoencoder": ""}),
        ("gan", {}),
        ("dcgan", {"encoder_learning_rate": 0.0}),
        ("dcgan of latents", {"autoencoder": "", "encoder_learning_rate": 0.0}),
        ("cyclegan", {}),
        ("classifier", {"weight_decay": 0.0}),
        ("clip", {"weight_decay": 0.0}),
        ("kandinsky", {}),
    ],
)
def test_a_training_continues_from_an_earlier_one(
    name: str, left_out: dict[str, Any], data: dict[str, Dataset], tmp_path: Path
) -> None:
    """With a learning rate of 0 nothing moves: neither a diffusion model nor what the autoencoder decodes."""
    recipe, set_name, chosen = SETTINGS[name]
    once = replace(SCHEDULE, num_steps=1)
    first = train(name, data, tmp_path / "first", once)
    still = recipe.settings(**chosen | left_out | {"learning_rate": 0.0})
    earlier = start(tmp_path / "first")
    card = train_model(
        recipe, data[set_name], still, once, tmp_path / "then", model_id="m", data=set_name, start=earlier
    )
    assert card["training"]["parts"]["start"] == first["training"] and card["training"]["start"] == "m"
    before, after = (load_file(tmp_path / folder / WEIGHTS) for folder in ("first", "then"))
    # Statistics of batches are no weights. The last step of an autoencoder's training standardizes its latents, which
    # they are already.
    names = [key for key in before if "running_" not in key and "num_batches" not in key]
    moved = max((before[key].float() - after[key].float()).abs().max().item() for key in names)
    # The standardization scales weights by the deviation of latents that already have one near 1.
    assert moved < 0.01 if name == "autoencoder-kl" else moved == 0


def test_a_vae_continues_from_an_earlier_one(data: dict[str, Dataset], tmp_path: Path) -> None:
    """Its z gets other coordinates at the end; what it decodes of each image stays the same."""
    once = replace(SCHEDULE, num_steps=1)
    train("vae of digits", data, tmp_path / "first", once)
    earlier = start(tmp_path / "first")
    still = vae.RECIPE.settings(learning_rate=0.0)
    train_model(vae.RECIPE, data["digits"], still, once, tmp_path / "then", model_id="m", data="digits", start=earlier)
    images = torch.from_numpy(data["digits"].images).permute(0, 3, 1, 2) / 255
    found = [model.decode(model.encode(images)) for model in (earlier[0], start(tmp_path / "then")[0])]  # type: ignore[operator]
    # Weights are stored in half precision twice: about 5e-4 of each value, through the decoder's layers.
    assert (found[0] - found[1]).abs().max() < 0.01


@pytest.mark.parametrize(
    ("recipe", "chosen", "begin", "says"),
    [
        (ddpm.RECIPE, {}, "digits", "another size"),
        (ddpm.RECIPE, {}, "kl", "start: m is not a diffusion model without prompts"),
        (ddpm.RECIPE, {"autoencoder": "movq"}, None, "movq is not an autoencoder-kl"),
        (ddpm.RECIPE, {}, "nowhere", "no trained model in nowhere"),
        (stable_diffusion.RECIPE, {}, "kl", "start: m is not a text-to-image model"),
        (stable_diffusion.RECIPE, {"clip": "movq"}, None, "movq is not a CLIP"),
        (stable_diffusion.RECIPE, {"clip": "clip", "autoencoder": "clip"}, None, "clip is not an autoencoder-kl"),
        (stable_diffusion.RECIPE, {"clip": "clip", "autoencoder": ""}, None, "needs an autoencoder"),
        (vae.RECIPE, {}, "digits", "start: m has block_out_channels .*; name ddpm, not conv-vae"),
        (classifier.RECIPE, {"base_channels": 16}, "judge", "start: m has base_channels 8, not 16"),
    ],
)
def test_earlier_trainings_that_do_not_fit_are_refused(
    recipe: Recipe, chosen: dict[str, Any], begin: str | None, says: str, data: dict[str, Dataset], tmp_path: Path
) -> None:
    once = replace(SCHEDULE, num_steps=1)
    train("ddpm", data, Path("digits"), once)
    train("classifier", data, Path("judge"), once)
    with pytest.raises(DataError, match=says):
        train_model(
            recipe,
            data["avatars"],
            recipe.settings(**chosen),
            once,
            tmp_path,
            model_id="m",
            data="avatars",
            start=start(begin) if begin else None,
        )


def test_an_unconditional_model_can_learn_attributes(data: dict[str, Dataset], tmp_path: Path) -> None:
    """It begins as the same model, and its rows are those of the images."""
    once = replace(SCHEDULE, num_steps=1)
    faces, shape = data["avatars"], {"block_out_channels": (8, 16), "patch_size": 8}
    train_ddpm = partial(train_model, ddpm.RECIPE, faces, model_id="m", data="avatars")
    train_ddpm(ddpm.RECIPE.settings(**shape), once, tmp_path / "unconditioned")
    names = ("hat", "smiling", "frowning")
    settings = ddpm.RECIPE.settings(attributes=names, learning_rate=0.0)
    card = train_ddpm(settings, once, tmp_path / "conditioned", start=start(tmp_path / "unconditioned"))
    assert card["architecture"]["attributes"] == list(names)
    unconditioned, conditioned = (
        build(card["architecture"] | {"attributes": given}).eval() for given in ([], list(names))
    )
    load_weights(unconditioned, tmp_path / "unconditioned" / WEIGHTS)
    load_weights(conditioned, tmp_path / "conditioned" / WEIGHTS)
    assert isinstance(conditioned, Ddpm)
    noise, drawn = conditioned.draw(generators_of(range(2000)))
    assert drawn is not None and torch.equal(
        conditioned(noise[:2], torch.tensor([9]), drawn[:2]), unconditioned(noise[:2], torch.tensor([9]))
    )
    often = np.mean([faces.attribute(name) for name in names], axis=1)
    # Four standard errors of a share among 2000 draws: 4 * sqrt(0.25 / 2000) = 0.045.
    assert np.allclose((drawn > 0).float().mean(0), often, atol=0.05)
    once_more = ddpm.RECIPE.settings(attributes=("glasses",))
    with pytest.raises(DataError, match="conditioned on other attributes: hat, smiling, frowning"):
        train_ddpm(once_more, once, tmp_path / "other", start=start(tmp_path / "conditioned"))
    with pytest.raises(DataError, match="no attribute 'wings'"):
        train_ddpm(ddpm.RECIPE.settings(attributes=("wings",), **shape), once, tmp_path / "wings")
