"""Runs searches of collections for their nearest members; imports torch only to encode an image or a text."""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from jobs.members import INDEX
from jobs.requests.base import filled
from jobs.requests.search import CollectionSearch
from jobs.store.registry import Version
from models.grids import sheet
from models.space.clusters import Labels
from models.space.collection import FittedCollection
from models.space.pca import Array
from models.space.sampling import spread
from models.space.search import MemberIndex, cosines
from worker.files import Files
from worker.libraries import versions_of
from worker.run import JobResult, OutputImage, Task
from worker.runners.lazy import lazy
from worker.runners.loaded import loaded
from worker.runners.versions import read_collection

_encode = lazy("query", "encode_query")


def run_search(task: Task[CollectionSearch]) -> JobResult:
    """The nearest members in `metrics.matches`, and a sheet of their thumbnails."""
    params = task.params
    record = task.files.collection(params.collection)
    stored = record.versions[(params.version or 0) - 1]
    collection = read_collection(task, stored.file)
    index, unit = loaded(
        task, ("index", stored.file), partial(_index, task.files, stored, collection), lambda made: made[0].n_bytes
    )
    vector, models = _vector(task, collection)
    members = collection.members
    n = params.n + (params.member is not None)  # which is its own nearest
    found = index.search(collection.pca.transform(vector)[0], n, _rows(params, collection))
    found = found.without(params.member, params.n)
    similarities = cosines(members.vectors[found.indices], vector[0]).round(4).tolist()
    names = members.names[found.indices].tolist()
    distances = (found.distances.astype(np.float64) / unit).round(4).tolist()
    columns = zip(found.indices.tolist(), names, distances, similarities, strict=True)
    matches = [dict(zip(("id", "name", "distance", "similarity"), row, strict=True)) for row in columns]
    captions = [f"{match['id']}: {match['distance']:.2f}" for match in matches]
    images = (
        [OutputImage(sheet(members.thumbnails[found.indices], captions), "grid")]
        if matches and members.has_images
        else []
    )
    versions = versions_of("faiss-cpu", "numpy")
    return JobResult(images, {**models, record.id: stored.file[:16]}, versions, {"matches": matches})


def _index(files: Files, stored: Version, collection: FittedCollection) -> tuple[MemberIndex, float]:
    """The index of a version, and the unit of its distances."""
    shas = [each["sha256"] for each in stored.side_files if each["name"] == INDEX]  # earlier releases stored none
    with TemporaryDirectory(prefix="atelier-index-") as folder:
        path = Path(folder) / INDEX
        for sha in shas:
            files.fetch(sha, path)
        return MemberIndex(collection.scores, path if shas else None), spread(collection.scores)


def _vector(task: Task[CollectionSearch], collection: FittedCollection) -> tuple[Array, dict[str, str]]:
    """The vector (1, dim) to search for, and the models that encoded it."""
    params = task.params
    if params.member is not None:
        return collection.members.vectors[[params.member]], {}
    if params.vector is not None:
        return np.array([params.vector], np.float32), {}
    encoded: tuple[Array, dict[str, str]] = _encode(task, collection.members)
    return encoded


def _rows(params: CollectionSearch, collection: FittedCollection) -> Labels | None:
    """The rows of the members to choose from; None for all."""
    members = collection.members
    chosen = np.ones(len(members), np.bool_)
    if params.cluster is not None:
        chosen &= collection.clusterings[filled(params.clustering)].labels_ == params.cluster
    for names, value in ((params.having, 1), (params.lacking, 0)):
        for name in names or ():
            chosen &= members.attributes[:, members.attribute_names.index(name)] == value
    return None if chosen.all() else np.flatnonzero(chosen)
