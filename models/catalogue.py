"""Which models there are, what their files must be, and whether they are on this machine.

Reads json only and imports neither torch nor onnxruntime, so that a process without them can list the models.
"""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

WEIGHTS_DIR = Path("data/weights")
RECORD = "fetched.json"
_CARDS_DIR = Path(__file__).parent / "cards"
_SHIPPED_DIR = Path(__file__).parent / "weights"  # models trained here: each a folder with its card and its files


class WeightsError(Exception):
    """A model's files are missing, or are not the ones its card names; `model_id` says whose."""

    def __init__(self, model_id: str, message: str) -> None:
        super().__init__(message)
        self.model_id = model_id


@dataclass(frozen=True)
class Card:
    """What is known of one model.

    `files` maps each file, by its path in the model's folder, to its sha256; or to None where the file is made on this
    machine from the source whose hash `source` names, or comes from a repository: its hash is then written to
    `fetched.json` beside it when it is fetched. `source` holds `kind` ("wheel", "url", "hub" or "trained"), where the
    bytes come from, and the sha256 (or its published prefix) of each, or their commit; a commit that is null is taken
    from the branch main by the first fetch, and kept there.
    What was trained here also says its `architecture` (name and arguments), its `training` and its measured `quality`.
    """

    id: str
    task: str
    title: str
    description: str
    licence: str
    source: dict[str, Any]
    files: dict[str, str | None]
    architecture: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    quality: dict[str, Any] = field(default_factory=dict)

    @property
    def fetch_command(self) -> str | None:
        """The command that brings this model's files; None where there is nothing to fetch."""
        return None if self.source["kind"] == "trained" else f"python -m models.fetch {self.id}"


@cache
def cards() -> dict[str, Card]:
    """All cards by id, in the order of their ids."""
    paths = [*_CARDS_DIR.glob("*.json"), *_SHIPPED_DIR.glob("*/card.json")]
    found = [Card(**json.loads(path.read_text(encoding="utf-8"))) for path in paths]
    return {card.id: card for card in sorted(found, key=lambda card: card.id)}


def card(model_id: str) -> Card:
    """The card of one model; raises WeightsError naming the known ids."""
    try:
        return cards()[model_id]
    except KeyError:
        raise WeightsError(model_id, f"No model is called {model_id!r}; there are {', '.join(cards())}.") from None


def folder_of(card: Card, weights_dir: Path = WEIGHTS_DIR) -> Path:
    """Where a model's files are: with the code where they are shipped with it, else in `weights_dir`.

    Fetched ones in a folder of their own there, trained ones below `trained`: a container's fetched weights are its
    image's, and what it trains needs a volume.
    """
    shipped = _SHIPPED_DIR / card.id
    if card.id in cards() and shipped.is_dir():
        return shipped
    return weights_dir / "trained" / card.id if card.source["kind"] == "trained" else weights_dir / card.id


def installed(card: Card, weights_dir: Path = WEIGHTS_DIR) -> bool:
    """Whether every file of the card is on this machine; says nothing of what is in them."""
    return all((folder_of(card, weights_dir) / name).is_file() for name in card.files)


def checked_file(card: Card, name: str, weights_dir: Path = WEIGHTS_DIR) -> Path:
    """The path of one file of a model, after its sha256 was compared with the card's.

    A file is read once per process and again when its size or time of change differs. Raises WeightsError when the file
    is missing, when its bytes are others, and when there is no hash to compare with.
    """
    path = folder_of(card, weights_dir) / name
    remedy = f"run `{card.fetch_command}`" if card.fetch_command else "it has to be trained again"
    if name not in card.files or not path.is_file():
        raise WeightsError(card.id, f"{name} of model {card.id} is not on this machine: {remedy}.")
    expected = card.files[name] or _recorded_hash(card, name, weights_dir)
    if not expected:
        raise WeightsError(card.id, f"{name} of model {card.id} has no known sha256 and is not loaded: {remedy}.")
    if file_sha256(path) != expected:
        raise WeightsError(
            card.id,
            f"{name} of model {card.id} is not the file its card names (sha256 differs): delete it; {remedy}.",
        )
    return path


def revision(card: Card, weights_dir: Path = WEIGHTS_DIR) -> str:
    """What exactly a model is: the first digits of its file's sha256, or of that of all its files' names and hashes."""
    hashes = {name: card.files[name] or _recorded_hash(card, name, weights_dir) for name in sorted(card.files)}
    only = next(iter(hashes.values())) if len(hashes) == 1 else None
    return (only or hashlib.sha256(json.dumps(hashes).encode()).hexdigest())[:16]


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
    entry = read_record(card, weights_dir)
    return entry["files"].get(name) if entry else None


def read_record(card: Card, weights_dir: Path) -> dict[str, Any] | None:
    """What `fetched.json` says of a download: `files` to sha256; None if it is of another source than the card's."""
    path = weights_dir / card.id / RECORD
    if card.source["kind"] not in ("url", "hub") or not path.is_file():
        return None
    entry: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return entry if entry["source"] == card.source else None
