"""Runs pc-steerings and cluster-samplings: decodes new vectors of a collection and encodes the images again."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from jobs.requests.base import filled, seeds_from
from jobs.requests.clusterings import Method
from jobs.requests.steering import (
    AttributeDirection,
    ClusterSampling,
    ClusterStart,
    Component,
    Start,
    Steering,
    TextStart,
)
from jobs.requests.styles import StyleVector
from models.grids import labeled_grid
from models.pixels import to_bytes
from models.space.collection import FittedCollection, Members
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
from models.space.style import StyleSpace, content_kept
from models.tensors import expect_class
from worker.libraries import versions_of
from worker.run import JobResult, OutputImage, Pixels, Task
from worker.runners.images import boxed
from worker.runners.medoids import members_result
from worker.runners.space import LoadedSpace, Vectors, open_collection, painting
from worker.runners.unfamiliar import (
    warn_of_distance,
    warn_of_images,
    warn_of_isolated,
    warn_of_prompt,
    warn_of_styles,
)

MAX_SHEET_ROWS = 80
REDRAWS, CALMER = 2, 0.6  # of painted samples: how often, and the factor of the temperature each time


@dataclass(frozen=True)
class _Row:
    """A row of a grid: its title, and the strength (in `unit`) and the change of scores of each of its images."""

    title: str
    strengths: Sequence[float]
    changes: Vectors
    unit: str = " sd"


def run_steering(task: Task[Steering]) -> JobResult:
    """The images along each direction and their grid; raises TooFewMembersError."""
    params = task.params
    collection, space, models = open_collection(task)
    space = painting(task, space, params)
    start = start_vector(task, "start", params.start, collection, space)
    rows = _rows(task, params, collection, space, start)
    vectors = moved(collection.pca, start, np.concatenate([row.changes for row in rows]))
    images = _decode(task, space, vectors, [task.seed] * len(vectors))
    strengths = [strength for row in rows for strength in row.strengths]
    method = params.start.clustering if isinstance(params.start, ClusterStart) else None
    method = method or next(iter(collection.clusterings), None)
    placements = placements_of(collection, space, method, vectors, images)
    warn_of_styles(task, placements)
    warn_of_distance(task, placements)
    figures = [{"strength": strength, **placed} for strength, placed in zip(strengths, placements, strict=True)]
    return _result(models, [*_outputs(space, images, vectors), *_grids(rows, images)], figures, method)


def run_sampling(task: Task[ClusterSampling]) -> JobResult:
    """Samples of one cluster or of each, and a sheet with their nearest members; raises TooFewMembersError.

    In a space without a decoder there is only the sheet, of members.
    """
    params = task.params
    collection, space, models = open_collection(task)
    space = painting(task, space, params)
    n, seed = params.n, task.seed
    clusters = _clusters(task, params, collection)
    scores = np.concatenate([_draw(collection, params, cluster, seed) for cluster in clusters])
    if not space.decodes:
        near = nearest_members(collection.scores, scores, params.neighbors)
        return members_result(collection, models, filled(params.clustering), clusters, scores, near)
    seeds = seeds_from(seed, n) * len(clusters)
    vectors = collection.pca.inverse_transform(scores)
    images = _decode(task, space, vectors, seeds)
    placements = placements_of(collection, space, filled(params.clustering), vectors, images)
    if isinstance(space.space, StyleSpace):
        _redraw(task, collection, space, clusters, scores, images, placements)
    warn_of_styles(task, placements)
    warn_of_distance(task, placements)
    near = nearest_members(collection.scores, scores, params.neighbors)
    names = collection.members.names
    figures = [
        {"from_cluster": clusters[k // n], **placed, "nearest": names[near[k]].tolist()}
        for k, placed in enumerate(placements)
    ]
    made = _outputs(space, images, collection.pca.inverse_transform(scores))
    outputs = [replace(each, seed=seed) for each, seed in zip(made, seeds, strict=True)]
    sheets = _contact_sheets(images, collection.members.thumbnails[near], clusters, n)
    outputs += [OutputImage(sheet, "grid") for sheet in sheets]
    return _result(models, outputs, figures, filled(params.clustering))


def start_vector(task: Task, field: str, start: Start, collection: FittedCollection, space: LoadedSpace) -> Vectors:
    """The vector (1, dim) of a start."""
    match start:
        case ClusterStart(cluster=cluster, clustering=method):
            return collection.pca.inverse_transform(collection.clusterings[filled(method)].cluster_centers_[[cluster]])
        case TextStart(text=text):
            if space.network:
                warn_of_prompt(task, space.network, f"{field}.text", text)
            return space.encode_text(text, f"{field}.text")
        case "mean":
            return collection.pca.mean_[None]
        case StyleVector(vector=vector):
            return np.array([vector], np.float32)
        case "photo":
            return space.encode(to_bytes(expect_class(space.space, StyleSpace).content)[None])
        case image:
            return _encoded(task, space, field, image, collection.members)


def _encoded(task: Task, space: LoadedSpace, field: str, image: str, members: Members) -> Vectors:
    """Encodes an image, (1, dim); warns if it is unlike the training data of the space's model, or the members."""
    squares = space.squares([task.read_image(image)])
    if space.network:
        warn_of_images(task, space.network, field, squares)
    vectors = space.encode(squares)
    warn_of_isolated(task, space, field, members, vectors)
    return vectors


def _rows(task: Task, params: Steering, collection: FittedCollection, space: LoadedSpace, start: Vectors) -> list[_Row]:
    if params.style_from:
        n_components, strengths, pca = filled(params.style_components), filled(params.style_strengths), collection.pca
        style = pca.transform(start_vector(task, "style_from", params.style_from, collection, space))[0]
        scores = pca.transform(start)[0]
        changes = [towards_style(scores, style, n_components, strength) for strength in strengths]
        return [_Row(f"first {n_components}\ncomponents", strengths, np.stack(changes), unit="")]
    rows = [_row(collection, direction) for direction in params.components or ()]
    if params.combine:
        titles = "\n".join(row.title for row in rows)
        return [_Row(titles, rows[0].strengths, np.sum([row.changes for row in rows], axis=0))]
    return rows


def _row(collection: FittedCollection, request: Component | AttributeDirection) -> _Row:
    title = f"PC {request.component}" if isinstance(request, Component) else request.attribute
    return _Row(title, request.strengths, changes_along(collection, request))


def changes_along(collection: FittedCollection, request: Component | AttributeDirection) -> Vectors:
    """Changes of scores (strengths, k) along a direction; raises TooFewMembersError."""
    if isinstance(request, Component):
        return along(component_direction(collection.pca, request.component), request.strengths)
    column = collection.members.attributes[:, collection.members.attribute_names.index(request.attribute)]
    known = column >= 0
    direction = attribute_direction(collection.scores[known], column[known] == 1, request.fitting)
    return along(direction, request.strengths)


def _clusters(task: Task, params: ClusterSampling, collection: FittedCollection) -> list[int]:
    """The clusters to sample from: the requested one, or all with enough members."""
    if params.cluster != "all":
        return [params.cluster]
    sizes = collection.clusterings[filled(params.clustering)].sizes
    too_small = np.flatnonzero(sizes < FEWEST).tolist()
    if too_small and len(too_small) < len(sizes):
        message = f"Clusters of fewer than {FEWEST} images are not sampled from: {', '.join(map(str, too_small))}."
        task.warn("too_few_members", message)
        return np.flatnonzero(sizes >= FEWEST).tolist()
    return list(range(len(sizes)))


def _draw(collection: FittedCollection, params: ClusterSampling, cluster: int, seed: int, redraw: int = 0) -> Vectors:
    """Scores (n, k) of samples of a cluster, the same for one cluster and for all; each redraw is less spread."""
    seeds = [seed, cluster, redraw] if redraw else [seed, cluster]
    return draw(collection, filled(params.clustering), cluster, params.n, params.temperature * CALMER**redraw, seeds)


def draw(
    collection: FittedCollection, method: Method, cluster: int, n: int, temperature: float, seeds: Sequence[int]
) -> Vectors:
    """Scores (n, k) of samples of a cluster."""
    rng = np.random.default_rng(seeds)
    if method == "mixture":
        return sample_component(collection.scores, collection.fitted_mixture, cluster, n, temperature, rng)
    return sample_cluster(collection.scores, collection.clusterings[method], cluster, n, temperature, rng)


def _redraw(
    task: Task[ClusterSampling],
    collection: FittedCollection,
    space: LoadedSpace,
    clusters: Sequence[int],
    scores: Vectors,
    images: Pixels,
    placements: list[dict[str, Any]],
) -> None:
    """Draws samples again, in place, whose painted image encodes to another cluster: a photo cannot show each style."""
    params, pca = task.params, collection.pca
    for redraw in range(1, REDRAWS + 1):
        wrong = [k for k, placed in enumerate(placements) if placed["cluster"] != clusters[k // params.n]]
        if not wrong:
            return
        rows = {k // params.n for k in wrong}
        drawn = {row: _draw(collection, params, clusters[row], task.seed, redraw) for row in rows}
        scores[wrong] = [drawn[k // params.n][k % params.n] for k in wrong]
        vectors = pca.inverse_transform(scores[wrong])
        images[wrong] = _decode(task, space, vectors, [task.seed] * len(wrong))
        placed = placements_of(collection, space, filled(params.clustering), vectors, images[wrong])
        for k, figures in zip(wrong, placed, strict=True):
            placements[k] = figures


def _decode(task: Task, space: LoadedSpace, vectors: Vectors, seeds: Sequence[int]) -> Pixels:
    return space.decode(vectors, seeds, lambda done: task.report_progress(done, len(vectors) + 1, "decoding"))


def placements_of(
    collection: FittedCollection, space: LoadedSpace, method: Method | None, vectors: Vectors, images: Pixels
) -> list[dict[str, Any]]:
    """Figures of each image, which is encoded again.

    distance: from the intended scores, in units of the distance between two members. cluster: by the rule of the
    method; None if the collection has no clusters. density, target_density: the share of members in sparser regions
    than the encoded image and than the intended scores. Of painted images also style_error, the distance from the
    intended style embedding, and content_kept, the share of the content's structure that is left.
    """
    members, encoded = collection.scores, space.encode(images)
    scores, reencoded = collection.pca.transform(vectors), collection.pca.transform(encoded)
    densities = density(members, np.concatenate([reencoded, scores])).round(4)
    columns = {
        "distance": (distances(scores, reencoded) / spread(members)).round(4).tolist(),
        "cluster": collection.assigned(method, reencoded).tolist() if method else [None] * len(images),
        "density": densities[: len(images)].tolist(),
        "target_density": densities[len(images) :].tolist(),
    }
    if isinstance(space.space, StyleSpace):
        columns["style_error"] = distances(vectors, encoded).round(4).tolist()
        columns["content_kept"] = content_kept(space.space.content, images).round(4).tolist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _grids(rows: Sequence[_Row], images: Pixels) -> list[OutputImage]:
    """One grid if all rows have the same strengths, else one for each row."""
    starts = np.cumsum([0, *(len(row.strengths) for row in rows)])
    parts = [images[a:b] for a, b in pairwise(starts)]
    if all(list(row.strengths) == list(rows[0].strengths) for row in rows):
        columns = [f"{strength:+g}{rows[0].unit}" for strength in rows[0].strengths]
        return [OutputImage(labeled_grid(np.stack(parts), [row.title for row in rows], columns), "grid")]
    return [grid for row, part in zip(rows, parts, strict=True) for grid in _grids([row], part)]


def _contact_sheets(images: Pixels, near: Pixels, clusters: Sequence[int], n: int) -> list[Pixels]:
    """Sheets with a row of samples for each cluster, and below each sample its nearest members.

    images: (clusters * n, h, w, 3). near: (clusters * n, neighbors, t, t, 3). A sheet has at most MAX_SHEET_ROWS rows.
    """
    height, width = images.shape[1:3]
    members = np.stack([[boxed(each, width, height) for each in row] for row in near])
    columns = np.concatenate([images[:, None], members], axis=1)  # (clusters * n, 1 + neighbors, h, w, 3)
    rows = columns.reshape(len(clusters), n, *columns.shape[1:]).swapaxes(1, 2)
    row_names = ("new", *["nearest"] * near.shape[1])
    sheets = []
    per_sheet = MAX_SHEET_ROWS // len(row_names)
    for start in range(0, len(clusters), per_sheet):
        shown = rows[start : start + per_sheet].reshape(-1, n, *images.shape[1:])
        titles = [f"cluster {k}\n{name}" for k in clusters[start : start + per_sheet] for name in row_names]
        sheets.append(labeled_grid(shown, titles, [str(k) for k in range(1, n + 1)]))
    return sheets


def _outputs(space: LoadedSpace, images: Pixels, vectors: Vectors) -> list[OutputImage]:
    """The images; those of styles with their vectors, by which `POST /v1/styles` keeps them."""
    if not isinstance(space.space, StyleSpace):
        return [OutputImage(image) for image in images]
    kept = [[round(float(value), 6) for value in vector] for vector in vectors]
    return [OutputImage(image, vector=vector) for image, vector in zip(images, kept, strict=True)]


def _result(
    models: dict[str, str], images: list[OutputImage], figures: list[dict[str, Any]], method: Method | None
) -> JobResult:
    versions = versions_of("scikit-learn", "torch")
    return JobResult(images, models, versions, {"clustering": method, "pictures": figures})
