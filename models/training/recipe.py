"""Training recipes: settings, a training loop and the files it writes; and the command that all recipes share."""

import argparse
import json
import platform
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

from models.build import LORA, WEIGHTS, build, load_model
from models.catalogue import Card, cards, file_sha256, read_card
from models.data.dataset import Dataset, in_gray
from models.data.named import NAMED, any_dataset
from models.errors import DataError, NotFiniteError
from models.familiarity import training_facts
from models.tensors import Module, expect_class, fast_dtype, load_weights, on_device, save_weights
from models.training.run import Progress, Run, Schedule, Start

CARD = "card.json"
# Parts of models, by their name on cards: the attribute that has them, and their architecture.
PARTS = {"clip": {"clip": "clip"}, "autoencoder": {"movq": "movq", "vae": "autoencoder-kl"}}


@dataclass(frozen=True)
class Trained:
    """Result of a training loop.

    architecture: name and arguments. state: the state dict to store. parts: how parts of the model were trained before.
    warnings: what users of the model should know, each a `code` and a `message`. facts: more of its training data.
    """

    architecture: dict[str, Any]
    state: Mapping[str, Tensor]
    parts: dict[str, Any] = field(default_factory=dict)
    warnings: Sequence[dict[str, str]] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """How one kind of model is trained.

    task: of the model; empty for that of its start. settings: a frozen dataclass of hyperparameters. train: maps
    (dataset, settings, run) to the result.
    """

    name: str
    task: str
    title: str
    settings: type[Any]
    schedule: Schedule
    train: Callable[[Dataset, Any, Run], Trained]
    image_size: int = 64  # of folders and zip files
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
    find: Callable[[str], Start] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_step: Callable[[int], bool | None] | None = None,
    on_checkpoint: Callable[[Path], None] | None = None,
) -> dict[str, Any]:
    """Trains a model, or resumes from the folder's checkpoint, and writes weights, card, losses and samples there.

    Returns the card. start: an earlier model of the same architecture, whose weights are the initial ones, and its
    card. find: loads a model that the settings name, by default from its folder. Raises DataError where it does not
    fit, and DivergedError, also for weights that are finite in fp32 but not in fp16, in which they are stored.
    """
    facts = {"recipe": recipe.name, "data": data, "images": len(dataset), **asdict(settings)}
    facts |= {"start": start[1].id} if start else {}
    run = Run(
        folder,
        schedule,
        facts,
        start=start,
        find=find or frozen_model,
        on_progress=on_progress,
        on_step=on_step,
        on_checkpoint=on_checkpoint,
    )
    try:
        trained = recipe.train(dataset, settings, run)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]  # latent codes are not finite, though the weights are
        raise run.diverged("latent codes") from error
    try:
        save_weights(trained.state, folder / WEIGHTS)
    except NotFiniteError as error:
        raise run.diverged("weights") from error
    card = {"id": model_id, **_card(recipe, dataset, data, run, trained)}
    (folder / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return card


def _card(recipe: Recipe, dataset: Dataset, data: str, run: Run, trained: Trained) -> dict[str, Any]:
    """Returns the card of a model whose weights are in the run's folder, without its id."""
    parts = trained.parts | ({"start": run.start[1].training} if run.start else {})
    return {
        "task": recipe.task or cast(Start, run.start)[1].task,
        "title": f"{recipe.title} on {data}",
        "description": f"{recipe.title}, trained on {len(dataset):,} images of {data}.",
        "license": _license(data, run),
        "source": {"kind": "trained", "recipe": recipe.name, "data": data},
        "files": {WEIGHTS: file_sha256(run.folder / WEIGHTS)},
        "architecture": trained.architecture,
        "training": {
            **run.facts,
            "image_size": dataset.images.shape[1],
            "steps_taken": run.step,
            "seconds": round(run.seconds, 1),
            "hardware": _hardware(run.device),
            "versions": {"torch": version("torch"), "diffusers": version("diffusers")},
            **({"parts": parts} if parts else {}),
            **_familiar(trained.architecture, dataset, run),
            **trained.facts,
            **({"warnings": list(trained.warnings)} if trained.warnings else {}),
            "last_losses": {name: round(values[-1], 5) for name, values in run.curve.items()},
        },
        "quality": {},
    }


def _license(data: str, run: Run) -> str:
    """Returns the license of the data, and that of the start if it is another."""
    own = "MIT" if data in NAMED else "that of its images"
    if run.start and run.start[1].license not in ("MIT", own):
        return f"{own}; and that of {run.start[1].id}: {run.start[1].license}"
    return own


def _familiar(architecture: Mapping[str, Any], dataset: Dataset, run: Run) -> dict[str, Any]:
    """Returns facts of the training data for the model in the run's folder; none for a LoRA, which is no network."""
    if architecture["name"] == LORA:
        return {}
    model = on_device(build(architecture), run.device).eval()
    load_weights(model, run.folder / WEIGHTS)
    return training_facts(model, dataset, run.device)


def part_of(start: Start, name: str) -> Start:
    """Returns the part `name` of a model, `clip` or `autoencoder`, with its architecture on the card.

    A model without such a part is returned itself.
    """
    model, card = start
    for attribute, kind in PARTS[name].items():
        if name in card.architecture and hasattr(model, attribute):
            architecture = {"name": kind, **card.architecture[name]}
            return getattr(model, attribute), replace(card, architecture=architecture)
    return start


def frozen_model(name: str) -> tuple[nn.Module, Card]:
    """Loads a model, frozen, and its card, by the folder of its training or its id; raises DataError, WeightsError."""
    path = Path(name) / CARD
    if not path.is_file():
        if name in cards():
            return load_model(cards()[name]), cards()[name]
        raise DataError(f"there is no trained model in {name}")
    card = read_card(path)
    model = build(card.architecture)
    load_weights(model, path.with_name(WEIGHTS))
    return model.eval().requires_grad_(False), card


def initial_model(
    kind: type[Module], architecture: Mapping[str, Any], run: Run, free: Sequence[str] = (), part: str = ""
) -> Module:
    """Builds a model of the class `kind` with the weights of the run's start, if it has one, on the run's device.

    Raises DataError where the start has another architecture. free: arguments of the architecture that may differ,
    because no weight's shape depends on them. part: the name of the start's part that is meant, see `part_of`.
    """
    model = expect_class(build(architecture), kind)
    if run.start:
        start, card = part_of(run.start, part) if part else run.start
        names = (architecture.keys() | card.architecture.keys()) - {*free}
        other = sorted(name for name in names if architecture.get(name) != card.architecture.get(name))
        if other:
            values = [f"{name} {card.architecture.get(name)}, not {architecture.get(name)}"[:200] for name in other]
            raise DataError(f"start: {card.id} has {'; '.join(values)}")
        model.load_state_dict(start.state_dict())
    return on_device(model, run.device)


def architecture_of(card: Card) -> dict[str, Any]:
    """Arguments of the architecture on a card, without its name."""
    return {name: value for name, value in card.architecture.items() if name != "name"}


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads, {fast_dtype(device)}".replace("torch.", "")


def command(recipe: Recipe, argv: Sequence[str] | None = None) -> int:
    """Runs `python -m models.training.<recipe>`: every setting is an option; a run resumes from its last checkpoint."""
    parser = argparse.ArgumentParser(
        prog=f"python -m models.training.{recipe.name.replace('-', '_')}",
        description=f"{recipe.title}. Run again after an interruption, it resumes from its last checkpoint.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--data", required=True, help=f"{', '.join(NAMED)}, or a folder or zip of images")
    parser.add_argument("--limit", type=int, help="the largest number of images to use")
    parser.add_argument("--gray", action="store_true", help="convert the images to gray")
    parser.add_argument("--id", required=True, help="the model's id")
    parser.add_argument("--start", help="folder of an earlier training, or id; its weights are the initial ones")
    parser.add_argument(
        "--out", type=Path, default=Path("data/training"), help="the folder in which the run's folder is created"
    )
    _add_options(parser, recipe.settings)
    _add_options(parser, Schedule, recipe.schedule)
    args = parser.parse_args(argv)
    chosen = {kind: {f.name: getattr(args, f.name) for f in fields(kind)} for kind in (recipe.settings, Schedule)}
    try:
        settings, schedule = recipe.settings(**chosen[recipe.settings]), Schedule(**chosen[Schedule])
        dataset = any_dataset(args.data, size=recipe.image_size, channels=recipe.channels, limit=args.limit)
        dataset = in_gray(dataset) if args.gray else dataset
        for warning in dataset.report.warnings:
            print(f"{warning['code']}: {warning['message']}", file=sys.stderr)
        for name, reason in dataset.report.skipped:
            print(f"skipped: {name}: {reason}", file=sys.stderr)
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


def _is_true(text: str) -> bool:
    return text.lower() == "true"


def _element(hint: Any) -> Any:
    """Type of one value of an option: int for int, tuple[int, ...] and int | None."""
    if get_origin(hint) in (tuple, Union, types.UnionType):
        return get_args(hint)[0]
    return _is_true if hint is bool else hint
