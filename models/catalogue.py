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
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from models.diffusion.schedulers import known_scheduler
from models.errors import WeightsError

WEIGHTS_DIR = Path("data/weights")
RECORD = "fetched.json"
CHECKPOINT = "checkpoint.safetensors"  # a whole text-to-image model in one file, beside the configuration of its parts
VAE = "vae.safetensors"  # an autoencoder instead of the one of a checkpoint or folder
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
    `fetched.json` beside it when it is fetched. `source` holds `kind` ("wheel", "url", "hub", "local" or "trained"),
    where the bytes come from, and the sha256 (or its published prefix) of each, or their commit; a commit that is null
    is taken from the branch main by the first fetch and recorded in `fetched.json`.
    Models trained here also have an `architecture` (name and arguments), `training` and a measured `quality`.
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

    def published(self) -> dict[str, Any]:
        """Returns what a worker reports of the card, without folders of its machine."""
        source = {key: value for key, value in self.source.items() if key not in ("path", "vae", "configuration")}
        return {**asdict(self), "source": source, "fetch_command": self.fetch_command}

    @property
    def fetch_command(self) -> str | None:
        """Command that fetches the model's files; None if there is nothing to fetch."""
        return None if self.source["kind"] == "trained" else f"python -m models.fetch {self.id}"


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


def _each_to_itself(files: Any) -> Any:
    return dict(zip(files, files, strict=True)) if isinstance(files, list) else files


_OWN = ConfigDict(extra="forbid", strict=True)
_Scheduler = Annotated[str, AfterValidator(known_scheduler)]
_File = Annotated[str, Field(pattern=r"^([\w-][\w.-]*/)?[\w-][\w.-]*\.(safetensors|json|txt|model)$")]


class _Defaults(BaseModel):
    model_config = _OWN
    num_inference_steps: Annotated[int, Field(ge=1, le=200)] = 25
    guided: bool = True
    guidance_scale: Annotated[float, Field(ge=0, le=30)] = 7.5
    scheduler: _Scheduler | None = None
    schedulers: list[_Scheduler] = []

    @field_validator("schedulers")
    @classmethod
    def _with_the_default(cls, names: list[str], info: Any) -> list[str]:
        default = info.data.get("scheduler")
        if default and default not in names:
            raise ValueError(f"must have the default scheduler, {default!r}")
        return names


class _OwnCard(BaseModel):
    """Schema of an operator's TOML file; `files` is a list, or a table from local names to those of the source.

    `path` is a source on this machine: a folder in the layout of diffusers, or one safetensors file with all parts.
    `configuration` is a folder with the configuration of those parts; by default it is that of `base`. `vae` is a
    safetensors file with an autoencoder to use instead of theirs.
    """

    model_config = _OWN
    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]
    title: Annotated[str, Field(min_length=1)]
    description: str = ""
    license: Annotated[str, Field(min_length=1, validation_alias=AliasChoices("license", "licence"))]
    task: Literal["text-to-image", "lora"]
    base: str | None = Field(None, validate_default=True)
    path: Annotated[str | None, Field(pattern="^/")] = None
    vae: Annotated[str | None, Field(pattern=r"^/.*\.safetensors$")] = None
    configuration: Annotated[str | None, Field(pattern="^/")] = None
    prediction_type: Literal["epsilon", "v_prediction"] | None = None
    repository: Annotated[str | None, Field(pattern=r"^[\w-][\w.-]*/[\w-][\w.-]*$", validate_default=True)] = None
    gated: bool = False
    revision: Annotated[str | None, Field(pattern="^[0-9a-f]{40}$", validate_default=True)] = None
    image_size: Annotated[int | None, Field(ge=64, le=2048, multiple_of=8, validate_default=True)] = None
    files: Annotated[dict[_File, _File], BeforeValidator(_each_to_itself), Field(validate_default=True)] = {}
    defaults: _Defaults | None = None

    @field_validator("base", "image_size", "files", "defaults")
    @classmethod
    def _fits_the_task(cls, value: Any, info: Any) -> Any:
        name, data = info.field_name, info.data
        is_lora = data.get("task") == "lora"
        if is_lora and name in ("image_size", "defaults") and value is not None:
            raise ValueError("a LoRA has none: it is its base's")
        if name == ("base" if is_lora else "image_size") and value is None:
            raise ValueError(f"is needed for task {data.get('task')!r}")
        if name == "files" and is_lora and [file.endswith(".safetensors") for file in value] != [True]:
            raise ValueError("must be one .safetensors file for a LoRA")
        return value

    @field_validator("path", "vae", "configuration", "prediction_type", "repository", "revision", "files")
    @classmethod
    def _fits_the_source(cls, value: Any, info: Any) -> Any:
        name, data, path = info.field_name, info.data, info.data.get("path")
        is_lora = data.get("task") == "lora"
        if name == "path" and value is not None and is_lora:
            raise ValueError("a LoRA has none: put its file into its folder of the weights")
        if name == "path" and value is not None and Path(value).suffix in (".ckpt", ".pt", ".pth", ".bin"):
            raise ValueError("must be a folder or a .safetensors file: a pickle is never read")
        if name == "vae" and value is not None and path is None:
            raise ValueError("goes with a path")
        if name in ("configuration", "prediction_type") and value is not None and not _is_checkpoint(path):
            raise ValueError("goes with a path to one .safetensors file")
        if name == "prediction_type" and value is not None and data.get("configuration") is not None:
            raise ValueError("must be left out: the card has a configuration")
        if name == "repository" and value is not None and path is not None:
            raise ValueError("must be left out: the card has a path")
        if name == "repository" and value is None and path is None and not is_lora:
            raise ValueError(f"or a path is needed for task {data.get('task')!r}")
        if name == "revision" and (value is None) != (data.get("repository") is None):
            raise ValueError("goes with repository: the commit, 40 hex digits")
        if name == "files" and value and _is_checkpoint(path):
            raise ValueError("must be left out: the path is one file")
        return value


def _is_checkpoint(path: str | None) -> bool:
    return path is not None and path.endswith(".safetensors")


def own_cards(folder: Path, shipped: Mapping[str, Card]) -> dict[str, Card]:
    """Reads an operator's cards, each `*.toml` of a folder, by id; raises CardError naming file and key."""
    written: dict[str, tuple[Path, _OwnCard]] = {}
    for path in sorted(folder.glob("*.toml")):
        own = _read(path)
        if own.id in shipped or own.id in written:
            raise CardError(f"{path}: id: There is a model {own.id!r} already.")
        written[own.id] = path, own
    bases = {name: card for name, card in shipped.items() if card.task == "text-to-image"}
    families = {base_of(card) for card in bases.values()}
    families |= {own.base or own.id for _, own in written.values() if own.task == "text-to-image"}
    return {name: _card_of(path, own, bases, families) for name, (path, own) in written.items()}


def base_of(card: Card) -> str:
    """Returns the model family that determines which LoRAs fit: of a text-to-image model, or of a LoRA itself."""
    return str(card.architecture.get("base", card.id))


def _read(path: Path) -> _OwnCard:
    try:
        return _OwnCard(**tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise CardError(f"{path}: {key}: {first['msg'].removeprefix('Value error, ')}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CardError(f"{path}: is not a TOML file: {error}.") from error


def _card_of(path: Path, own: _OwnCard, bases: Mapping[str, Card], families: set[str]) -> Card:
    is_lora, files = own.task == "lora", own.files
    if is_lora and own.base not in families:
        raise CardError(f"{path}: base: There is no base {own.base!r}; there are {', '.join(sorted(families))}.")
    is_checkpoint = _is_checkpoint(own.path)
    if is_checkpoint:
        families = {each.stem for each in CONFIGURATIONS_DIR.glob("*.json")}
        if own.base not in families:
            raise CardError(f"{path}: base: It must name the layout of the file: {', '.join(sorted(families))}.")
        files = {name: name for name in (CHECKPOINT, *configuration(own.base))}
    if not files:
        base = bases.get(own.base or "")
        if base is None or base.source["kind"] != "hub":
            raise CardError(f"{path}: files: They are needed, as base names no full-size model that is shipped.")
        files = {name: name for name in base.files}
    architecture: dict[str, Any] = {"name": "lora" if is_lora else "diffusers", "base": own.base or own.id}
    if not is_lora:
        defaults = (own.defaults or _Defaults()).model_dump()
        del defaults["guidance_scale" if not defaults["guided"] else "guided"]
        given = own.defaults.model_fields_set if own.defaults else set()
        for name in {"scheduler", "schedulers"} - given:
            del defaults[name]  # any
        family = next((card.architecture for card in bases.values() if base_of(card) == own.base), {})
        if not family.get("clip", True):
            defaults |= {"clip": False, "schedulers": family["schedulers"]}
        architecture |= {"channels": 3, "image_size": own.image_size, **defaults}
    source: dict[str, Any] = {"kind": "local"}
    if own.path:
        source |= {"path": own.path, "configuration": own.configuration, "prediction_type": own.prediction_type}
        source |= {"vae": own.vae, "files": files}
    if own.repository:
        part = {"revision": own.revision, "files": files}
        source = {"kind": "hub", "gated": own.gated, "repositories": {own.repository: part}}
    description = own.description or own.title
    names = sorted({*files, VAE} if own.vae else files)
    return Card(own.id, own.task, own.title, description, own.license, source, dict.fromkeys(names), architecture)


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
    return weights_dir / "trained" / card.id if card.source["kind"] == "trained" else weights_dir / card.id


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
