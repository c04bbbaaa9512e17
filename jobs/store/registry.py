"""Trained models, collections with their versions, and kept styles, as Redis holds them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from jobs.errors import Conflict, NotFound
from jobs.store.protocol import PREFIX, Protocol
from jobs.store.records import new_job_id
from jobs.store.uploads import redis_full

Sort = Literal["model", "collection", "style"]
_SHARED = f"{PREFIX}shared-models"
ADDED = "added"  # kind of the source of a model that an operator added: all tenants may use it
NEW = "new"  # as the collection of a new job: it creates one


@dataclass(frozen=True)
class TrainedModel:
    """A model's card, the job that trained or added it (None: another tenant's), and whether all may use it."""

    card: dict[str, Any]
    trained_by: str | None
    is_shared: bool = False

    @property
    def is_added(self) -> bool:
        """Whether an operator added it."""
        return is_added(self.card)


@dataclass(frozen=True)
class Version:
    """One fit of a collection: when (Unix ms) and by which job it was made, the sha256 of its file, figures, plots.

    Each plot has a name, role, sha256, content_type, width, height and size_bytes. side_files: what is read without the
    vectors, such as the table of members; each has a name, sha256 and size_bytes. Earlier releases wrote none.
    cluster_names: those that people gave to clusters, by clustering and cluster; all else of a version never changes.
    """

    number: int
    created_at: int
    built_by: str
    file: str
    figures: dict[str, Any]
    plots: tuple[dict[str, Any], ...] = ()
    side_files: tuple[dict[str, Any], ...] = ()
    cluster_names: Mapping[str, Mapping[int, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class CollectionRecord:
    """A collection with its versions, oldest first, and the job that makes the next one, if there is one.

    `params` are those of the job that made the newest version, or that makes the first.
    """

    id: str
    params: dict[str, Any]
    created_at: int
    versions: tuple[Version, ...]
    building: str | None


@dataclass(frozen=True)
class KeptStyle:
    """A style that was kept under a name: its embedding, when (Unix ms), and how it was made.

    thumbnail: the image that was made with it, with its sha256, content_type, width, height and size_bytes.
    """

    id: str
    name: str
    vector: list[float]
    created_at: int
    recipe: dict[str, Any] | None = None
    thumbnail: dict[str, Any] | None = None


class Models:
    """Models whose files are in object storage: trained ones and those that an operator added."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def all(self) -> list[TrainedModel]:
        """Returns the trained models of the tenant and those that others share, in the order of their ids."""
        shared = cast(list[str], self._protocol.client.zrange(_SHARED, 0, -1))
        names = cast(list[str], self._protocol.client.zrange(PREFIX + self._protocol.name("models"), 0, -1))
        entries = _read(self._protocol, "model", sorted({*names, *shared}))
        return [self._parse(fields, name in shared) for name, fields in entries]

    def get(self, model_id: str) -> TrainedModel:
        """Returns one trained model of the tenant; raises `NotFound`."""
        fields = _entry(self._protocol, "model", model_id)
        return self._parse(fields, self._protocol.client.zscore(_SHARED, model_id) is not None)

    def _parse(self, fields: dict[str, str], is_shared: bool) -> TrainedModel:
        trained_by = fields["trained_by"] if self._protocol.owns(fields) else None
        return TrainedModel(json.loads(fields["card"]), trained_by, is_shared)

    def share(self, model_id: str, shared: bool) -> None:
        """Lets every tenant use a model of this one, or ends that; raises `NotFound`."""
        if self._protocol.call("share", id=model_id, shared=shared) == "missing":
            raise not_registered(model_id)

    def delete(self, model_id: str) -> None:
        """Deletes a trained model and its files. Raises `NotFound`, and `Conflict` while it is in use."""
        _delete(self._protocol, "model", model_id)

    def remove(self, model_id: str) -> None:
        """Deletes an added model of any tenant; raises as `delete`."""
        _delete(self._protocol.of(None), "model", model_id)

    def unload(self, model_id: str) -> None:
        """Asks every worker process to evict a model, trained or shipped, from its memory."""
        self._protocol.call("unload", id=model_id)

    def unloaded(self, since: int | None) -> tuple[int, list[str]]:
        """Returns the time (Unix ms of Redis) and the models unloaded since an earlier such time; None: no models."""
        now, ids = self._protocol.call("unloaded", **({} if since is None else {"since": since}))
        return now, ids

    def deleted(self, model_ids: Sequence[str]) -> list[str]:
        """Returns those of these trained models that are among the last 10,000 deleted ones."""
        times = self._protocol.client.zmscore(f"{PREFIX}deleted-models", list(model_ids)) if model_ids else []
        return [model_id for model_id, at in zip(model_ids, cast(list[float | None], times), strict=True) if at]


class Collections:
    """Collections."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def all(self) -> list[CollectionRecord]:
        """Returns every collection, newest first."""
        return [_parse_collection(*entry) for entry in reversed(_entries(self._protocol, "collection"))]

    def get(self, collection_id: str) -> CollectionRecord:
        """Returns one collection; raises `NotFound`."""
        return _parse_collection(collection_id, _entry(self._protocol, "collection", collection_id))

    def name_clusters(self, collection_id: str, version: int, names: Mapping[tuple[str, int], str]) -> None:
        """Names clusters of a version, by clustering and cluster; "" removes a name.

        Raises `NotFound`, and `Unavailable` (`redis_full`).
        """
        fields = [{"field": f"name:{version}:{method}:{k}", "name": name} for (method, k), name in names.items()]
        outcome = self._protocol.call("name_clusters", id=collection_id, names=fields)
        if outcome == "out_of_room":
            raise redis_full()
        if outcome == "missing":
            raise not_registered(collection_id)

    def delete(self, collection_id: str) -> None:
        """Deletes a collection and its files. Raises `NotFound`, and `Conflict` while it is being built or in use."""
        _delete(self._protocol, "collection", collection_id)


class Styles:
    """Kept styles."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def keep(
        self, name: str, vector: Sequence[float], recipe: dict[str, Any] | None, thumbnail: dict[str, Any] | None
    ) -> KeptStyle:
        """Keeps a style. Raises `NotFound` if the image is gone, `Unavailable` (`redis_full`)."""
        style_id = new_job_id().replace("job_", "sty_")
        facts = {"name": name, "vector": list(vector), "recipe": recipe, "thumbnail": thumbnail}
        sha = thumbnail["sha256"] if thumbnail else ""
        outcome = self._protocol.call("keep_style", id=style_id, facts=json.dumps(facts), thumbnail=sha)
        if outcome == "out_of_room":
            raise redis_full()
        if outcome == "missing":
            raise NotFound("object_not_found", "The image of this output is gone.", sha256=sha)
        return self.get(style_id)

    def page(self, *, limit: int, cursor: str | None = None) -> tuple[list[KeptStyle], str | None]:
        """Returns a page of kept styles, newest first, and the cursor of the next page."""
        # Ids sort by time, so a page begins after its cursor even if that style was deleted since.
        ids = sorted(
            cast(list[str], self._protocol.client.zrange(PREFIX + self._protocol.name("styles"), 0, -1)), reverse=True
        )
        left = [style_id for style_id in ids if cursor is None or style_id < cursor]
        page = [_parse_style(*entry) for entry in _read(self._protocol, "style", left[:limit])]
        return page, left[limit - 1] if len(left) > limit else None

    def get(self, style_id: str) -> KeptStyle:
        """Returns one kept style; raises `NotFound`."""
        return _parse_style(style_id, _entry(self._protocol, "style", style_id))

    def delete(self, style_id: str) -> None:
        """Deletes a kept style, and its image if nothing else names it; raises `NotFound`."""
        _delete(self._protocol, "style", style_id)


def _entries(protocol: Protocol, sort: Sort) -> list[tuple[str, dict[str, str]]]:
    return _read(protocol, sort, cast(list[str], protocol.client.zrange(PREFIX + protocol.name(f"{sort}s"), 0, -1)))


def _read(protocol: Protocol, sort: Sort, names: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """The names and fields of those that are still there, in one round trip."""
    pipe = protocol.client.pipeline()
    for name in names:
        pipe.hgetall(f"{PREFIX}{sort}:{name}")
    return [(name, fields) for name, fields in zip(names, pipe.execute(), strict=True) if fields]


def _entry(protocol: Protocol, sort: Sort, name: str) -> dict[str, str]:
    fields = cast(dict[str, str], protocol.client.hgetall(f"{PREFIX}{sort}:{name}"))
    if not fields or not protocol.owns(fields):
        raise not_registered(name)
    return fields


def _delete(protocol: Protocol, sort: Sort, name: str) -> None:
    outcome, users = protocol.call("unregister", sort=sort, id=name)
    if outcome == "missing":
        raise not_registered(name)
    if outcome == "building":
        raise being_built(name, users[0])
    if outcome == "in_use":
        raise _in_use(name, users)


def _parse_style(style_id: str, fields: dict[str, str]) -> KeptStyle:
    return KeptStyle(style_id, created_at=int(fields["created_at"]), **json.loads(fields["facts"]))


def _parse_collection(collection_id: str, fields: dict[str, str]) -> CollectionRecord:
    return CollectionRecord(
        collection_id,
        json.loads(fields["params"]),
        int(fields["created_at"]),
        tuple(_parse_version(n, fields) for n in range(1, int(fields.get("latest", 0)) + 1)),
        fields.get("building"),
    )


def _parse_version(number: int, fields: dict[str, str]) -> Version:
    stored = json.loads(fields[f"version:{number}"])
    parsed = {name: tuple(json.loads(stored.get(name, "[]"))) for name in ("plots", "side_files")}
    names: dict[str, dict[int, str]] = {}
    for key, name in fields.items():
        if key.startswith(f"name:{number}:"):
            method, cluster = key.split(":")[2:]
            names.setdefault(method, {})[int(cluster)] = name
    return Version(number, **stored | parsed | {"figures": json.loads(stored["figures"])}, cluster_names=names)


def is_added(card: dict[str, Any]) -> bool:
    """Whether a card is that of a model that an operator added."""
    return bool(card.get("source", {}).get("kind") == ADDED)


def model_arguments(card: dict[str, Any]) -> dict[str, Any]:
    """The arguments that `finish` takes for a new model."""
    objects = list(card["files"].values())
    return {"id": card["id"], "card": json.dumps(card), "objects": objects, "shared": is_added(card)}


def version_arguments(made: dict[str, Any]) -> dict[str, Any]:
    """The arguments that `finish` takes for a new version with its `file`, `figures`, `plots` and `side_files`."""
    named = {name: made.get(name, []) for name in ("plots", "side_files")}
    shas = [made["file"], *(each["sha256"] for entries in named.values() for each in entries)]
    texts = {name: json.dumps(value) for name, value in {"figures": made["figures"], **named}.items()}
    return {"file": made["file"], "objects": list(dict.fromkeys(shas)), **texts}


def not_registered(name: str) -> NotFound:
    """The error for an unknown model, collection or style; the form of the id says which."""
    message = f"No {_sort_of(name)} is called {name!r}; it may have been deleted."
    if _sort_of(name) == "collection":
        return NotFound("collection_not_found", message, collection=name)
    if _sort_of(name) == "style":
        return NotFound("style_not_found", message, style=name)
    return NotFound("model_not_found", message, model=name)


def _in_use(name: str, users: list[str]) -> Conflict:
    """The error for deleting what unfinished jobs use, or a model in whose latent space collections are."""
    sort, named = _sort_of(name), sorted(users)[:10]
    by = {"jobs": [user for user in named if user.startswith("job_")]}
    collections = [user for user in named if user.startswith("col_")]
    by |= {"collections": collections} if collections else {}
    whose = ", ".join(named) or "those of other tenants"
    message = f"The {sort} is in use; wait for the jobs, or cancel them, and delete the collections: {whose}."
    if sort == "collection":
        return Conflict("collection_in_use", message, collection=name, **by)
    return Conflict("model_in_use", message, model=name, **by)


def being_built(collection_id: str, job_id: str) -> Conflict:
    """The error for a collection whose next version a job is building."""
    message = f"Job {job_id} is building this collection; wait for its end or cancel it."
    return Conflict("collection_building", message, collection=collection_id, job=job_id)


def _sort_of(name: str) -> str:
    return {"col_": "collection", "sty_": "style"}.get(name[:4], "model")
