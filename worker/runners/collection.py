"""Builds a version of a collection: pictures to vectors, components, clusterings, a map, and plots of them all."""

import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jobs.errors import AtelierError
from jobs.settings import get_settings
from models.data.dataset import DataError, Dataset
from models.data.folder import Limits, image_folder
from models.data.named import named_dataset
from models.grids import labelled_grid
from models.space.collection import Collection, Members, figures, fit_collection, save_collection
from models.space.maps import tsne_map
from models.space.pca import SpaceError
from models.space.plots import (
    component_mosaic,
    plot_explained_variance,
    plot_information_criteria,
    plot_methods,
    plot_scatter,
    plot_silhouette,
)
from models.space.steering import along, component_direction, moved
from worker.files import Files
from worker.run import Made, Picture, Pixels, Task
from worker.runners.space import LoadedSpace, check_models, load_space, read_collection

THUMBNAIL = 48  # pixels a side
SHOWN_STRENGTHS = (-3, -2, -1, 0, 1, 2, 3)
SHOWN_COMPONENTS = 8
MAX_VALUES = 100_000_000  # of all vectors together, 400 MB
# How far the work is, in per cent, when each of its parts begins.
READING, ENCODING, FITTING, MAPPING, PLOTTING = 0, 20, 50, 80, 95


def run_collection(task: Task) -> Made:
    """The plots of a new version, whose file is stored; raises `AtelierError` for pictures that cannot be used."""
    assert task.files is not None
    try:
        return _built(task, task.files)
    except DataError as error:
        raise AtelierError("bad_data", f"The pictures cannot be used: {error}.") from error
    except SpaceError as error:
        raise AtelierError("cannot_be_fitted", f"The collection cannot be fitted: {error}.") from error


def _built(task: Task, files: Files) -> Made:
    params = task.params
    space = load_space(task, params)
    before = _before(task, files, space)
    members = _members(task, files, space, before)
    seconds: dict[str, float] = {}
    on_step = _timed(seconds, lambda message: task.step(FITTING, 100, message))
    collection = fit_collection(
        members,
        pca={name: params[name] for name in ("n_components", "explained_variance", "standardise")},
        clusterings=[{k: v for k, v in each.items() if v is not None} for each in params["clusterings"]],
        seed=params["seed"],
        on_step=on_step,
    )
    on_step("plots")
    found = figures(collection) | {"models": space.models}
    pictures = _plots(task, space, collection, found)
    with TemporaryDirectory(prefix="atelier-collection-") as folder:
        path = Path(folder) / "collection.npz"
        save_collection(collection, path)
        sha = files.store(path)
    versions = {name: version(name) for name in ("scikit-learn", "openTSNE", "torch")}
    metrics = {"figures": found, "seconds": {part: round(taken, 2) for part, taken in seconds.items()}}
    return Made(pictures, space.models, versions, metrics, collection={"file": sha, "figures": found})


def _timed(seconds: dict[str, float], on_step: Callable[[str], None]) -> Callable[[str], None]:
    """`on_step`, and `seconds` learns how long each part takes; "k-means of 3" and "k-means of 4" are of one part."""
    began, part = time.perf_counter(), ""

    def step(message: str) -> None:
        nonlocal began, part
        now = time.perf_counter()
        if part:
            seconds[part] = seconds.get(part, 0.0) + now - began
        began, part = now, message.partition(" of ")[0]
        on_step(message)

    return step


def _before(task: Task, files: Files, space: LoadedSpace) -> Members | None:
    """The members of the newest version, which stays the newest while this job builds the next."""
    if "collection" not in task.params:
        return None
    newest = files.collection(task.params["collection"]).versions[-1]
    check_models(newest, space)
    return read_collection(task, newest.file).members


def _members(task: Task, files: Files, space: LoadedSpace, before: Members | None) -> Members:
    """The new pictures as vectors, after those that were there."""
    pictures, names, known = _pictures(task, files, space, set() if before is None else set(before.names.tolist()))
    n = len(pictures) + (0 if before is None else len(before))
    if n * space.space.dim > MAX_VALUES:
        most = MAX_VALUES // space.space.dim
        raise SpaceError(f"{n} vectors of {space.space.dim} values are too many; at most {most} pictures fit")

    def on_done(done: int) -> None:
        share = (FITTING - ENCODING) * done / len(pictures)
        task.step(int(ENCODING + share), 100, f"{done:,} of {len(pictures):,} pictures encoded")

    vectors = space.encode(pictures, on_done)
    new = Members(vectors, _thumbnails(pictures), np.array(names), *_attributes(known, len(pictures)))
    return new if before is None else before + new


def _pictures(
    task: Task, files: Files, space: LoadedSpace, taken: set[str]
) -> tuple[Pixels, list[str], Dataset | None]:
    """The pictures asked for that are not `taken`, at the space's size, with their names and what is known of them."""
    params = task.params

    def on_read(n: int) -> None:
        task.step(READING, 100, f"{n:,} pictures read")

    on_read(0)
    if params["images"]:
        names = [name for name in dict.fromkeys(params["images"]) if name not in taken]
        read = []
        for name in names:
            read.append(space.squares([task.read_image(name)])[0])
            on_read(len(read))
        if not read:
            raise DataError("the collection has all of these pictures already")
        return np.stack(read), names, None
    dataset = _dataset(files, params, space, on_read, len(taken))
    names = [f"{params['data']}/{index}" for index in range(len(dataset))]
    new = np.array([index for index, name in enumerate(names) if name not in taken][: params["limit"]], np.int64)
    if not len(new):
        raise DataError("the collection has all of these pictures already")
    dataset = dataset.where(new)
    return space.squares(_in_colour(dataset.images)), [names[index] for index in new], dataset


def _dataset(files: Files, params: dict[str, Any], space: LoadedSpace, on_read: Any, n_taken: int) -> Dataset:
    if not params["data"].startswith("zip_"):
        return named_dataset(params["data"], limit=params["limit"] + n_taken, on_read=on_read)
    with TemporaryDirectory(prefix="atelier-collection-") as folder:
        path = Path(folder) / "archive.zip"
        files.fetch(params["data"].removeprefix("zip_"), path)
        size, channels = space.space.image_size, space.space.channels
        limits = Limits(pixels=get_settings().max_pixels)
        return image_folder(path, size, channels=channels, limits=limits, on_read=on_read)


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


def _plots(task: Task, space: LoadedSpace, collection: Collection, found: dict[str, Any]) -> list[Picture]:
    scores, seed = collection.scores, task.params["seed"]
    first, clustering = next(iter(collection.clusterings.items()))
    points = tsne_map(scores, seed=seed, on_step=lambda: task.step(MAPPING, 100, "two-dimensional map"))
    task.step(PLOTTING, 100, "plots")
    ratio = collection.pca.explained_variance_ratio_
    shown = partial(plot_scatter, labels=clustering.labels_, thumbnails=collection.members.thumbnails)
    share = [f"PC {k} ({ratio[k]:.1%})" for k in range(min(2, len(ratio)))]
    plots = [
        plot_explained_variance(ratio),
        plot_silhouette(scores, clustering.labels_, clustering.sweep, seed),
        shown(points, title=f"t-SNE, {first}", x_label="t-SNE 1", y_label="t-SNE 2"),
    ]
    if len(ratio) > 1:
        plots.append(shown(scores[:, :2], title=f"PCA, {first}", x_label=share[0], y_label=share[1]))
    if collection.mixture:
        criterion = next(each["criterion"] for each in task.params["clusterings"] if each["method"] == "mixture")
        plots.append(plot_information_criteria(collection.mixture.sweep, len(collection.mixture.weights_), criterion))
    plots.append(plot_methods([{"method": method, **row} for method, row in found["clusterings"].items()]))
    grids = [_mosaic(task, space, collection), _medoids(collection)]
    return [*(Picture(plot, "plot") for plot in plots), *(Picture(grid, "grid") for grid in grids)]


def _mosaic(task: Task, space: LoadedSpace, collection: Collection) -> Pixels:
    """Pictures decoded along each of the first components, from the mean."""
    pca = collection.pca
    n = min(SHOWN_COMPONENTS, len(pca.components_))
    changes = np.concatenate([along(component_direction(pca, k), SHOWN_STRENGTHS) for k in range(n)])
    vectors = moved(pca, np.repeat(pca.mean_[None], len(changes), axis=0), changes)
    seeds = [task.params["seed"]] * len(vectors)
    made = space.decode(vectors, seeds, lambda done: task.step(PLOTTING, 100, "pictures along components"))
    rows = made.reshape(n, len(SHOWN_STRENGTHS), *made.shape[1:])
    return component_mosaic(rows, pca.explained_variance_ratio_[:n], SHOWN_STRENGTHS)


def _medoids(collection: Collection) -> Pixels:
    """The member nearest to each centre, a row for each clustering."""
    found = {method: each.medoids_[:20] for method, each in collection.clusterings.items()}
    widest = max(len(medoids) for medoids in found.values())
    blank = np.full((len(found), widest, THUMBNAIL, THUMBNAIL, 3), 255, np.uint8)
    for row, medoids in enumerate(found.values()):
        blank[row, : len(medoids)] = collection.members.thumbnails[medoids]
    return labelled_grid(blank, list(found), [f"cluster {k}" for k in range(widest)])
