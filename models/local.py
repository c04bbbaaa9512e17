"""Fetches models from files on this machine: a folder in the layout of diffusers, or one safetensors file."""

import gzip
import json
import shutil
from pathlib import Path

from models.catalogue import (
    CHECKPOINT,
    CONFIGURATIONS_DIR,
    RECORD,
    VAE,
    Card,
    base_of,
    configuration,
    file_sha256,
)
from models.errors import WeightsError


def fetch_local(card: Card, weights_dir: Path) -> None:
    """Puts the files at the card's path into the model's folder, if it has one, and records the sha256 of each file.

    From then on only these bytes are loaded. A model with a path is loaded once, which shows whether it can be. Raises
    WeightsError for a missing file and for one that cannot be loaded; nothing is recorded then.
    """
    folder, has_path = weights_dir / card.id, "path" in card.source
    for name, source in _sources(card).items() if has_path else ():
        _put(card, source, folder / name)
    for name in card.files:
        if not (folder / name).is_file():
            raise WeightsError(card.id, f"Model {card.id} has no repository: put its {name} into {folder} first.")
    files = {name: file_sha256(folder / name) for name in card.files}
    (folder / RECORD).write_text(json.dumps({"source": card.source, "files": files}, indent=2), encoding="utf-8")
    if has_path:
        _try(card, weights_dir)


def _sources(card: Card) -> dict[str, Path | str]:
    """Returns for each file of a model with a path where it is, or its text."""
    source, path = card.source, Path(card.source["path"])
    found: dict[str, Path | str] = {VAE: Path(source["vae"])} if source["vae"] else {}
    if CHECKPOINT not in card.files:
        return found | {name: path / theirs for name, theirs in source["files"].items()}
    found[CHECKPOINT] = path
    if own := source["configuration"]:
        return {**{name: Path(own) / name for name in source["files"]}, **found}
    return {**configuration_files(base_of(card), source["prediction_type"]), **found}


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
        load_parts(card, weights_dir, torch.float16)
    except WeightsError:
        shutil.rmtree(weights_dir / card.id)
        raise
