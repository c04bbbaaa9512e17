"""Runs pc-steerings and cluster-samplings: new vectors of a collection, decoded, and looked at again."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import numpy as np
from PIL import Image

from jobs.requests.base import seeds_from
from jobs.requests.clusterings import Method
from jobs.requests.steering import AttributeDirection, ClusterSampling, ClusterStart, Component, Steering, TextStart
from models.grids import labeled_grid
from models.space.collection import FittedCollection
from models.space.sampling import (
    FEWEST,
    density,
    distances,
    nearest_members,
    sample_cluster,
    sample_component,
    spread,
)
from models.space.steering import along, attribute_direction, component_direction, moved, towards_style
from worker.run import JobResult, OutputImage, Pixels, Task
from worker.runners.space import LoadedSpace, Vectors, open_collection
from worker.runners.unfamiliar import warn_of_images, warn_of_prompt

SHEET_ROWS = 80


@dataclass(frozen=True)
class _Row:
    """A row of a grid: its title, the strength of each of its pictures in a unit, and the change of scores of each."""

    title: str
    strengths: Sequence[float]
    changes: Vectors
    unit: str = " sd"


def run_steering(task: Task[Steering]) -> JobResult:
    """The moved pictures and their grid."""
    params = task.params
    collection, space, models = open_collection(task)
    start = _start(task, params, collection, space)
    rows = _rows(task, params, collection, space, start)
    vectors = moved(collection.pca, start, np.concatenate([row.changes for row in rows]))
    made = _decode(task, space, vectors, [task.seed] * len(vectors))
    strengths = [strength for row in rows for strength in row.strengths]
    method = params.start.clustering if isinstance(params.start, ClusterStart) else None
    method = method or next(iter(collection.clusterings), None)
    told = _told(collection, space, method, collection.pca.transform(vectors), made)
    figures = [{"strength": strength, **facts} for strength, facts in zip(strengths, told, strict=True)]
    return _made(models, [*map(OutputImage, made), *_grids(rows, made)], figures, method)


def run_sampling(task: Task[ClusterSampling]) -> JobResult:
    """New pictures of one cluster or of each, and the nearest members below them."""
    params = task.params
    collection, space, models = open_collection(task)
    n, seed = params.n, task.seed
    clusters = _clusters(task, params, collection)
    scores = np.concatenate([_draw(collection, params, cluster, seed) for cluster in clusters])
    seeds = seeds_from(seed, n) * len(clusters)
    made = _decode(task, space, collection.pca.inverse_transform(scores), seeds)
    near = nearest_members(collection.scores, scores, params.neighbors)
    told = _told(collection, space, _method(params), scores, made)
    names = collection.members.names
    figures = [
        {"from_cluster": clusters[k // n], **facts, "nearest": names[near[k]].tolist()} for k, facts in enumerate(told)
    ]
    pictures = [OutputImage(each, seed=of) for each, of in zip(made, seeds, strict=True)]
    sheets = _contact_sheets(made, collection.members.thumbnails[near], clusters, n)
    return _made(models, [*pictures, *(OutputImage(sheet, "grid") for sheet in sheets)], figures, _method(params))


def _start(task: Task, params: Steering, collection: FittedCollection, space: LoadedSpace) -> Vectors:
    """The vector (1, dim) to move."""
    match params.start:
        case ClusterStart(cluster=cluster, clustering=method):
            assert method is not None
            return collection.pca.inverse_transform(collection.clusterings[method].cluster_centers_[[cluster]])
        case TextStart(text=text):
            if space.network:
                warn_of_prompt(task, space.network, "start.text", text)
            return space.encode_text(text)
        case "mean":
            return collection.pca.mean_[None]
        case image:
            return _encoded(task, space, "start", image)


def _encoded(task: Task, space: LoadedSpace, field: str, image: str) -> Vectors:
    """The vector (1, dim) of an image; warns where it is unlike the training data of the space's model."""
    squares = space.squares([task.read_image(image)])
    if space.network:
        warn_of_images(task, space.network, field, squares)
    return space.encode(squares)


def _rows(task: Task, params: Steering, collection: FittedCollection, space: LoadedSpace, start: Vectors) -> list[_Row]:
    if params.style_from:
        assert params.style_components and params.style_strengths
        pca = collection.pca
        style = pca.transform(_encoded(task, space, "style_from", params.style_from))[0]
        to = pca.transform(start)[0]
        changes = [towards_style(to, style, params.style_components, by) for by in params.style_strengths]
        title = f"first {params.style_components}\ncomponents"
        return [_Row(title, params.style_strengths, np.stack(changes), unit="")]
    rows = [_row(collection, direction) for direction in params.components or ()]
    if params.combine:
        titles = "\n".join(row.title for row in rows)
        return [_Row(titles, rows[0].strengths, np.sum([row.changes for row in rows], axis=0))]
    return rows


def _row(collection: FittedCollection, wanted: Component | AttributeDirection) -> _Row:
    if isinstance(wanted, Component):
        direction = component_direction(collection.pca, wanted.component)
        return _Row(f"PC {wanted.component}", wanted.strengths, along(direction, wanted.strengths))
    column = collection.members.attributes[:, collection.members.attribute_names.index(wanted.attribute)]
    known = column >= 0
    direction = attribute_direction(collection.scores[known], column[known] == 1, wanted.fitting)
    return _Row(wanted.attribute, wanted.strengths, along(direction, wanted.strengths))


def _method(params: ClusterSampling) -> Method:
    assert params.clustering is not None  # filled in when the job was made
    return params.clustering


def _clusters(task: Task, params: ClusterSampling, collection: FittedCollection) -> list[int]:
    """Returns the clusters to sample from: the one asked for, or all that have the members for it."""
    if params.cluster != "all":
        return [params.cluster]
    sizes = collection.clusterings[_method(params)].sizes
    few = np.flatnonzero(sizes < FEWEST).tolist()
    if few and len(few) < len(sizes):
        task.warn(
            "too_few_members",
            f"Clusters of fewer than {FEWEST} images are not sampled from: {', '.join(map(str, few))}.",
        )
        return np.flatnonzero(sizes >= FEWEST).tolist()
    return list(range(len(sizes)))


def _draw(collection: FittedCollection, params: ClusterSampling, cluster: int, seed: int) -> Vectors:
    """New scores of a cluster, the same alone and among all."""
    rng = np.random.default_rng([seed, cluster])
    if _method(params) == "mixture":
        assert collection.mixture
        return sample_component(collection.scores, collection.mixture, cluster, params.n, params.temperature, rng)
    clustering = collection.clusterings[_method(params)]
    return sample_cluster(collection.scores, clustering, cluster, params.n, params.temperature, rng)


def _decode(task: Task, space: LoadedSpace, vectors: Vectors, seeds: Sequence[int]) -> Pixels:
    return space.decode(vectors, seeds, lambda done: task.report_progress(done, len(vectors) + 1, "decoding"))


def _told(
    collection: FittedCollection, space: LoadedSpace, method: Method | None, scores: Vectors, made: Pixels
) -> list[dict[str, Any]]:
    """How far each image, encoded again, is from what was aimed at, and where it lies among the members.

    distance: in units of that of two members. cluster: by the rule of the method; None where the collection has no
    clusters. density: the share of members in sparser places.
    """
    members = collection.scores
    again = collection.pca.transform(space.encode(made))
    columns = {
        "distance": (distances(scores, again) / spread(members)).round(4).tolist(),
        "cluster": collection.assigned(method, again).tolist() if method else [None] * len(made),
        "density": density(members, again).round(4).tolist(),
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _grids(rows: Sequence[_Row], made: Pixels) -> list[OutputImage]:
    """One grid where all rows have the same strengths, else one for each row."""
    starts = np.cumsum([0, *(len(row.strengths) for row in rows)])
    parts = [made[a:b] for a, b in pairwise(starts)]
    if all(list(row.strengths) == list(rows[0].strengths) for row in rows):
        columns = [f"{strength:+g}{rows[0].unit}" for strength in rows[0].strengths]
        return [OutputImage(labeled_grid(np.stack(parts), [row.title for row in rows], columns), "grid")]
    return [grid for row, part in zip(rows, parts, strict=True) for grid in _grids([row], part)]


def _contact_sheets(made: Pixels, near: Pixels, clusters: Sequence[int], n: int) -> list[Pixels]:
    """The new images (clusters * n, h, w, 3), a row for each cluster, and below each its nearest members.

    near: (clusters * n, neighbours, t, t, 3). A sheet has at most `SHEET_ROWS` rows.
    """
    size = made.shape[2], made.shape[1]
    real = np.stack([[np.asarray(Image.fromarray(each).resize(size)) for each in row] for row in near])
    columns = np.concatenate([made[:, None], real], axis=1)  # (images, 1 + neighbours, h, w, 3)
    rows = columns.reshape(len(clusters), n, *columns.shape[1:]).swapaxes(1, 2)
    sorts = ("new", *["nearest"] * near.shape[1])
    sheets = []
    for start in range(0, len(clusters), most := SHEET_ROWS // len(sorts)):
        shown = rows[start : start + most].reshape(-1, n, *made.shape[1:])
        titles = [f"cluster {cluster}\n{sort}" for cluster in clusters[start : start + most] for sort in sorts]
        sheets.append(labeled_grid(shown, titles, [str(k) for k in range(1, n + 1)]))
    return sheets


def _made(
    models: dict[str, str], pictures: list[OutputImage], figures: list[dict[str, Any]], method: Method | None
) -> JobResult:
    versions = {name: version(name) for name in ("scikit-learn", "torch")}
    return JobResult(pictures, models, versions, {"clustering": method, "pictures": figures})
