"""Runs trainings: any recipe of models.training, resumed from the checkpoint of the last attempt."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import numpy as np
from PIL import Image

from jobs.requests.training import StyleTraining, Training
from jobs.settings import get_settings
from models.build import WEIGHTS, load_model
from models.data.dataset import Dataset, in_gray
from models.data.named import named_dataset
from models.seeds import folded
from models.tensors import best_device
from models.training.recipe import Recipe, train_model
from models.training.run import CHECKPOINT, Progress, ResumeError, Schedule, Start
from worker.files import Files
from worker.run import JobResult, OutputImage, Pixels, Task
from worker.runners.archive import read_archive
from worker.runners.images import floats
from worker.runners.network import loaded_vgg

CURVE_POINTS = 120  # of the losses in the record of a job
LOSSES_EVERY_S = 2.0


def run_training(task: Task[Training]) -> JobResult:
    """A trained model, its last samples and its losses; raises DataError and DivergedError."""
    prefix = f"atelier-{task.files.job_id}-"
    for leftover in Path(gettempdir()).glob(f"{prefix}*"):  # of an attempt whose worker was killed
        rmtree(leftover, ignore_errors=True)
    with TemporaryDirectory(prefix=prefix) as name:
        return _trained(task, task.files, Path(name))


def _trained(task: Task[Training], files: Files, folder: Path) -> JobResult:
    params = task.params

    task.notes["device"] = str(best_device())
    with task.loading():
        recipe: Recipe = import_module(f"models.training.{params.recipe.replace('-', '_')}").RECIPE
        if isinstance(params, StyleTraining):
            recipe = _of_style(recipe, task, params)
        dataset = _dataset(task, files, params, recipe)
        files.fetch_checkpoint(folder / CHECKPOINT)
        start = _start(task, params.begins_with) if params.begins_with else None
        if start and start[1].architecture.get("channels") == 1:
            dataset = in_gray(dataset)
    card = _train(task, _Reporter(task, files, params.num_steps), recipe, dataset, start, folder)
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
    images = [
        OutputImage(_pixels(folder / "samples" / f"{steps:06}.png"), "grid"),
        OutputImage(_pixels(folder / "losses.png"), "plot"),
    ]
    revision = files.store(folder / WEIGHTS)[:16]
    return JobResult(images, {card["id"]: revision}, training["versions"], metrics, card)


def _dataset(task: Task, files: Files, params: Training, recipe: Recipe) -> Dataset:
    def on_read(n: int) -> None:
        task.report_progress(0, params.num_steps, f"{n:,} images read")

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


def _of_style(recipe: Recipe, task: Task, params: StyleTraining) -> Recipe:
    """The recipe `style` with what it needs beside photos."""
    from models.training.style import Painting, builtin_weights, train_style

    image = floats(task.read_image(params.style))
    painting = Painting(image, loaded_vgg(task, "vgg16"), builtin_weights(get_settings().weights_dir))
    return replace(recipe, train=partial(train_style, painting=painting))


def _start(task: Task, model_id: str) -> Start:
    """Loads the model that the training starts from, not from the cache since it changes; also returns its card."""
    card = task.find_model(model_id)
    return load_model(card, get_settings().weights_dir), card


def curve_points(curve: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    """Thins the losses of each step to at most `CURVE_POINTS` points: the mean of each span of steps, at its last."""
    n = max(map(len, curve.values()), default=0)
    span = -(-n // CURVE_POINTS)
    return [
        {
            "step": min(start + span, n),
            "losses": {
                name: float(f"{np.mean(part):.4g}") for name, losses in curve.items() if (part := losses[start:][:span])
            },
        }
        for start in range(0, n, span or 1)
    ]


class _Reporter:
    """Reports the progress of a run: every step, so that a cancel is noticed, and each new grid and its losses."""

    def __init__(self, task: Task, files: Files, total: int) -> None:
        self.files = files
        self._task = task
        self._total = total
        self._step = 0
        self._message = "training"
        self._newest: Pixels | None = None
        self._begun = False  # whether the step at which this attempt begins is reported
        self._next_losses = 0.0

    def on_progress(self, progress: Progress) -> None:
        losses = ", ".join(f"{name.replace('_', ' ')} {loss:.4g}" for name, loss in progress.losses.items())
        self._message = losses or self._message
        begins, self._begun = not self._begun, True
        self._step = progress.step
        if progress.curve and (time.monotonic() >= self._next_losses or self._step == self._total):
            self._next_losses = time.monotonic() + LOSSES_EVERY_S
            self.files.keep_losses(curve_points(progress.curve))
        if begins or progress.grid is not self._newest:
            self._newest = progress.grid
            self._report(progress.grid, begins)

    def on_step(self, step: int) -> bool:
        """Reports a step; returns whether it is the last one."""
        self._step = step
        self._report()
        if self._task.finishing():
            self._total = step
        return step == self._total

    def on_checkpoint(self, path: Path) -> None:
        # After the last step the model itself is stored.
        if self._step < self._total:
            self.files.keep_checkpoint(path, self._step)

    def _report(self, grid: Pixels | None = None, begins: bool = False) -> None:
        image = None if grid is None else lambda: grid
        self._task.report_progress(
            self._step, self._total, self._message, image, preview_due=grid is not None, begins=begins
        )


def _train(
    task: Task[Training], reporter: _Reporter, recipe: Recipe, dataset: Dataset, start: Start | None, folder: Path
) -> dict[str, Any]:
    """Trains to the last step; returns the model's card."""
    # A request has all settings except folders of one machine, such as an autoencoder's.
    requested = task.params.model_dump() | {"seed": folded(task.seed)}
    chosen = {field.name: requested[field.name] for field in fields(recipe.settings) if field.name in requested}
    settings = recipe.settings(**{k: tuple(v) if isinstance(v, list) else v for k, v in chosen.items()})
    schedule = Schedule(**{field.name: requested[field.name] for field in fields(Schedule)})

    def train() -> dict[str, Any]:
        return train_model(
            recipe,
            dataset,
            settings,
            schedule,
            folder,
            model_id=f"{recipe.name}-{reporter.files.job_id[-12:]}",
            data=task.params.data,
            start=start,
            find=lambda model_id: _start(task, model_id),
            on_progress=reporter.on_progress,
            on_step=reporter.on_step,
            on_checkpoint=reporter.on_checkpoint,
        )

    try:
        return train()
    except ResumeError:  # the data set or the recipe has changed
        (folder / CHECKPOINT).unlink()
        return train()


def _pixels(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
