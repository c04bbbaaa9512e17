"""Builds a version of a collection: images to vectors, components, clusterings, a map, and plots of them all."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jobs.requests.collection import BuildRequest, NextVersion
from models.data.dataset import Dataset
from models.data.named import named_dataset
from models.errors import DataError, SpaceError
from models.space.collection import FittedCollection, Members, digests_of, fit_collection, save_collection, summary
from models.space.maps import FEWEST, tsne_map
from worker.files import Files
from worker.run import JobResult, Pixels, Task
from worker.runners.archive import read_archive
from worker.runners.network import Network
from worker.runners.plots import THUMBNAIL, overview
from worker.runners.space import LoadedSpace, check_models, load_space, read_collection
from worker.runners.unfamiliar import unlike_training_data

SHOWN_DUPLICATES = 100  # that `metrics.duplicates` names
LOOKED_AT = 256  # images that are compared with the training data of the space's model
MAX_VALUES = 100_000_000  # of all vectors together, 400 MB
# How far the work is, in per cent, when each of its parts begins.
READING, ENCODING, FITTING, MAPPING, PLOTTING = 0, 20, 50, 80, 95


def run_collection(task: Task[BuildRequest]) -> JobResult:
    """The plots of a new version, whose file is stored; raises `AtelierError` for pictures that cannot be used."""
    assert task.files is not None
    return _built(task, task.files)


@dataclass
class _Phases:
    """The seconds that each phase of a job takes; `begin` ends the phase before."""

    seconds: dict[str, float] = field(default_factory=dict)
    _began: float = 0
    _name: str = ""

    def begin(self, name: str) -> None:
        """Begins a phase; one that is begun again goes on."""
        now = time.perf_counter()
        if self._name:
            self.seconds[self._name] = self.seconds.get(self._name, 0.0) + now - self._began
        self._began, self._name = now, name


def _built(task: Task[BuildRequest], files: Files) -> JobResult:
    params, phases = task.params, _Phases()
    space = load_space(task, params)
    before = _before(task, files, space)
    members = _members(task, files, space, before, phases)

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
    collection = _with_map(task, collection)
    phases.begin("plots")
    task.report_progress(PLOTTING, 100, "plots")
    found = summary(collection) | {"models": space.models}
    pictures = overview(task, space, collection, lambda message: task.report_progress(PLOTTING, 100, message))
    phases.begin("storing")
    sha = _stored(files, collection)
    phases.begin("")
    versions = {name: version(name) for name in ("scikit-learn", "openTSNE", "torch")}
    metrics = {"figures": found, "seconds": {name: round(taken, 3) for name, taken in phases.seconds.items()}}
    return JobResult(pictures, space.models, versions, metrics, collection={"file": sha, "figures": found})


def _warn_of_clusterings(task: Task[BuildRequest], collection: FittedCollection) -> None:
    """Warns of clusterings that failed, that found fewer clusters than asked for or searched to their bound."""
    for method, reason in collection.failed.items():
        task.warn("clustering_failed", f"There is no {method} clustering: {reason}.")
    for wanted in (each.model_dump() for each in task.params.clusterings):
        asked = wanted.get("n_clusters") or wanted.get("n_components")
        found = collection.clusterings.get(wanted["method"])
        if asked and found and found.n_clusters < asked:
            message = f"{wanted['method']} found {found.n_clusters} clusters, where {asked} were asked for."
            task.warn("fewer_clusters", message)
        field = "max_components" if wanted["method"] == "mixture" else "max_clusters"
        bound = min(wanted.get(field) or len(collection.members), len(collection.members))
        if wanted.get(field) and found and found.n_clusters == bound:
            message = f"{wanted['method']}: the search ended at its bound of {bound}; a larger {field} may fit better."
            task.warn("search_at_bound", message)


def _with_map(task: Task[BuildRequest], collection: FittedCollection) -> FittedCollection:
    if len(collection.members) < FEWEST:
        return collection

    def on_step() -> None:
        task.report_progress(MAPPING, 100, "two-dimensional map")

    return replace(collection, map=tsne_map(collection.scores, seed=task.seed, on_step=on_step))


def _stored(files: Files, collection: FittedCollection) -> str:
    with TemporaryDirectory(prefix="atelier-collection-") as folder:
        path = Path(folder) / "collection.npz"
        save_collection(collection, path)
        return files.store(path)


def _before(task: Task[BuildRequest], files: Files, space: LoadedSpace) -> Members | None:
    """The members of the newest version, which stays the newest while this job builds the next."""
    if not isinstance(task.params, NextVersion):
        return None
    newest = files.collection(task.params.collection).versions[-1]
    check_models(newest, space)
    return read_collection(task, newest.file).members


def _members(
    task: Task[BuildRequest], files: Files, space: LoadedSpace, before: Members | None, phases: _Phases
) -> Members:
    """The new images as vectors, after those that were there; each image once."""
    phases.begin("reading")
    taken: set[str] = set() if before is None else set(before.names.tolist())
    pictures, names, known = _pictures(task, files, space, taken)
    digests = digests_of(pictures)
    new = _distinct(task, digests, names, before)
    n = len(new) + (0 if before is None else len(before))
    if n < 2:
        raise SpaceError("all images are the same; components need at least 2 that differ")
    if n * space.space.dim > MAX_VALUES:
        most = MAX_VALUES // space.space.dim
        raise SpaceError(f"{n} vectors of {space.space.dim} values are too many; at most {most} images fit")
    pictures, names = pictures[new], [names[row] for row in new]
    known = known.where(new) if known else None

    def on_done(done: int) -> None:
        share = (FITTING - ENCODING) * done / len(pictures)
        task.report_progress(int(ENCODING + share), 100, f"{done:,} of {len(pictures):,} images encoded")

    phases.begin("encoding")
    if space.network:
        _warn_if_unlike(task, space.network, pictures)
    vectors = space.encode(pictures, on_done)
    attributes = _attributes(known, len(pictures))
    members = Members(vectors, _thumbnails(pictures), np.array(names), *attributes, digests=digests[new])
    return members if before is None else before + members


def _distinct(
    task: Task[BuildRequest], digests: NDArray[np.str_], names: Sequence[str], before: Members | None
) -> NDArray[np.int64]:
    """Returns the rows of images that are neither among the members nor earlier rows; warns of the others.

    Raises DataError where none is left.
    """
    members = () if before is None or before.digests is None else zip(before.digests, before.names, strict=True)
    known = {str(digest): str(name) for digest, name in members if digest}
    in_collection = set() if before is None else set(before.names.tolist())
    asked: Sequence[str] = task.params.images or ()
    same = [(name, name) for k, name in enumerate(asked) if name in in_collection or name in asked[:k]]
    new = []
    for row, (digest, name) in enumerate(zip(digests.tolist(), names, strict=True)):
        if digest in known:
            same.append((name, known[digest]))
        else:
            known[digest] = name
            new.append(row)
    if same:
        task.notes["duplicates"] = [{"image": name, "same_as": other} for name, other in same[:SHOWN_DUPLICATES]]
        message = f"{len(same):,} of the images are the same as others; each is counted once (`metrics.duplicates`)."
        task.warn("duplicate_images", message)
    if not new:
        raise DataError("the collection has all of these images already")
    return np.array(new, np.int64)


def _warn_if_unlike(task: Task, network: Network, pictures: Pixels) -> None:
    """Warns where more than a tenth of some images are unlike what the model was trained on."""
    some = pictures[:: -(-len(pictures) // LOOKED_AT)]
    unlike, figures = unlike_training_data(network, some)
    if figures and 10 * len(unlike) > len(some):
        message = (
            f"{len(unlike)} of {len(some)} images that were looked at are unlike those that {network.card.id} was "
            "trained on: it reconstructs them worse than any of those, and what is decoded will not look like them."
        )
        task.warn("image_unlike_training", message)


def _pictures(
    task: Task[BuildRequest], files: Files, space: LoadedSpace, taken: set[str]
) -> tuple[Pixels, list[str], Dataset | None]:
    """The pictures asked for that are not `taken`, at the space's size, with their names and what is known of them."""
    params = task.params

    def on_read(n: int) -> None:
        task.report_progress(READING, 100, f"{n:,} pictures read")

    on_read(0)
    if params.images:
        names = [name for name in dict.fromkeys(params.images) if name not in taken]
        read = []
        for name in names:
            read.append(space.squares([task.read_image(name)])[0])
            on_read(len(read))
        if not read:
            raise DataError("the collection has all of these pictures already")
        return np.stack(read), names, None
    dataset = _dataset(task, files, params, space, on_read, len(taken))
    names = [f"{params.data}/{index}" for index in range(len(dataset))]
    new = np.array([index for index, name in enumerate(names) if name not in taken][: params.limit], np.int64)
    if not len(new):
        raise DataError("the collection has all of these pictures already")
    dataset = dataset.where(new)
    return space.squares(_in_colour(dataset.images)), [names[index] for index in new], dataset


def _dataset(
    task: Task[BuildRequest], files: Files, params: BuildRequest, space: LoadedSpace, on_read: Any, n_taken: int
) -> Dataset:
    if params.archive is None:
        return named_dataset(params.data or "", limit=(params.limit or 0) + n_taken, on_read=on_read)
    size, channels = space.space.image_size, space.space.channels
    dataset = read_archive(task, files, params.archive, size, channels=channels, on_read=on_read)
    if dataset.captions:
        task.warn("captions_not_used", "The images have captions, which a collection does not use.")
    return dataset


def _attributes(known: Dataset | None, n: int) -> tuple[NDArray[np.int8], tuple[str, ...]]:
    """What is known of n pictures; each label is an attribute where there are no others."""
    if known is not None and known.attribute_names:
        return known.attributes.astype(np.int8), known.attribute_names
    if known is not None and known.label_names:
        each = known.labels[:, None] == np.arange(len(known.label_names))
        return each.astype(np.int8), known.label_names
    return np.zeros((n, 0), np.int8), ()


def _in_colour(images: Pixels) -> Pixels:
    return images.repeat(3, axis=3) if images.shape[3] == 1 else images


def _thumbnails(pictures: Pixels) -> Pixels:
    size = (THUMBNAIL, THUMBNAIL)
    return np.stack([np.asarray(Image.fromarray(each).resize(size, Image.Resampling.LANCZOS)) for each in pictures])
