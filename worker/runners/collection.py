"""Builds a version of a collection: encodes images, fits components and clusterings, maps and plots them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jobs.requests.collection import BuildRequest, NextVersion
from jobs.store.registry import Version
from models.data.dataset import Dataset, color
from models.data.named import named_dataset
from models.errors import DataError, SpaceError
from models.space.clusters import FittedClustering
from models.space.collection import (
    FittedCollection,
    MapName,
    Members,
    digests_of,
    fit_collection,
    save_collection,
    summary,
)
from models.space.maps import FEWEST, TITLES, map_of
from worker.files import Files
from worker.libraries import versions_of
from worker.run import JobResult, Pixels, Task
from worker.runners.archive import read_archive
from worker.runners.network import Network
from worker.runners.own_vectors import own_members
from worker.runners.photo import class_figures, with_classes
from worker.runners.plots import THUMBNAIL, overview
from worker.runners.side_files import encoded_images, store_side_files
from worker.runners.space import LoadedSpace, check_models, load_space
from worker.runners.unfamiliar import compared, evidence, warn_of_isolated
from worker.runners.versions import read_collection

MAX_DUPLICATES = 100  # in `metrics.duplicates`
MAX_COMPARED = 256  # images that are compared with the training data of the space's model
ALL_EXIST = "the collection has all of these images already"
MAX_VALUES = 100_000_000  # of all vectors together, 400 MB
# Progress in percent at the start of each phase.
READING, ENCODING, FITTING, MAPPING, PLOTTING = 0, 20, 50, 80, 95


def run_collection(task: Task[BuildRequest]) -> JobResult:
    """Builds and stores a version; returns its plots. Raises DataError and SpaceError."""
    return _build(task, task.files)


@dataclass
class _Phases:
    """Measures the seconds of each phase of a job; `begin` ends the previous phase."""

    seconds: dict[str, float] = field(default_factory=dict)
    _began: float = 0
    _name: str = ""

    def begin(self, name: str) -> None:
        """Begins a phase; a repeated name continues that phase."""
        now = time.perf_counter()
        if self._name:
            self.seconds[self._name] = self.seconds.get(self._name, 0.0) + now - self._began
        self._began, self._name = now, name


def _build(task: Task[BuildRequest], files: Files) -> JobResult:
    params, phases = task.params, _Phases()
    space = load_space(task, params)
    existing = _existing_members(task, files, space)
    phases.begin("reading")
    if params.vectors:
        members, new_images = own_members(task, files, space, existing, partial(_report_read, task))
    else:
        members, new_images = _members(task, files, space, existing, phases)
    members = with_classes(space, members)

    def on_step(message: str) -> None:
        phases.begin(message.partition(" of ")[0])  # "k-means of 3" and "k-means of 4" are one phase
        task.report_progress(FITTING, 100, message)

    collection = fit_collection(
        members,
        pca={
            "n_components": params.n_components,
            "explained_variance": params.explained_variance,
            "standardize": params.standardize,
        },
        clusterings=[each.model_dump(exclude_none=True) for each in params.clusterings],
        seed=task.seed,
        on_step=on_step,
    )
    _warn_of_clusterings(task, collection)
    phases.begin("map")
    collection = _with_maps(task, collection)
    phases.begin("plots")
    task.report_progress(PLOTTING, 100, "plots")
    figures = summary(collection) | {"models": space.models}
    by_method, of_members = class_figures(space, collection)
    for method, classes in by_method.items():
        figures["clusterings"][method]["classes"] = classes
    if of_members:
        task.notes["classes"] = of_members
    images = overview(task, space, collection, lambda message: task.report_progress(PLOTTING, 100, message))
    phases.begin("storing")
    sha = _stored(files, collection)
    side_files = store_side_files(files, collection, new_images, _newest(task, files))
    phases.begin("")
    versions = versions_of("scikit-learn", "openTSNE", "umap-learn", "torch")
    metrics = {"figures": figures, "seconds": {name: round(taken, 3) for name, taken in phases.seconds.items()}}
    made = {"file": sha, "figures": figures, "side_files": side_files}
    return JobResult(images, space.models, versions, metrics, collection=made)


def _warn_of_clusterings(task: Task[BuildRequest], collection: FittedCollection) -> None:
    """Warns of clusterings that failed, have fewer clusters than requested or chose the largest number."""
    for method, reason in collection.failed.items():
        task.warn("clustering_failed", f"There is no {method} clustering: {reason}.")
    for request in (each.model_dump() for each in task.params.clusterings):
        n_requested = request.get("n_clusters") or request.get("n_components")
        clustering = collection.clusterings.get(request["method"])
        if n_requested and clustering and clustering.n_clusters < n_requested:
            message = f"{request['method']} found {clustering.n_clusters} clusters; {n_requested} were requested."
            task.warn("fewer_clusters", message)
        if clustering and (bound := at_bound(request, clustering, collection)):
            message = f"{request['method']}: the search ended at its bound of {bound} may fit better."
            task.warn("search_at_bound", message)


def at_bound(request: Mapping[str, Any], clustering: FittedClustering, collection: FittedCollection) -> str | None:
    """The bound that the search for a number of clusters ended at, and what may be better; None for no bound."""
    mixture = collection.mixture if request["method"] == "mixture" else None
    chosen = clustering.n_clusters
    if request.get("candidates"):
        rows = mixture.sweep if mixture else clustering.sweep
        tried = [int(row["n_components" if mixture else "n_clusters"]) for row in rows]
        if chosen == max(tried, default=0):
            return f"{chosen}; larger candidates"
        return f"{chosen}; smaller candidates" if chosen == min(tried, default=0) > 2 else None
    field = "max_components" if mixture else "max_clusters"
    bound = min(request.get(field) or len(collection.members), len(collection.members))
    return f"{bound}; a larger {field}" if request.get(field) and chosen == bound else None


def _with_maps(task: Task[BuildRequest], collection: FittedCollection) -> FittedCollection:
    if len(collection.members) < FEWEST:
        return collection

    def on_step(name: MapName) -> None:
        task.report_progress(MAPPING, 100, f"map by {TITLES[name]}")

    names = task.params.maps
    maps = {name: map_of(name, collection.scores, seed=task.seed, on_step=partial(on_step, name)) for name in names}
    return replace(collection, maps=maps)


def _stored(files: Files, collection: FittedCollection) -> str:
    with TemporaryDirectory(prefix="atelier-collection-") as folder:
        path = Path(folder) / "collection.npz"
        save_collection(collection, path)
        return files.store(path)


def _newest(task: Task[BuildRequest], files: Files) -> Version | None:
    """The version that a job adds to; no other job adds one while it runs."""
    params = task.params
    return files.collection(params.collection).versions[-1] if isinstance(params, NextVersion) else None


def _existing_members(task: Task[BuildRequest], files: Files, space: LoadedSpace) -> Members | None:
    """The members of the newest version."""
    newest = _newest(task, files)
    if newest is None:
        return None
    check_models(newest, space)
    return read_collection(task, newest.file).members


def _members(
    task: Task[BuildRequest], files: Files, space: LoadedSpace, existing: Members | None, phases: _Phases
) -> tuple[Members, list[bytes]]:
    """The existing members and the new images, encoded, each image once; and the files of the new images."""
    existing_names: set[str] = set() if existing is None else set(existing.names.tolist())
    images, names, dataset = _new_images(task, files, space, existing_names)
    digests = digests_of(images)
    new = _distinct_rows(task, digests, names, existing)
    n = len(new) + (0 if existing is None else len(existing))
    if n < 2:
        raise SpaceError("all images are the same; components need at least 2 that differ")
    if n * space.encoding.dim > MAX_VALUES:
        most = MAX_VALUES // space.encoding.dim
        raise SpaceError(f"{n} vectors of {space.encoding.dim} values are too many; at most {most} images fit")
    images, names = images[new], [names[row] for row in new]
    dataset = dataset.where(new) if dataset else None

    def on_done(done: int) -> None:
        percent = (FITTING - ENCODING) * done / len(images)
        task.report_progress(int(ENCODING + percent), 100, f"{done:,} of {len(images):,} images encoded")

    phases.begin("encoding")
    if space.network:
        _warn_if_unlike(task, space.network, images)
    vectors = space.encode(images, on_done)
    if existing is not None:
        warn_of_isolated(task, space, "images" if task.params.images else "data", existing, vectors, tolerated=0.1)
    attributes = _attributes(dataset, len(images))
    members = Members(vectors, _thumbnails(images), np.array(names), *attributes, digests=digests[new])
    return members if existing is None else existing + members, encoded_images(images)


def _distinct_rows(
    task: Task[BuildRequest], digests: NDArray[np.str_], names: Sequence[str], existing: Members | None
) -> NDArray[np.int64]:
    """The rows of images that equal no member and no earlier row; warns of the others.

    Raises DataError if no row is left.
    """
    members = () if existing is None or existing.digests is None else zip(existing.digests, existing.names, strict=True)
    by_digest = {str(digest): str(name) for digest, name in members if digest}
    existing_names = set() if existing is None else set(existing.names.tolist())
    requested: Sequence[str] = task.params.images or ()
    duplicates = [(name, name) for k, name in enumerate(requested) if name in existing_names or name in requested[:k]]
    new = []
    for row, (digest, name) in enumerate(zip(digests.tolist(), names, strict=True)):
        if digest in by_digest:
            duplicates.append((name, by_digest[digest]))
        else:
            by_digest[digest] = name
            new.append(row)
    if duplicates:
        task.notes["duplicates"] = [{"image": name, "same_as": other} for name, other in duplicates[:MAX_DUPLICATES]]
        message = (
            f"{len(duplicates):,} of the images are the same as others; each is counted once (`metrics.duplicates`)."
        )
        task.warn("duplicate_images", message)
    if not new:
        raise DataError(ALL_EXIST)
    return np.array(new, np.int64)


def _warn_if_unlike(task: Task, network: Network, images: Pixels) -> None:
    """Warns if more than a tenth of a sample of the images are unlike the training data of the model."""
    sample = images[:: -(-len(images) // MAX_COMPARED)]
    found = compared(network, sample)
    if found and 10 * (n := int(found.unlike.sum())) > len(sample):
        message = (
            f"{n} of {len(sample)} images that were compared are unlike those that {network.card.id} was trained on: "
            f"{evidence(network, found)}. Decoded images will not look like them."
        )
        task.warn("image_unlike_training", message)


def _report_read(task: Task[BuildRequest], n: int) -> None:
    task.report_progress(READING, 100, f"{n:,} images read")


def _new_images(
    task: Task[BuildRequest], files: Files, space: LoadedSpace, existing_names: set[str]
) -> tuple[Pixels, list[str], Dataset | None]:
    """The requested images that are not in the collection, at the space's size, their names and their data set."""
    params, on_read = task.params, partial(_report_read, task)
    on_read(0)
    if params.images:
        names = [name for name in dict.fromkeys(params.images) if name not in existing_names]
        read = []
        for name in names:
            read.append(space.squares([task.read_image(name)])[0])
            on_read(len(read))
        if not read:
            raise DataError(ALL_EXIST)
        return np.stack(read), names, None
    dataset = _dataset(task, files, params, space, on_read, len(existing_names))
    names = [f"{params.data}/{index}" for index in range(len(dataset))]
    new = np.array([index for index, name in enumerate(names) if name not in existing_names][: params.limit], np.int64)
    if not len(new):
        raise DataError(ALL_EXIST)
    dataset = dataset.where(new)
    return space.squares(color(dataset.images)), [names[index] for index in new], dataset


def _dataset(
    task: Task[BuildRequest], files: Files, params: BuildRequest, space: LoadedSpace, on_read: Any, n_existing: int
) -> Dataset:
    if params.archive is None:
        return named_dataset(params.data or "", limit=(params.limit or 0) + n_existing, on_read=on_read)
    size, channels = space.encoding.image_size, space.encoding.channels
    dataset = read_archive(task, files, params.archive, size, channels=channels, on_read=on_read)
    if dataset.captions:
        task.warn("captions_not_used", "The images have captions, which a collection does not use.")
    return dataset


def _attributes(dataset: Dataset | None, n: int) -> tuple[NDArray[np.int8], tuple[str, ...]]:
    """The attributes of n images and their names; for a data set with labels only, each label is an attribute."""
    if dataset is not None and dataset.attribute_names:
        return dataset.attributes.astype(np.int8), dataset.attribute_names
    if dataset is not None and dataset.label_names:
        has_label = dataset.labels[:, None] == np.arange(len(dataset.label_names))
        return has_label.astype(np.int8), dataset.label_names
    return np.zeros((n, 0), np.int8), ()


def _thumbnails(images: Pixels) -> Pixels:
    size = (THUMBNAIL, THUMBNAIL)
    return np.stack([np.asarray(Image.fromarray(each).resize(size, Image.Resampling.LANCZOS)) for each in images])
