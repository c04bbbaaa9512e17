"""A recipe: settings, a loop and what it leaves behind; and the command every recipe shares."""

import argparse
import json
import platform
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

from models.build import WEIGHTS, build
from models.catalogue import Card, file_sha256
from models.data.dataset import Dataset
from models.data.named import NAMED, any_dataset
from models.errors import DataError, NotFiniteError
from models.familiarity import training_facts
from models.tensors import fast_dtype, load_weights, on_device, save_weights
from models.training.run import Module, Progress, Run, Schedule, Start

CARD = "card.json"


@dataclass(frozen=True)
class Trained:
    """What a loop returns: architecture with arguments, the state dict to keep, how parts were trained before.

    warnings: what whoever uses the model should know, each a `code` and a `message`.
    """

    architecture: dict[str, Any]
    state: Mapping[str, Tensor]
    parts: dict[str, Any] = field(default_factory=dict)
    warnings: Sequence[dict[str, str]] = ()


@dataclass(frozen=True)
class Recipe:
    """How one sort of model is trained.

    settings: a frozen dataclass of what is chosen for it. train: (dataset, settings, run) to what it left.
    """

    name: str
    task: str
    title: str
    settings: type[Any]
    schedule: Schedule
    train: Callable[[Dataset, Any, Run], Trained]
    image_size: int = 64  # of folders and zips
    channels: int = 3
    captions: bool = False  # whether it trains on captions


def train_model(
    recipe: Recipe,
    dataset: Dataset,
    settings: Any,
    schedule: Schedule,
    folder: Path,
    *,
    model_id: str,
    data: str,
    start: Start | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_step: Callable[[int], bool | None] | None = None,
    on_checkpoint: Callable[[Path], None] | None = None,
) -> dict[str, Any]:
    """Trains, or resumes from the folder's checkpoint; leaves weights, card, curve and samples there; returns the card.

    start: an earlier model of the same architecture to begin with, and its card. Raises DataError where it does not
    fit, and DivergedError, also for weights that are finite in fp32 and not in the fp16 they are kept in.
    """
    facts = {"recipe": recipe.name, "data": data, "pictures": len(dataset), **asdict(settings)}
    facts |= {"start": start[1].id} if start else {}
    run = Run(
        folder, schedule, facts, start=start, on_progress=on_progress, on_step=on_step, on_checkpoint=on_checkpoint
    )
    try:
        trained = recipe.train(dataset, settings, run)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]  # of latent codes that are not finite, though the weights are
        raise run.diverged("latent codes") from error
    try:
        save_weights(trained.state, folder / WEIGHTS)
    except NotFiniteError as error:
        raise run.diverged("weights") from error
    model = on_device(build(trained.architecture), run.device).eval()
    load_weights(model, folder / WEIGHTS)
    known = training_facts(model, dataset, run.device)
    parts = trained.parts | ({"start": start[1].training} if start else {})
    card = {
        "id": model_id,
        "task": recipe.task,
        "title": f"{recipe.title} on {data}",
        "description": f"{recipe.title}, trained on {len(dataset):,} pictures of {data}.",
        "licence": "MIT" if data in NAMED else "that of its pictures",
        "source": {"kind": "trained", "recipe": recipe.name, "data": data},
        "files": {WEIGHTS: file_sha256(folder / WEIGHTS)},
        "architecture": trained.architecture,
        "training": {
            **run.facts,
            "image_size": dataset.images.shape[1],
            "steps_taken": run.step,
            "seconds": round(run.seconds, 1),
            "hardware": _hardware(run.device),
            "versions": {"torch": version("torch"), "diffusers": version("diffusers")},
            **({"parts": parts} if parts else {}),
            **known,
            **({"warnings": list(trained.warnings)} if trained.warnings else {}),
            "last_losses": {name: round(values[-1], 5) for name, values in run.curve.items()},
        },
        "quality": {},
    }
    (folder / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return card


def frozen_model(name: str) -> tuple[nn.Module, Card]:
    """The trained model of the folder its training left, to be part of another, and its card; raises DataError."""
    path = Path(name) / CARD
    if not path.is_file():
        raise DataError(f"there is no trained model in {name}")
    found = Card(**json.loads(path.read_text(encoding="utf-8")))
    model = build(found.architecture)
    load_weights(model, path.with_name(WEIGHTS))
    return model.eval().requires_grad_(False), found


def begun(model: Module, architecture: Mapping[str, Any], run: Run, free: Sequence[str] = ()) -> Module:
    """An untrained model with the weights of the run's start, where it has one; raises DataError where they do not fit.

    free: arguments of the architecture that may differ, since no weight's shape depends on them.
    """
    if run.start:
        start, card = run.start
        names = (architecture.keys() | card.architecture.keys()) - {*free}
        other = sorted(name for name in names if architecture.get(name) != card.architecture.get(name))
        if other:
            values = [f"{name} {card.architecture.get(name)}, not {architecture.get(name)}"[:200] for name in other]
            raise DataError(f"start: {card.id} has {'; '.join(values)}")
        model.load_state_dict(start.state_dict())
    return model


def architecture_of(card: Card) -> dict[str, Any]:
    """The arguments a card's model is made with."""
    return {name: value for name, value in card.architecture.items() if name != "name"}


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads, {fast_dtype(device)}".replace("torch.", "")


def command(recipe: Recipe, argv: Sequence[str] | None = None) -> int:
    """`python -m models.training.<recipe>`: every setting is an option; run again after a kill, it goes on."""
    parser = argparse.ArgumentParser(
        prog=f"python -m models.training.{recipe.name}",
        description=f"{recipe.title}. Run again after an interruption, it goes on from its last checkpoint.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--data", required=True, help=f"{', '.join(NAMED)}, or a folder or zip of pictures")
    parser.add_argument("--limit", type=int, help="use so many pictures at most")
    parser.add_argument("--id", required=True, help="what the model is to be called")
    parser.add_argument("--start", help="folder of an earlier training whose weights it begins with")
    parser.add_argument("--out", type=Path, default=Path("data/training"), help="the run's folder is made in it")
    _add_options(parser, recipe.settings)
    _add_options(parser, Schedule, recipe.schedule)
    args = parser.parse_args(argv)
    chosen = {kind: {f.name: getattr(args, f.name) for f in fields(kind)} for kind in (recipe.settings, Schedule)}
    try:
        settings, schedule = recipe.settings(**chosen[recipe.settings]), Schedule(**chosen[Schedule])
        dataset = any_dataset(args.data, size=recipe.image_size, channels=recipe.channels, limit=args.limit)
        for warning in dataset.report.warnings:
            print(f"{warning['code']}: {warning['message']}", file=sys.stderr)
        for name, reason in dataset.report.skipped:
            print(f"left out: {name}: {reason}", file=sys.stderr)
        folder = args.out / args.id
        start = frozen_model(args.start) if args.start else None
        data = Path(args.data).stem
        train_model(recipe, dataset, settings, schedule, folder, model_id=args.id, data=data, start=start)
    except (DataError, ValueError) as error:
        parser.error(str(error))
    print(f"{args.id}: {folder / WEIGHTS}")
    return 0


def _add_options(parser: argparse.ArgumentParser, kind: type[Any], defaults: Any = None) -> None:
    hints = get_type_hints(kind)
    for option in fields(kind):
        default = getattr(defaults, option.name) if defaults else option.default
        many = get_origin(hints[option.name]) is tuple
        parser.add_argument(
            f"--{option.name.replace('_', '-')}",
            type=_element(hints[option.name]),
            nargs="*" if many else None,
            default=default,
            required=default is MISSING,
            help=option.metadata.get("help", "of the schedule" if defaults else "a setting"),
        )


def _element(hint: Any) -> Any:
    """The type of one word of an option: int of int, of tuple[int, ...] and of int | None."""
    if get_origin(hint) in (tuple, Union, types.UnionType):
        return get_args(hint)[0]
    return hint
