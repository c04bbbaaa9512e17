"""Runs pc-animations: decodes frames along a path through a space, as one file and a sheet."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import AtelierError
from jobs.requests.animation import Animation, AttributePath, ClusterPath, ComponentPath, PointsPath
from jobs.requests.base import MAX_PIXELS, filled
from jobs.requests.clusterings import Method
from models.errors import SpaceError
from models.grids import sheet
from models.space.collection import FittedCollection
from models.space.paths import frame_weights, tour
from models.space.sampling import spread
from models.space.steering import moved
from worker.film import encode_film, even_sides
from worker.libraries import versions_of
from worker.run import JobResult, OutputImage, Pixels, Task
from worker.runners.images import fit
from worker.runners.network import BATCH
from worker.runners.space import LoadedSpace, Vectors, open_collection, painting
from worker.runners.steering import changes_along, draw, placements_of, start_vector
from worker.runners.unfamiliar import warn_of_distance, warn_of_styles

MAX_CHECKED = 12  # frames that are encoded again
MAX_SHOWN, TILE = 36, 256  # frames on the sheet, and the longest side of each


def run_animation(task: Task[Animation]) -> JobResult:
    """The animation and a sheet of its frames; raises TooFewMembersError and AtelierError `path_without_length`."""
    params = task.params
    collection, space, models = open_collection(task)
    space = painting(task, space, params)
    _check_pixels(space, params.n_frames)
    vectors = _frames(params, _points(task, collection, space), collection)
    images = _decoded(task, space, vectors)
    frames = even_sides(images) if params.format == "mp4" else images
    shown = _some(len(images), MAX_SHOWN)
    outputs = [
        OutputImage(frames[0], "animation", film=_film_of(params), frames=frames),
        OutputImage(_sheet(images[shown], [str(k) for k in shown]), "grid", format="png"),
    ]
    versions = versions_of("av", "pillow", "scikit-learn", "torch")
    return JobResult(outputs, models, versions, _figures(task, collection, space, vectors, images))


def _film_of(params: Animation) -> Callable[[Pixels, dict[str, Any]], bytes]:
    return lambda frames, recipe: encode_film(frames, params.format, params.fps, loop=params.loop, recipe=recipe)


def _check_pixels(space: LoadedSpace, n_frames: int) -> None:
    """Raises AtelierError for frames that are too large in all; those of a content were checked before."""
    if n_frames * space.encoding.image_size**2 > MAX_PIXELS:
        most = MAX_PIXELS // space.encoding.image_size**2
        message = f"n_frames: At most {most} frames of {space.encoding.image_size} pixels a side."
        raise AtelierError("too_many_pixels", message, field="n_frames", allowed=most)


def _points(task: Task[Animation], collection: FittedCollection, space: LoadedSpace) -> Vectors:
    """The vectors (m, dim) that the path goes through."""
    match task.params.path:
        case PointsPath(through=through):
            named = {f"path.through.{i}": point for i, point in enumerate(through)}
            return np.concatenate([start_vector(task, *each, collection, space) for each in named.items()])
        case ClusterPath(cluster=cluster, clustering=method, n=n, temperature=temperature):
            scores = draw(collection, filled(method), cluster, n, temperature, [task.seed, cluster])
            return collection.pca.inverse_transform(scores[tour(scores)])
        case path:
            start = start_vector(task, "path.start", path.start, collection, space)
            return moved(collection.pca, start, changes_along(collection, path))


def _frames(params: Animation, points: Vectors, collection: FittedCollection) -> Vectors:
    """Vectors (n_frames, dim) at equal distances along the path; frames that are the same are exactly so."""
    scaled = (points / collection.pca.scale_).astype(np.float32)
    curved = not isinstance(params.path, ComponentPath | AttributePath)
    try:
        weights = frame_weights(scaled, params.n_frames, loop=params.loop, curved=curved)
    except SpaceError as error:
        message = "The path has no length: all its points are the same."
        raise AtelierError("path_without_length", message, field="path") from error
    vectors: Vectors = (weights.round(9) @ points).astype(np.float32)
    return vectors


def _decoded(task: Task, space: LoadedSpace, vectors: Vectors) -> Pixels:
    """Decodes each different frame once, with one seed for all, so that noise stays the same."""
    _, first, same = np.unique(vectors, axis=0, return_index=True, return_inverse=True)
    order = np.sort(first)
    parts: list[Pixels] = []
    for batch in _batches(order):
        done = sum(map(len, parts))
        parts.append(space.decode(vectors[batch], [task.seed] * len(batch), partial(_report, task, done, len(order))))
        task.report_progress(done + len(batch), len(order) + 1, "decoding", partial(_sheet, parts[-1]))
    place = np.searchsorted(order, first)[same.reshape(-1)]
    frames: Pixels = np.concatenate(parts)[place]
    return frames


def _batches(order: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    for start in range(0, len(order), BATCH):
        yield order[start : start + BATCH]


def _report(task: Task, before: int, total: int, done: int) -> None:
    task.report_progress(before + done, total + 1, "decoding")


def _sheet(images: Pixels, captions: Sequence[str] = ()) -> Pixels:
    """The images in a near square, those larger than `TILE` made smaller."""
    small = images if max(images.shape[1:3]) <= TILE else np.stack([fit(image, TILE) for image in images])
    return sheet(small, captions)


def _some(n: int, most: int) -> NDArray[np.intp]:
    """At most so many of n indices, evenly spread."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.intp))


def _figures(
    task: Task[Animation], collection: FittedCollection, space: LoadedSpace, vectors: Vectors, images: Pixels
) -> dict[str, Any]:
    """The steps between frames, in units of the distance between two members, and where some of the frames are."""
    params, checked = task.params, _some(len(images), MAX_CHECKED)
    method = _method(params, collection)
    placements = placements_of(collection, space, method, vectors[checked], images[checked])
    warn_of_styles(task, placements)
    warn_of_distance(task, placements)
    scaled = vectors / collection.pca.scale_
    steps = np.linalg.norm(np.roll(scaled, -1, axis=0) - scaled, axis=1) / spread(collection.scores)
    steps = steps if params.loop else steps[:-1]
    return {
        "n_frames": len(images),
        "duration_s": round(len(images) / params.fps, 3),
        "largest_step": round(float(steps.max()), 5),
        "mean_step": round(float(steps.mean()), 5),
        "clustering": method,
        "frames": [{"frame": int(k), **placed} for k, placed in zip(checked, placements, strict=True)],
    }


def _method(params: Animation, collection: FittedCollection) -> Method | None:
    if isinstance(params.path, ClusterPath) and params.path.clustering:
        return params.path.clustering
    return next(iter(collection.clusterings), None)
