"""Tiny runs of every recipe: a killed run ends where an unbroken one does."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch import nn

from models.build import WEIGHTS, build
from models.data.dataset import Dataset
from models.errors import DivergedError
from models.generative.vae import mlp_vae, next_to_z, whiten
from models.tensors import load_weights
from models.training import gan, vae
from models.training.recipe import Trained, train_model
from models.training.run import CHECKPOINT, FLUSH_EVERY, Progress, ResumeError, Run, Schedule, averaged
from tests.models.training.tiny import SCHEDULE, SETTINGS, train

pytestmark = pytest.mark.usefixtures("frozen", "few_steps")


class Killed(BaseException):
    pass


def killed_after(n_checkpoints: int) -> Callable[[Path], None]:
    left = [n_checkpoints]

    def on_checkpoint(path: Path) -> None:
        left[0] -= 1
        if not left[0]:
            raise Killed

    return on_checkpoint


# The first draws samples between checkpoints, and its second epoch begins at step 6; the second has two phases.
KILLED_TWICE = ("vae of digits", "dcgan")


@pytest.mark.usefixtures("no_plots")
@pytest.mark.parametrize("name", SETTINGS)
def test_a_killed_run_goes_on_to_the_same_weights(name: str, data: dict[str, Dataset], tmp_path: Path) -> None:
    """At step 2 of 4, so that what a discriminator learned after it counts; or at steps 3 and 6 of 8."""
    twice = name in KILLED_TWICE
    num_steps, sample_every, checkpoint_every = (8, 4, 3) if twice else (4, 4, 2)
    schedule = replace(SCHEDULE, num_steps=num_steps, sample_every=sample_every, checkpoint_every=checkpoint_every)
    whole = train(name, data, tmp_path / "whole", schedule)
    for _ in range(1 + twice):
        with pytest.raises(Killed):
            train(name, data, tmp_path / "killed", schedule, on_checkpoint=killed_after(1))
    resumed = train(name, data, tmp_path / "killed", schedule)
    assert resumed["files"] == whole["files"]
    assert resumed["training"]["last_losses"] == whole["training"]["last_losses"]
    assert not list((tmp_path / "killed").glob("*.partial"))


@pytest.mark.usefixtures("no_plots")
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


@pytest.mark.usefixtures("no_plots")
def test_another_seed_gives_other_weights(data: dict[str, Dataset], tmp_path: Path) -> None:
    first, other = (
        train("vae of digits", data, tmp_path / f"{seed}", replace(SCHEDULE, num_steps=2, seed=seed)) for seed in (3, 4)
    )
    assert first["files"] != other["files"]


def test_a_run_leaves_weights_card_curve_and_samples(data: dict[str, Dataset], tmp_path: Path) -> None:
    reports: list[Progress] = []
    card = train("ddpm", data, tmp_path, on_progress=reports.append)
    with safe_open(tmp_path / WEIGHTS, "pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == [
        "000000.png",
        "000006.png",
        "000012.png",
    ]
    with Image.open(tmp_path / "losses.png") as plot:
        assert plot.width > 300
    assert (reports[-1].step, reports[-1].total) == (12, 12) and reports[-1].losses.keys() == {"v_loss"}
    assert card["training"]["images"] == 24 and card["training"]["num_steps"] == 12
    assert card["training"]["seconds"] > 0 and card["architecture"]["name"] == "ddpm"


@pytest.mark.usefixtures("no_plots")
def test_a_checkpoint_of_other_settings_is_refused(data: dict[str, Dataset], tmp_path: Path) -> None:
    train("gan", data, tmp_path, replace(SCHEDULE, num_steps=1))
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


@pytest.mark.usefixtures("no_plots")
@pytest.mark.parametrize("name", ["vae of digits", "dcgan", "cyclegan", "ddpm"])
def test_a_run_that_finishes_early_keeps_its_model(name: str, data: dict[str, Dataset], tmp_path: Path) -> None:
    """Its weights are those of the same step of the whole run, and its last grid is of them."""
    grids: list[Progress] = []
    card = train(name, data, tmp_path, on_step=lambda step: step == 5, on_progress=grids.append)
    assert card["training"]["steps_taken"] == 5 and card["training"]["num_steps"] == 12
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["000000.png", "000005.png"]
    assert grids[-1].step == 5 and grids[-1].grid is not None
    load_weights(build(card["architecture"]), tmp_path / WEIGHTS)
    warned = [warning["code"] for warning in card["training"].get("warnings", ())]
    assert warned == (["encoder_untrained"] if name == "dcgan" else [])


def test_every_grid_is_reported_in_the_step_it_is_made(data: dict[str, Dataset], tmp_path: Path) -> None:
    reports: list[Progress] = []
    schedule = replace(SCHEDULE, num_steps=7, sample_every=3, checkpoint_every=100)
    train("vae of digits", data, tmp_path, schedule, on_progress=reports.append)
    assert [progress.step for progress in reports] == [0, 3, 6, 7]
    grids = [progress.grid for progress in reports]
    assert all(a is not None and a is not b for a, b in pairwise(grids))


@pytest.mark.parametrize("name", ["num_steps", "batch_size", "sample_every", "checkpoint_every"])
def test_a_schedule_counts_from_one(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        replace(SCHEDULE, **{name: 0})
