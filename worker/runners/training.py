"""Runs trainings: any recipe of models.training, going on from the checkpoint that the last attempt left."""

import math
from collections.abc import Callable
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from pydantic import TypeAdapter

from jobs.errors import AtelierError
from jobs.requests.training import Training
from jobs.settings import get_settings
from models.catalogue import WeightsError
from worker.files import Files
from worker.run import Made, Picture, Pixels, Task
from worker.runners.archive import read_archive

if TYPE_CHECKING:  # they load torch, which the worker's parent process does without
    from models.data.dataset import Dataset
    from models.training.recipe import Recipe
    from models.training.run import Progress, Start

_PARAMS: TypeAdapter[Training] = TypeAdapter(Training)
MAX_POINTS = 200  # of each loss in the details of a failed job


def run_training(task: Task) -> Made:
    """A trained model, with its last samples and its losses.

    Raises `AtelierError`: `bad_data` for pictures that cannot be used, `diverged` with the losses in its details.
    """
    from models.data.dataset import DataError
    from models.training.run import TrainingDivergedError

    assert task.files is not None
    params = _PARAMS.validate_python(task.params)
    prefix = f"atelier-{task.files.job_id}-"
    for left in Path(gettempdir()).glob(f"{prefix}*"):  # by an attempt whose worker was killed
        rmtree(left, ignore_errors=True)
    with TemporaryDirectory(prefix=prefix) as name:
        try:
            return _trained(task, task.files, params, Path(name))
        except DataError as error:
            raise AtelierError("bad_data", f"The images cannot be used: {error}.") from error
        except TrainingDivergedError as error:
            raise AtelierError("diverged", str(error), **_thinned(error.curve)) from error


def _trained(task: Task, files: Files, params: Training, folder: Path) -> Made:
    from models.build import WEIGHTS
    from models.tensors import best_device
    from models.training.run import CHECKPOINT

    task.notes["device"] = str(best_device())
    with task.loading():
        recipe: Recipe = import_module(f"models.training.{params.recipe}").RECIPE
        dataset = _dataset(task, files, params, recipe)
        files.fetch_checkpoint(folder / CHECKPOINT)
        start = _start(task, params.start) if params.start else None
    card = _train(task, _Told(task, files, params.num_steps), recipe, dataset, start, folder)
    card |= {"title": params.title} if params.title else {}
    training = card["training"]
    for warning in training.get("warnings", ()):
        task.warn(**warning)
    steps = training["steps_taken"]
    metrics = {
        "model": card["id"],
        "losses": training["last_losses"],
        "seconds": training["seconds"],
        "steps": steps,
    }
    pictures = [
        Picture(_pixels(folder / "samples" / f"{steps:06}.png"), "grid"),
        Picture(_pixels(folder / "losses.png"), "plot"),
    ]
    revision = files.store(folder / WEIGHTS)[:16]
    return Made(pictures, {card["id"]: revision}, training["versions"], metrics, card)


def _dataset(task: Task, files: Files, params: Training, recipe: "Recipe") -> "Dataset":
    from models.data.named import named_dataset

    def on_read(n: int) -> None:
        task.step(0, params.num_steps, f"{n:,} images read")

    on_read(0)
    if params.archive is None:
        return named_dataset(params.data, limit=params.limit, on_read=on_read)
    dataset = read_archive(
        task,
        files,
        params.archive,
        params.size,
        channels=params.channels,
        on_read=on_read,
        minimum=params.min_images,
        limit=params.limit,
    )
    if dataset.captions and not recipe.captions:
        task.warn("captions_not_used", f"The images have captions, which recipe {recipe.name} does not use.")
    return dataset


def _start(task: Task, model_id: str) -> "Start":
    """The model to begin with, of which nothing else is cached, and its card; raises `AtelierError`."""
    from models.build import load_model

    card = task.find_model(model_id)
    try:
        return load_model(card, get_settings().weights_dir), card
    except WeightsError as error:
        raise AtelierError("weights_unavailable", str(error), model=error.model_id) from error


def _train(
    task: Task, told: "_Told", recipe: "Recipe", dataset: "Dataset", start: "Start | None", folder: Path
) -> dict[str, Any]:
    """Train to the end; returns the model's card."""
    from models.seeds import folded
    from models.training.recipe import train_model
    from models.training.run import CHECKPOINT, ResumeError, Schedule

    # A request has all of them but folders of one machine, such as an autoencoder's.
    chosen = {field.name: task.params[field.name] for field in fields(recipe.settings) if field.name in task.params}
    settings = recipe.settings(**{k: tuple(v) if isinstance(v, list) else v for k, v in chosen.items()})
    asked = task.params | {"seed": folded(task.params["seed"])}
    schedule = Schedule(**{field.name: asked[field.name] for field in fields(Schedule)})

    def train() -> dict[str, Any]:
        return train_model(
            recipe,
            dataset,
            settings,
            schedule,
            folder,
            model_id=f"{recipe.name}-{told.files.job_id[-12:]}",
            data=task.params["data"],
            start=start,
            on_progress=told.on_progress,
            on_step=told.on_step,
            on_checkpoint=told.on_checkpoint,
        )

    try:
        return train()
    except ResumeError:  # the set has changed since, or the recipe has
        (folder / CHECKPOINT).unlink()
        return train()


class _Told:
    """Passes on to the job what its run reports: every step, so that a cancel is noticed, and each new grid."""

    def __init__(self, task: Task, files: Files, total: int) -> None:
        self.files = files
        self._task = task
        self._total = total
        self._step = 0
        self._message = "training"
        self._newest: Pixels | None = None

    def on_progress(self, progress: "Progress") -> None:
        self._message = ", ".join(f"{name.replace('_', ' ')} {loss:.4g}" for name, loss in progress.losses.items())
        if progress.grid is not None and progress.grid is not self._newest:
            self._newest = progress.grid
            self._report(lambda: progress.grid)

    def on_step(self, step: int) -> bool:
        """Reports a step; returns whether it is to be the last one."""
        self._step = step
        self._report()
        if self._task.finishing():
            self._total = step
        return step == self._total

    def on_checkpoint(self, path: Path) -> None:
        # After the last step comes the model itself; from here nothing would be left to do, and nothing to show.
        if self._step < self._total:
            self.files.keep_checkpoint(path, self._step)

    def _report(self, grid: Callable[[], Any] | None = None) -> None:
        self._task.step(self._step, self._total, self._message, grid, preview_due=grid is not None)


def _thinned(curve: dict[str, list[float]]) -> dict[str, Any]:
    """At most MAX_POINTS of each loss, `every` so many steps; null where it was not finite."""
    every = math.ceil(max(len(losses) for losses in curve.values()) / MAX_POINTS)
    thinned = {
        name: [loss if math.isfinite(loss) else None for loss in losses[::every]] for name, losses in curve.items()
    }
    return {"every": every, "curve": thinned}


def _pixels(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
