"""Fetches models from files on this machine: a folder in the layout of diffusers, or one safetensors file."""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

from cards.schema import UPSCALING
from models.catalogue import (
    CHECKPOINT,
    CONFIGURATIONS_DIR,
    CONTROLNET_FILES,
    RECORD,
    VAE,
    Card,
    base_of,
    configuration,
    file_sha256,
)
from models.errors import WeightsError


def fetch_local(card: Card, weights_dir: Path, path: Path | None = None) -> None:
    """Puts the files at a path into the model's folder, if there is one, and records the sha256 of each file.

    path: by default that of the card. From then on only these bytes are loaded. A model with a path is loaded once,
    which shows whether it can be. Raises WeightsError for a missing file and for one that cannot be loaded; nothing is
    recorded then.
    """
    folder, path = weights_dir / card.id, path or (card.source.get("path") and Path(card.source["path"]))
    for name, source in _sources(card, path).items() if path else ():
        _put(card, source, folder / name)
    for name in card.files:
        if not (folder / name).is_file():
            raise WeightsError(card.id, f"Model {card.id} has no repository: put its {name} into {folder} first.")
    record(card, weights_dir, tried=path is not None)


def record(card: Card, weights_dir: Path, *, tried: bool = True, **more: Any) -> dict[str, str]:
    """Records the sha256 of each file, and `more`; returns the sha256 by name.

    tried: the model is loaded once. Raises WeightsError if it cannot be loaded; nothing is recorded then.
    """
    files = {name: file_sha256(weights_dir / card.id / name) for name in card.files}
    text = json.dumps({"source": card.source, **more, "files": files}, indent=2)
    (weights_dir / card.id / RECORD).write_text(text, encoding="utf-8")
    if tried:
        _try(card, weights_dir)
    return files


def _sources(card: Card, path: Path) -> dict[str, Path | str]:
    """Returns for each file of a model with a path where it is, or its text."""
    source = card.source
    found: dict[str, Path | str] = {VAE: Path(source["vae"])} if source["vae"] else {}
    if card.task == "controlnet" and path.is_file():
        return _controlnet_files(card, path)
    if CHECKPOINT not in card.files:
        return found | {name: path / theirs if theirs else path for name, theirs in source["files"].items()}
    found[CHECKPOINT] = path
    if own := source["configuration"]:
        return {**{name: Path(own) / name for name in source["files"]}, **found}
    return {**configuration_files(base_of(card), source["prediction_type"]), **found}


def _controlnet_files(card: Card, path: Path) -> dict[str, Path | str]:
    from models.diffusion.control import controlnet_config  # imports torch

    config, weights = CONTROLNET_FILES
    own = card.source["configuration"]
    return {config: Path(own) / config if own else json.dumps(controlnet_config(base_of(card))), weights: path}


def configuration_files(base: str, prediction_type: str | None) -> dict[str, str]:
    """Returns the files of a shipped configuration, with the word lists of CLIP (Radford et al. 2021).

    The order of its merges gives the ids of its vocabulary.
    """
    from models.clip import make_tokenizer  # imports torch, which a run with nothing to do does not need

    merges = gzip.decompress((CONFIGURATIONS_DIR / "clip-merges.txt.gz").read_bytes()).decode()
    words = {"merges.txt": merges, "vocab.json": json.dumps(make_tokenizer(merges.splitlines()[1:]).get_vocab())}
    values = configuration(base)
    if prediction_type:
        values["scheduler/scheduler_config.json"] |= {"prediction_type": prediction_type}
    return {name: json.dumps(value) if value else words[name.rpartition("/")[2]] for name, value in values.items()}


def _put(card: Card, source: Path | str, target: Path) -> None:
    """Writes a text, or copies a file: a link would change the weights of a running worker with the original."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)  # a worker may have mapped it into its memory
    if isinstance(source, str):
        target.write_text(source, encoding="utf-8")
        return
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        reason = f"{source} cannot be copied ({error.strerror})"
        raise WeightsError(card.id, f"Model {card.id} cannot be fetched: {reason}.") from error


def _try(card: Card, weights_dir: Path) -> None:
    """Loads a model in half of the memory; if it cannot be loaded, removes its folder and raises WeightsError."""
    import torch

    from models.build import load_parts

    try:
        if card.task != "text-to-image":
            _try_tensors(card, weights_dir)
        if card.task in ("text-to-image", "controlnet", "ip-adapter", UPSCALING):
            load_parts(card, weights_dir, torch.float16)
        if card.task == "textual-inversion":
            _try_vectors(card, weights_dir)
    except WeightsError:
        shutil.rmtree(weights_dir / card.id)
        raise


def _try_tensors(card: Card, weights_dir: Path) -> None:
    """Raises WeightsError for a file that is no whole safetensors file, is empty or holds NaN or infinity."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from models.errors import NotFiniteError
    from models.tensors import check_finite

    for name in (name for name in card.files if name.endswith(".safetensors")):
        try:
            state = load_file(weights_dir / card.id / name)
            check_finite(state)
        except (SafetensorError, NotFiniteError) as error:
            raise WeightsError(card.id, f"Model {card.id} cannot be loaded: {name}: {error}.") from error
        if not state:
            raise WeightsError(card.id, f"Model {card.id} cannot be loaded: {name} is empty.")


def _try_vectors(card: Card, weights_dir: Path) -> None:
    """Raises WeightsError for a file that holds no textual inversion."""
    from models.diffusion.textual_inversion import read_vectors

    try:
        read_vectors(weights_dir / card.id / next(iter(card.files)))
    except ValueError as error:
        raise WeightsError(card.id, f"Model {card.id} cannot be loaded: {error}.") from error
