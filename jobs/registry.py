"""What jobs leave behind for other jobs, as Redis holds it: trained models, and collections with their versions."""

import json
from dataclasses import dataclass
from typing import Any

from jobs.errors import Conflict, NotFound

NEW = "new"  # stands for the id of the collection that a job is to found


@dataclass(frozen=True)
class TrainedModel:
    """A model that a job trained: its card, and the job."""

    card: dict[str, Any]
    trained_by: str


@dataclass(frozen=True)
class Version:
    """One fit of a collection: the sha256 of its file, its figures, the job that made it, when (Unix ms), its plots.

    plots: for each its name, role, sha256, content_type, width, height and size_bytes.
    """

    number: int
    created_at: int
    built_by: str
    file: str
    figures: dict[str, Any]
    plots: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Collection:
    """Its versions from the oldest, and the job that makes the next one, if one does.

    `params` are those of the job that made the newest version, or that makes the first.
    """

    id: str
    params: dict[str, Any]
    created_at: int
    versions: tuple[Version, ...]
    building: str | None


def parse_model(fields: dict[str, str]) -> TrainedModel:
    """A trained model of its hash."""
    return TrainedModel(json.loads(fields["card"]), fields["trained_by"])


def parse_collection(collection_id: str, fields: dict[str, str]) -> Collection:
    """A collection of its hash."""
    return Collection(
        collection_id,
        json.loads(fields["params"]),
        int(fields["created_at"]),
        tuple(_version(n, fields[f"version:{n}"]) for n in range(1, int(fields.get("latest", 0)) + 1)),
        fields.get("building"),
    )


def _version(number: int, text: str) -> Version:
    stored = json.loads(text)
    parsed = {"figures": json.loads(stored["figures"]), "plots": tuple(json.loads(stored.get("plots", "[]")))}
    return Version(number, **stored | parsed)


def model_arguments(card: dict[str, Any]) -> dict[str, Any]:
    """A new model as the protocol takes it."""
    return {"id": card["id"], "card": json.dumps(card), "objects": list(card["files"].values())}


def version_arguments(made: dict[str, Any]) -> dict[str, Any]:
    """A new version of a collection, its `file`, `figures` and `plots`, as the protocol takes it."""
    plots = made.get("plots", [])
    objects = list(dict.fromkeys([made["file"], *(plot["sha256"] for plot in plots)]))
    texts = {name: json.dumps(value) for name, value in (("figures", made["figures"]), ("plots", plots))}
    return {"file": made["file"], "objects": objects, **texts}


def not_registered(name: str) -> NotFound:
    """There is no such model or collection; their ids tell them apart."""
    message = f"No {sort_of(name)} is called {name!r}; it may have been deleted."
    if sort_of(name) == "collection":
        return NotFound("collection_not_found", message, collection=name)
    return NotFound("model_not_found", message, model=name)


def in_use(name: str, users: list[str]) -> Conflict:
    """A model or a collection that unfinished jobs need, or a model whose space collections are in."""
    sort, named = sort_of(name), sorted(users)[:10]
    by = {"jobs": [user for user in named if user.startswith("job_")]}
    collections = [user for user in named if user.startswith("col_")]
    by |= {"collections": collections} if collections else {}
    message = (
        f"The {sort} is in use; wait for the jobs, or cancel them, and delete the collections: {', '.join(named)}."
    )
    if sort == "collection":
        return Conflict("collection_in_use", message, collection=name, **by)
    return Conflict("model_in_use", message, model=name, **by)


def being_built(collection_id: str, job_id: str) -> Conflict:
    """The next version of a collection is in the making."""
    message = f"Job {job_id} is building this collection; wait for its end or cancel it."
    return Conflict("collection_building", message, collection=collection_id, job=job_id)


def sort_of(name: str) -> str:
    """`model` or `collection`, by the form of the id."""
    return "collection" if name.startswith("col_") else "model"
