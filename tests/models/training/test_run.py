"""Tiny runs of every recipe: a killed run ends where an unbroken one does."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from models.build import WEIGHTS, build
from models.data.dataset import Dataset
from models.data.named import named_dataset
from models.diffusion.unconditional import Ddpm, generators_of
from models.errors import DataError, DivergedError
from models.generative.vae import mlp_vae, next_to_z, whiten
from models.tensors import load_weights
from models.training import autoencoder, classifier, clip, cyclegan, dcgan, ddpm, gan, kandinsky, stable_diffusion, vae
from models.training.recipe import Recipe, Trained, frozen_model, train_model
from models.training.run import CHECKPOINT, FLUSH_EVERY, Progress, ResumeError, Run, Schedule, Start, averaged

SETTINGS: dict[str, tuple[Recipe, str, dict[str, Any]]] = {
    "vae of digits": (vae.RECIPE, "digits", {}),
    "vae of smileys": (vae.RECIPE, "smileys", {"latent_dim": 4}),
    "gan": (gan.RECIPE, "digits", {}),
    "dcgan": (dcgan.RECIPE, "smileys", {"base_channels": 8, "encoder_channels": 8, "encoder_share": 0.5}),
    "cyclegan": (
        cyclegan.RECIPE,
        "avatars",
        {"attribute": "glasses", "base_channels": 8, "n_blocks": 1, "pool_size": 6},
    ),
    "ddpm": (ddpm.RECIPE, "digits", {"block_out_channels": (8, 16)}),
    "classifier": (classifier.RECIPE, "avatars", {"base_channels": 8}),
    "clip": (clip.RECIPE, "tiny avatars", {"base_channels": 8, "hidden_size": 32, "text_layers": 1}),
    "autoencoder": (autoencoder.RECIPE, "tiny avatars", {"block_out_channels": (32, 32, 32), "num_vq_embeddings": 16}),
    "kandinsky": (
        kandinsky.RECIPE,
        "tiny avatars",
        {"clip": "clip", "autoencoder": "movq", "block_out_channels": (32, 32)},
    ),
    "ddpm of latents": (
        ddpm.RECIPE,
        "tiny avatars",
        {"autoencoder": "kl", "block_out_channels": (8, 16), "patch_size": 1},
    ),
    "conditioned ddpm": (
        ddpm.RECIPE,
        "avatars",
        {"attributes": ("hat", "glasses"), "block_out_channels": (8, 16), "patch_size": 8},
    ),
    "autoencoder-kl": (
        autoencoder.RECIPE,
        "tiny avatars",
        {"architecture": "autoencoder-kl", "block_out_channels": (32, 32, 32)},
    ),
    "stable_diffusion": (
        stable_diffusion.RECIPE,
        "tiny avatars",
        {"clip": "clip", "autoencoder": "kl", "block_out_channels": (32, 32)},
    ),
}
SCHEDULE = Schedule(num_steps=12, batch_size=4, seed=3, sample_every=6, checkpoint_every=4)


@pytest.fixture(scope="module")
def data() -> dict[str, Dataset]:
    sets = {name: named_dataset(name, limit=24) for name in ("digits", "smileys", "avatars")}
    faces = sets["avatars"]
    return sets | {"tiny avatars": replace(faces, images=faces.images[:, ::4, ::4])}


@pytest.fixture(scope="module", autouse=True)
def frozen(data: dict[str, Dataset], tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The models a diffusion model is trained with, in folders of the working directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("frozen"))
        train("clip", data, Path("clip"), replace(SCHEDULE, num_steps=1))
        train("autoencoder", data, Path("movq"), replace(SCHEDULE, num_steps=1))
        train("autoencoder-kl", data, Path("kl"), replace(SCHEDULE, num_steps=1))
        yield


def train(name: str, data: dict[str, Dataset], folder: Path, schedule: Schedule = SCHEDULE, **callbacks: Any) -> Any:
    recipe, set_name, chosen = SETTINGS[name]
    settings = recipe.settings(**chosen)
    return train_model(recipe, data[set_name], settings, schedule, folder, model_id="m", data=set_name, **callbacks)


class Killed(BaseException):
    pass


def killed_after(n_checkpoints: int) -> Callable[[Path], None]:
    left = [n_checkpoints]

    def on_checkpoint(path: Path) -> None:
        left[0] -= 1
        if not left[0]:
            raise Killed

    return on_checkpoint


@pytest.mark.parametrize("name", SETTINGS)
def test_a_killed_run_goes_on_to_the_same_weights(name: str, data: dict[str, Dataset], tmp_path: Path) -> None:
    whole = train(name, data, tmp_path / "whole")
    for n in (1, 1):  # killed twice, at steps 4 and 8
        with pytest.raises(Killed):
            train(name, data, tmp_path / "killed", on_checkpoint=killed_after(n))
    resumed = train(name, data, tmp_path / "killed")
    assert resumed["files"] == whole["files"]
    assert resumed["training"]["last_losses"] == whole["training"]["last_losses"]
    assert not list((tmp_path / "killed").glob("*.partial"))


def test_a_run_that_is_stopped_keeps_the_step_it_reached(data: dict[str, Dataset], tmp_path: Path) -> None:
    def stop(step: int) -> None:
        if step == 7:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train("vae of digits", data, tmp_path / "stopped", on_step=stop)
    steps: list[int] = []
    resumed = train("vae of digits", data, tmp_path / "stopped", on_step=steps.append)
    assert steps == [8, 9, 10, 11, 12]
    assert resumed["files"] == train("vae of digits", data, tmp_path / "whole")["files"]


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
        (ddpm.RECIPE, {}, "kl", "start: m is no diffusion model without prompts"),
        (ddpm.RECIPE, {"autoencoder": "movq"}, None, "movq is no autoencoder-kl"),
        (ddpm.RECIPE, {}, "nowhere", "no trained model in nowhere"),
        (stable_diffusion.RECIPE, {}, "kl", "start: m is no text-to-image model"),
        (stable_diffusion.RECIPE, {"clip": "movq"}, None, "movq is no CLIP"),
        (stable_diffusion.RECIPE, {"clip": "clip", "autoencoder": "clip"}, None, "clip is no autoencoder-kl"),
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


def test_another_seed_gives_other_weights(data: dict[str, Dataset], tmp_path: Path) -> None:
    first = train("vae of digits", data, tmp_path / "a")
    other = train("vae of digits", data, tmp_path / "b", replace(SCHEDULE, seed=4))
    assert first["files"] != other["files"]


def test_a_run_leaves_weights_card_curve_and_samples(data: dict[str, Dataset], tmp_path: Path) -> None:
    reports: list[Progress] = []
    card = train("ddpm", data, tmp_path, on_progress=reports.append)
    with safe_open(tmp_path / WEIGHTS, "pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["000006.png", "000012.png"]
    with Image.open(tmp_path / "losses.png") as plot:
        assert plot.width > 300
    assert (reports[-1].step, reports[-1].total) == (12, 12) and reports[-1].losses.keys() == {"v_loss"}
    assert card["training"]["images"] == 24 and card["training"]["num_steps"] == 12
    assert card["training"]["seconds"] > 0 and card["architecture"]["name"] == "ddpm"


def test_a_checkpoint_of_other_settings_is_refused(data: dict[str, Dataset], tmp_path: Path) -> None:
    train("gan", data, tmp_path)
    with pytest.raises(ResumeError, match="another num_steps"):
        train("gan", data, tmp_path, replace(SCHEDULE, num_steps=20))


def test_a_checkpoint_of_an_earlier_version_is_resumed(tmp_path: Path) -> None:
    """The facts of its checkpoint have another key for the number of images."""
    schedule = Schedule(num_steps=2, batch_size=1)
    for facts, taken in (({"pictures": 3}, 2), ({"images": 3}, 0)):
        run = Run(tmp_path, schedule, facts)
        assert len(list(run.steps(lambda: torch.zeros(1, 1, 8, 8), model=nn.Linear(1, 1)))) == taken


def test_a_diverged_run_keeps_its_last_good_checkpoint_and_its_curve(tmp_path: Path) -> None:
    run = Run(tmp_path, Schedule(num_steps=60, batch_size=1, checkpoint_every=FLUSH_EVERY), {})
    model = nn.Linear(1, 1)

    def loop() -> None:
        for step in run.steps(lambda: torch.zeros(1, 1, 8, 8), model=model):
            run.log(loss=torch.tensor(float("nan") if step >= 30 else 1.0))

    with pytest.raises(DivergedError, match="by step 50 of 60"):
        loop()
    with safe_open(tmp_path / CHECKPOINT, "pt") as file:
        assert file.metadata()["step"] == "25"
    assert (tmp_path / "losses.png").is_file()
    assert len(run.curve["loss"]) == 50


def test_every_row_comes_once_in_an_epoch_and_columns_stay_together(tmp_path: Path) -> None:
    run = Run(tmp_path, Schedule(num_steps=6, batch_size=4), {})
    rows = torch.arange(12)
    seen = []
    for _ in run.steps(lambda: torch.zeros(1, 1, 8, 8)):
        first, second = run.batch(rows, rows * 10)
        assert torch.equal(first * 10, second)
        seen.append(first)
    epochs = torch.cat(seen).reshape(2, 12)
    assert all(sorted(epoch.tolist()) == list(range(12)) for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1])


def test_the_learning_rate_rises_then_falls_to_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path, Schedule(num_steps=100, batch_size=1), {})
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1)
    rates = []
    for step in range(101):
        run.step = step
        run.set_learning_rate(optimizer, 2.0)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[0] < 0.01 and rates[50] == pytest.approx(1.0) and rates[100] == pytest.approx(0)
    assert max(rates) > 1.9 and np.all(np.diff(rates[3:]) < 0)


def test_the_average_is_exponential_once_it_is_warm() -> None:
    """After t steps the decay is (1 + t) / (10 + t) until that is the constant one."""
    module = nn.Linear(1, 1, bias=False)
    average, kept = averaged(module, 0.25)
    for value in (1.0, 2.0, 3.0, 4.0):
        nn.init.constant_(module.weight, value)
        average.update_parameters(module)
    expected = 2 / 11 * 1 + 9 / 11 * 2
    for value in (3.0, 4.0):
        expected = 0.25 * expected + 0.75 * value
    assert kept.weight.item() == pytest.approx(expected)


def test_a_short_average_holds_almost_nothing_of_its_start() -> None:
    module = nn.Linear(1, 1, bias=False)
    average, kept = averaged(module, 0.998)
    for value in (1.0, *[0.0] * 149):
        nn.init.constant_(module.weight, value)
        average.update_parameters(module)
    assert kept.weight.item() < 1e-6, "a constant decay leaves 0.998 ** 149 = 0.74 of it"


def broken_run(folder: Path, break_at: int, breaking: Callable[[nn.Module], None], **schedule: int) -> DivergedError:
    """What ends a run whose losses are all finite and whose weights something happens to after a step."""
    run = Run(folder, Schedule(batch_size=1, **{"num_steps": 20, "checkpoint_every": 5, **schedule}), {})
    model = nn.Linear(1, 1)
    with pytest.raises(DivergedError) as error:
        for step in run.steps(lambda: model(torch.ones(1, 1, 8, 1)), model=model):
            run.log(loss=torch.tensor(1.0))
            if step + 1 == break_at:
                breaking(model)
    return error.value


def spoil(model: nn.Module) -> None:
    nn.init.constant_(model.weight, float("nan"))  # type: ignore[arg-type]


@pytest.mark.parametrize(("break_at", "kept"), [(7, "5"), (20, "15")])
def test_weights_that_are_not_finite_never_become_a_checkpoint(break_at: int, kept: str, tmp_path: Path) -> None:
    error = broken_run(tmp_path, break_at, spoil, sample_every=100)
    assert "no longer finite" in str(error) and len(error.curve["loss"]) >= break_at
    with safe_open(tmp_path / CHECKPOINT, "pt") as file:
        assert file.metadata()["step"] == kept


def test_samples_that_are_not_finite_end_a_run_and_are_never_shown(tmp_path: Path) -> None:
    error = broken_run(tmp_path, 6, spoil, sample_every=2)
    assert "samples were no longer finite by step 6 of 20" in str(error)
    assert not (tmp_path / "samples" / "000006.png").exists()


def test_weights_that_have_no_half_precision_end_a_training(data: dict[str, Dataset], tmp_path: Path) -> None:
    def train_huge(dataset: Dataset, settings: Any, run: Run) -> Trained:
        for _ in run.steps(lambda: torch.zeros(1, 1, 8, 8)):
            run.log(loss=torch.tensor(1.0))
        return Trained({"name": "none"}, {"weight": torch.tensor([1.0, 1e6])})

    recipe = replace(gan.RECIPE, train=train_huge)
    with pytest.raises(DivergedError, match="weights were no longer finite by step 12"):
        train_model(recipe, data["digits"], recipe.settings(), SCHEDULE, tmp_path, model_id="m", data="digits")
    assert not (tmp_path / WEIGHTS).exists()


def test_latent_codes_that_are_not_finite_end_a_training(data: dict[str, Dataset], tmp_path: Path) -> None:
    """Weights may be finite, and what they make of an image not."""

    def train_huge(dataset: Dataset, settings: Any, run: Run) -> Trained:
        model = mlp_vae(16, 1, 2)
        for _ in run.steps(lambda: torch.zeros(1, 1, 8, 8)):
            run.log(loss=torch.tensor(1.0))
        nn.init.constant_(next_to_z(model)[0].weight, 3e38)
        whiten(model, torch.from_numpy(dataset.images).permute(0, 3, 1, 2))
        return Trained({"name": "none"}, model.state_dict())

    recipe = replace(vae.RECIPE, train=train_huge)
    with pytest.raises(DivergedError, match="latent codes were no longer finite by step 12"):
        train_model(recipe, data["digits"], recipe.settings(), SCHEDULE, tmp_path, model_id="m", data="digits")


@pytest.mark.parametrize("name", ["vae of digits", "dcgan", "cyclegan", "ddpm"])
def test_a_run_that_finishes_early_keeps_its_model(name: str, data: dict[str, Dataset], tmp_path: Path) -> None:
    """Its weights are those of the same step of the whole run, and its last grid is of them."""
    grids: list[Progress] = []
    card = train(name, data, tmp_path, on_step=lambda step: step == 5, on_progress=grids.append)
    assert card["training"]["steps_taken"] == 5 and card["training"]["num_steps"] == 12
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["000005.png"]
    assert grids[-1].step == 5 and grids[-1].grid is not None
    load_weights(build(card["architecture"]), tmp_path / WEIGHTS)
    warned = [warning["code"] for warning in card["training"].get("warnings", ())]
    assert warned == (["encoder_untrained"] if name == "dcgan" else [])


def test_every_grid_is_reported_in_the_step_it_is_made(data: dict[str, Dataset], tmp_path: Path) -> None:
    reports: list[Progress] = []
    schedule = replace(SCHEDULE, num_steps=7, sample_every=3, checkpoint_every=100)
    train("vae of digits", data, tmp_path, schedule, on_progress=reports.append)
    assert [progress.step for progress in reports] == [3, 6, 7]
    grids = [progress.grid for progress in reports]
    assert all(a is not None and a is not b for a, b in pairwise(grids))


@pytest.mark.parametrize("name", ["num_steps", "batch_size", "sample_every", "checkpoint_every"])
def test_a_schedule_counts_from_one(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        replace(SCHEDULE, **{name: 0})
