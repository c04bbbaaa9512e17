"""The parts that training loops share: resumable steps, losses, checkpoints, sample grids and the card.

The random numbers of a step depend only on the seed and the step: the loop draws from torch's global generator, which
`steps` seeds at each step. A checkpoint therefore needs no generator state, and a run that was killed and resumed ends
with the same weights as one that was not.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from models.catalogue import Card
from models.data.dataset import contact_sheet
from models.errors import DataError, DivergedError, NotFiniteError
from models.tensors import best_device, not_finite, to_pixels
from models.training.plots import plot_losses

Module = TypeVar("Module", bound=nn.Module)
Start = tuple[nn.Module, Card]
State = nn.Module | Optimizer | dict[str, Tensor]  # a part of a checkpoint
CHECKPOINT = "checkpoint.safetensors"
EARLIER_FACTS = {"pictures": "images"}  # keys in checkpoints of an earlier version, and their present names
FLUSH_EVERY = 25  # steps between two reads of the losses; each read waits for the GPU


class ResumeError(ValueError):
    """A checkpoint belongs to a run with other settings or data."""


@dataclass(frozen=True)
class Progress:
    """Progress of a run: its step, the number of all steps, the latest losses and the newest sample grid (h, w, 3).

    curve: the losses of each step so far, also of those before a checkpoint that the run was resumed from.
    """

    step: int
    total: int
    losses: dict[str, float]
    grid: NDArray[np.uint8] | None
    curve: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Schedule:
    """How long to train, and how often to write samples and checkpoints."""

    num_steps: int
    batch_size: int
    seed: int = 0
    sample_every: int = 500
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        for name in ("num_steps", "batch_size", "sample_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


class Run:
    """One training run in a folder.

    facts: the settings and the data of the run; a checkpoint with other facts is refused. start: an earlier model,
    whose weights are the initial ones, and its card. find: loads another model that the settings name, and its card.

    `on_progress` is called at the start, every `FLUSH_EVERY` steps, at checkpoints and with each new sample grid;
    `on_step` is called with the number of each step. An exception from either ends the run after a last checkpoint. If
    `on_step` returns true, that step is the last one. `on_checkpoint` gets the path of each complete checkpoint.
    """

    def __init__(
        self,
        folder: Path,
        schedule: Schedule,
        facts: Mapping[str, Any],
        *,
        start: Start | None = None,
        find: Callable[[str], Start] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_step: Callable[[int], bool | None] | None = None,
        on_checkpoint: Callable[[Path], None] | None = None,
    ) -> None:
        self.folder = folder
        self.schedule = schedule
        self.start = start
        self._find = find
        self.facts = json.loads(json.dumps({**facts, **asdict(schedule)}))
        self.device = best_device()
        self.curve: dict[str, list[float]] = {}
        self.seconds = 0.0
        self.step = 0
        self.last_step = schedule.num_steps  # earlier than num_steps after a request to finish
        self._pending: list[dict[str, Tensor]] = []
        self._on_progress = on_progress
        self._on_step = on_step
        self._on_checkpoint = on_checkpoint
        self.sample_captions: Sequence[str] = ()  # of the images in the grids
        self._grid: NDArray[np.uint8] | None = None
        self._latest: dict[str, float] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def steps(self, sample: Callable[[], Tensor], **state: State) -> Iterator[int]:
        """Yields the steps that remain after the last checkpoint, which is restored into `state`.

        `sample` returns images (n, channels, h, w) in [0, 1] for the grid; the first is of step 0. Raises DivergedError
        and ResumeError.
        """
        self._restore(state)
        if self.step == 0:
            self._show(sample())
        self._report_progress()
        total = self.schedule.num_steps
        bar = tqdm(total=total, initial=self.step, desc=self.folder.name, mininterval=1, disable=None)
        started = time.perf_counter() - self.seconds
        while self.step < self.last_step:
            torch.manual_seed(self.schedule.seed * 1_000_003 + self.step)
            yield self.step
            self.step += 1
            self.seconds = time.perf_counter() - started
            bar.update()
            if self._on_step and self._saved_if_it_raises(partial(self._on_step, self.step), bar, state):
                self.last_step = self.step
            checkpoint_due = self._due(self.schedule.checkpoint_every)
            sample_due = self._due(self.schedule.sample_every)
            if checkpoint_due or sample_due or self._due(FLUSH_EVERY):
                self._flush(bar)  # before the checkpoint, so that no diverged state is saved
                if sample_due:
                    self._show(sample())
                self._saved_if_it_raises(self._report_progress, bar, state)
            if checkpoint_due:
                self._save(state)
        bar.close()

    def find(self, name: str) -> Start:
        """Loads a model that the settings name, and its card; raises DataError where there is none."""
        if self._find is None:
            raise DataError(f"there is no trained model in {name}")
        return self._find(name)

    def batch(self, *columns: Tensor) -> tuple[Tensor, ...]:
        """Returns this step's rows of each column, all of one length: each epoch visits every row once, shuffled."""
        n, size = len(columns[0]), min(self.schedule.batch_size, len(columns[0]))
        epoch, k = divmod(self.step, max(1, n // size))
        order = torch.randperm(n, generator=torch.Generator().manual_seed(self.schedule.seed * 1_000_003 + epoch))
        rows = order[k * size : (k + 1) * size].to(columns[0].device)
        return tuple(column[rows] for column in columns)

    def set_learning_rate(self, optimizer: Optimizer, peak: float) -> None:
        """Sets the learning rate of this step: linear to `peak` over the first 2 % of the steps, then cosine to 0."""
        done = self.step / self.schedule.num_steps
        for group in optimizer.param_groups:
            group["lr"] = peak * min(1.0, done / 0.02 + 1e-3) * (1 + math.cos(math.pi * done)) / 2

    def log(self, **losses: Tensor) -> None:
        """Records the losses of this step."""
        self._pending.append({name: value.detach().float() for name, value in losses.items()})

    def diverged(self, what: str) -> DivergedError:
        """Returns the error that `what` is no longer finite at the current step."""
        message = f"The {what} were no longer finite by step {self.step} of {self.schedule.num_steps}; "
        return DivergedError(message + "a smaller learning rate may help.", self.curve)

    def _saved_if_it_raises(self, call: Callable[[], Any], bar: "tqdm[Any]", state: Mapping[str, State]) -> Any:
        try:
            return call()
        except Exception:  # any error ends the run; a checkpoint of its state is written
            self._flush(bar)
            self._save(state)
            raise

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.last_step

    def _flush(self, bar: "tqdm[Any]") -> None:
        for losses in self._pending:
            for name, value in losses.items():
                self.curve.setdefault(name, []).append(float(value))
        self._pending.clear()
        latest = {name: float(np.mean(values[-FLUSH_EVERY:])) for name, values in self.curve.items()}
        bar.set_postfix({name: f"{value:.4g}" for name, value in latest.items()})
        if not all(np.isfinite(value) for value in latest.values()):
            self._plot()
            raise self.diverged("losses")
        self._latest = latest

    def _report_progress(self) -> None:
        if self._on_progress:
            self._on_progress(Progress(self.step, self.schedule.num_steps, self._latest, self._grid, self.curve))

    def _show(self, images: Tensor) -> None:
        try:
            pixels = to_pixels(images.float())
        except NotFiniteError as error:
            raise self.diverged("samples") from error
        scale = max(1, (192 if self.sample_captions else 48) // pixels.shape[1])
        sheet = contact_sheet(pixels, round(len(pixels) ** 0.5), self.sample_captions, scale)
        self._grid = np.asarray(sheet.convert("RGB"))
        samples = self.folder / "samples"
        samples.mkdir(exist_ok=True)
        sheet.save(samples / f"{self.step:06}.png")
        self._plot()

    def _plot(self) -> None:
        if self.curve:
            plot_losses(self.curve).save(self.folder / "losses.png")

    def _save(self, state: Mapping[str, State]) -> None:
        tensors = {f"{name}/{key}": value for name, part in state.items() for key, value in _tensors(part).items()}
        # A loss is computed before its step, so it does not show weights that the step made infinite.
        if not_finite(tensors):
            raise self.diverged("weights")
        tensors |= {f"curve/{name}": torch.tensor(values, dtype=torch.float64) for name, values in self.curve.items()}
        metadata = {"step": str(self.step), "seconds": str(self.seconds), "facts": json.dumps(self.facts)}
        path = self.folder / CHECKPOINT
        partial = path.with_suffix(".partial")
        save_file({name: value.contiguous() for name, value in tensors.items()}, partial, metadata)
        partial.replace(path)
        if self._on_checkpoint:
            self._on_checkpoint(path)

    def _restore(self, state: Mapping[str, State]) -> None:
        path = self.folder / CHECKPOINT
        if not path.is_file():
            return
        # To the CPU, where an optimizer keeps its step counters; modules and optimizers copy the rest to the device.
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts = {EARLIER_FACTS.get(key, key): value for key, value in json.loads(metadata["facts"]).items()}
        if facts != self.facts:
            other = sorted(key for key in facts.keys() | self.facts.keys() if facts.get(key) != self.facts.get(key))
            raise ResumeError(
                f"{path} belongs to a run with another {', '.join(other)}: choose another folder or remove it"
            )
        for name, part in state.items():
            kept = _below(tensors, f"{name}/")
            if isinstance(part, dict):
                kept = {key: value.to(self.device) for key, value in kept.items()}
            _restore_part(part, kept)
        self.curve = {name: values.tolist() for name, values in _below(tensors, "curve/").items()}
        self.step, self.seconds = int(metadata["step"]), float(metadata["seconds"])


def averaged(module: Module, decay: float) -> tuple[AveragedModel, Module]:
    """Returns the exponential moving average of a module's weights and buffers, and the averaged module.

    `update_parameters` on the first after each step. After t steps the decay is at most (1 + t) / (10 + t), as in
    diffusers' EMAModel: with a constant 0.998, three quarters of the untrained weights would remain after 150 steps.
    """

    def update(kept: Any, current: Any, n_averaged: Any) -> None:
        t = int(average.n_averaged)  # on the CPU: reading `n_averaged` would wait for the GPU
        get_ema_multi_avg_fn(min(decay, (1 + t) / (10 + t)))(kept, current, n_averaged)

    average = AveragedModel(module, multi_avg_fn=update, use_buffers=True)
    return average, cast(Module, average.module)


def _tensors(part: State) -> dict[str, Tensor]:
    if isinstance(part, nn.Module):
        return dict(part.state_dict())
    if isinstance(part, Optimizer):
        entries = part.state_dict()["state"].items()
        return {f"{index}.{key}": value for index, entry in entries for key, value in entry.items()}
    return part


def _restore_part(part: State, tensors: dict[str, Tensor]) -> None:
    if isinstance(part, nn.Module):
        part.load_state_dict(tensors)
    elif isinstance(part, Optimizer):
        entries: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            index, key = name.split(".")
            entries.setdefault(int(index), {})[key] = value
        part.load_state_dict({"state": entries, "param_groups": part.state_dict()["param_groups"]})
    else:
        part.clear()
        part.update(tensors)


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
