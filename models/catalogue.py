"""The catalogue of models: their cards, the hashes of their files, and whether these are on this machine.

Reads json and toml only and imports neither torch nor onnxruntime, so that a process without them can list the models.
"""

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cards.schema import UPSCALING, CardFields, CardFile, Defaults
from models.errors import WeightsError

WEIGHTS_DIR = Path("data/weights")
RECORD = "fetched.json"
STORED = ("trained", "added")  # kinds of sources of models whose files are in object storage
CHECKPOINT = "checkpoint.safetensors"  # a whole text-to-image model in one file, beside the configuration of its parts
VAE = "vae.safetensors"  # an autoencoder instead of the one of a checkpoint or folder
CONTROLNET_FILES = ("config.json", "diffusion_pytorch_model.safetensors")
IP_ADAPTER_FILES = ("image_encoder/config.json", "image_encoder/model.safetensors", "ip_adapter.safetensors")
_CARDS_DIR = Path(__file__).parent / "cards"
CONFIGURATIONS_DIR = Path(__file__).parent / "configurations"
_SHIPPED_DIR = Path(__file__).parent / "weights"  # models trained here: each a folder with its card and its files


class CardError(ValueError):
    """A card that an operator wrote cannot be used; the message names its file and the key."""


@dataclass(frozen=True)
class Card:
    """The card of a model.

    `files` maps each file, by its path in the model's folder, to its sha256; or to None where the file is made on this
    machine from the source whose hash `source` names, or comes from a repository: its hash is then written to
    `fetched.json` beside it when it is fetched. `source` holds `kind` ("wheel", "url", "hub", "local", or "trained" and
    "added", whose files are in object storage), where the bytes come from, and the sha256 (or its published prefix) of
    each, or their commit; a commit that is null is taken from the branch main by the first fetch and recorded in
    `fetched.json`.
    Models trained here also have an `architecture` (name and arguments), `training` and a measured `quality`.
    `upscaler` is the id of the model that makes a model's images 4 times as large unless a request says otherwise.
    """

    id: str
    task: str
    title: str
    description: str
    license: str
    source: dict[str, Any]
    files: dict[str, str | None]
    architecture: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    quality: dict[str, Any] = field(default_factory=dict)
    upscaler: str | None = None

    def published(self) -> dict[str, Any]:
        """Returns what a worker reports of the card, without folders of its machine."""
        source = {key: value for key, value in self.source.items() if key not in ("path", "vae", "configuration")}
        return {**asdict(self), "source": source, "fetch_command": self.fetch_command}

    @property
    def fetch_command(self) -> str | None:
        """Command that fetches the model's files; None if there is nothing to fetch."""
        return None if self.source["kind"] in STORED else f"python -m models.fetch {self.id}"


@cache
def cards() -> dict[str, Card]:
    """Returns all cards by id, sorted: the shipped ones, and those of the operator (ATELIER_CARDS_DIR).

    Raises CardError for one of the operator's that cannot be used.
    """
    paths = [*_CARDS_DIR.glob("*.json"), *_SHIPPED_DIR.glob("*/card.json")]
    shipped = {each.id: each for each in map(read_card, paths)}
    every = shipped | own_cards(Path(os.environ.get("ATELIER_CARDS_DIR") or "data/cards"), shipped)
    return dict(sorted(every.items()))


def read_card(path: Path) -> Card:
    """Reads the card in a JSON file."""
    return card_of(json.loads(path.read_text(encoding="utf-8")))


def card_of(values: Mapping[str, Any]) -> Card:
    """Makes a card from its JSON object; also reads the British spelling of `license` in older cards."""
    return Card(**{"license" if key == "licence" else key: value for key, value in values.items()})


def own_cards(folder: Path, shipped: Mapping[str, Card]) -> dict[str, Card]:
    """Reads an operator's cards, each `*.toml` of a folder, by id; raises CardError naming file and key."""
    written: dict[str, tuple[Path, CardFile]] = {}
    for path in sorted(folder.glob("*.toml")):
        own = read_own(path)
        if own.id in shipped or own.id in written:
            raise CardError(f"{path}: id: There is a model {own.id!r} already.")
        written[own.id] = path, own
    bases = {base_of(card) for card in shipped.values() if card.task == "text-to-image"}
    bases |= {own.base or own.id for _, own in written.values() if own.task == "text-to-image"}
    made = {}
    for name, (path, own) in written.items():
        if own.needs_base and own.base not in bases:
            raise CardError(f"{path}: base: There is no base {own.base!r}; there are {', '.join(sorted(bases))}.")
        try:
            made[name] = made_card(own, shipped)
        except CardError as error:
            raise CardError(f"{path}: {error}") from error
    return made


def base_of(card: Card) -> str:
    """Returns the model family that determines which LoRAs and the like fit: of a model, or of a LoRA itself."""
    return str(card.architecture.get("base", card.id))


def read_own(path: Path) -> CardFile:
    """Reads an operator's card; raises CardError naming file and key."""
    try:
        return CardFile(**tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, (*first["loc"], *filter(None, [first.get("ctx", {}).get("field")]))))
        raise CardError(f"{path}: {key}: {first['msg'].removeprefix('Value error, ')}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CardError(f"{path}: is not a TOML file: {error}.") from error


def made_card(own: CardFields, shipped: Mapping[str, Card]) -> Card:
    """Makes the card of a model of one's own; raises CardError naming the key.

    Its source is a repository of the hub, or on this machine: at `path`, or at `url` until it was downloaded.
    """
    files, vae = _files(own, shipped), getattr(own, "vae", None)
    source: dict[str, Any] = {"kind": "local"}
    if own.repository:
        part = {"revision": own.revision, "files": files}
        source = {"kind": "hub", "gated": own.gated, "repositories": {own.repository: part}}
    elif own.sources:
        where = {"url": own.url, "sha256": own.sha256} if own.url else {"path": getattr(own, "path", None)}
        source |= {**where, "configuration": getattr(own, "configuration", None)}
        source |= {"prediction_type": own.prediction_type, "vae": vae, "files": files}
    names = sorted({*files, VAE} if vae else files)
    made = (own.description or own.title, own.license, source, dict.fromkeys(names), _architecture(own, shipped))
    return Card(own.id, own.task, own.title, *made)


def _files(own: CardFields, shipped: Mapping[str, Card]) -> dict[str, str]:
    """The names of a model's files in its folder, and at its source."""
    if own.is_checkpoint:
        return {name: name for name in (CHECKPOINT, *configuration(str(own.base)))}
    if own.task == "controlnet" and not own.files:
        return {name: name for name in CONTROLNET_FILES}
    if own.task == "ip-adapter" and not own.files:
        return {name: name for name in IP_ADAPTER_FILES}
    if own.is_file:
        return {f"{own.id}.safetensors": ""}
    if own.files:
        return own.files
    base = shipped.get(own.base or "")
    if base is None or base.source["kind"] != "hub":
        raise CardError("files: They are needed, as base names no full-size model that is shipped.")
    return {name: name for name in base.files}


def _architecture(own: CardFields, shipped: Mapping[str, Card]) -> dict[str, Any]:
    if own.task == "textual-inversion":
        return {"name": own.task, "base": own.base, "token": own.token or own.id}
    if own.task == UPSCALING:
        return {"name": "upscaler", "channels": 3}
    if own.task != "text-to-image":
        return {"name": "image-prompt" if own.task == "ip-adapter" else own.task, "base": own.base}
    defaults = (own.defaults or Defaults()).model_dump()
    del defaults["guidance_scale" if not defaults["guided"] else "guided"]
    given = own.defaults.model_fields_set if own.defaults else set()
    for name in {"scheduler", "schedulers"} - given:
        del defaults[name]  # any
    bases = [card for card in shipped.values() if card.task == "text-to-image" and base_of(card) == own.base]
    family = bases[0].architecture if bases else {}
    if not family.get("clip", True):
        defaults |= {"clip": False, "schedulers": family["schedulers"]}
    name, base = "diffusers", own.base or own.id
    return {"name": name, "base": base, "channels": 3, "image_size": own.image_size, **defaults}


def configuration(base: str) -> dict[str, Any]:
    """Returns the JSON of each file beside the weights of a family's models, by name; None for CLIP's word lists."""
    values: dict[str, Any] = json.loads((CONFIGURATIONS_DIR / f"{base}.json").read_text(encoding="utf-8"))
    return values


def card(model_id: str) -> Card:
    """Returns the card of a model; raises WeightsError naming the known ids."""
    try:
        return cards()[model_id]
    except KeyError:
        raise WeightsError(model_id, f"No model is called {model_id!r}; there are {', '.join(cards())}.") from None


def folder_of(card: Card, weights_dir: Path = WEIGHTS_DIR) -> Path:
    """Returns the folder of a model's files: in the repository for shipped models, else in `weights_dir`.

    Fetched ones have a folder there, trained ones a folder below `trained`: in a container, fetched weights belong to
    the container image, and trained ones to a volume.
    """
    shipped = _SHIPPED_DIR / card.id
    if card.id in cards() and shipped.is_dir():
        return shipped
    return weights_dir / "trained" / card.id if card.source["kind"] in STORED else weights_dir / card.id


def installed(card: Card, weights_dir: Path = WEIGHTS_DIR) -> bool:
    """Returns whether every file of the card exists on this machine; does not check the contents."""
    return all((folder_of(card, weights_dir) / name).is_file() for name in card.files)


def checked_file(card: Card, name: str, weights_dir: Path = WEIGHTS_DIR) -> Path:
    """Returns the path of a model's file after comparing its sha256 with that of the card.

    A file is read once per process and again when its size or time of change differs. Raises WeightsError when the file
    is missing, when its bytes differ, and when there is no hash to compare with.
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
    """Revision of a model: the first 16 digits of its file's sha256, or of that of all its file names and hashes."""
    hashes = {name: card.files[name] or _recorded_hash(card, name, weights_dir) for name in sorted(card.files)}
    only = next(iter(hashes.values())) if len(hashes) == 1 else None
    return (only or hashlib.sha256(json.dumps(hashes).encode()).hexdigest())[:16]


def file_sha256(path: Path) -> str:
    """sha256 of a file in hex, cached until its size or modification time changes."""
    stat = path.stat()
    return _sha256(path.resolve(), stat.st_size, stat.st_mtime_ns)


@cache
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _recorded_hash(card: Card, name: str, weights_dir: Path) -> str | None:
    """Returns the hash recorded when the file was made, if it was made from the download that this card names."""
    entry = read_record(card, weights_dir)
    return entry["files"].get(name) if entry else None


def read_record(card: Card, weights_dir: Path) -> dict[str, Any] | None:
    """Reads `fetched.json`, with `files` by sha256; None if it records another source than that of the card."""
    path = weights_dir / card.id / RECORD
    if card.source["kind"] not in ("url", "hub", "local") or not path.is_file():
        return None
    entry: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return entry if entry["source"] == card.source else None
