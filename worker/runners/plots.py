"""Plots of a collection's version: those its build makes, and those drawn again for one of its parts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np

from jobs.requests.clusterings import GaussianMixture
from jobs.requests.collection import BuildRequest
from jobs.requests.plots import CollectionPlots
from models.grids import labeled_grid
from models.space.collection import FittedCollection, Method, summary
from models.space.maps import FEWEST, tsne_map
from models.space.plots import (
    component_mosaic,
    plot_attribute,
    plot_explained_variance,
    plot_information_criteria,
    plot_methods,
    plot_scatter,
    plot_silhouette,
    plot_values,
)
from models.space.steering import along, component_direction, moved
from worker.run import JobResult, OutputImage, Pixels, Task
from worker.runners.space import LoadedSpace, open_collection

THUMBNAIL = 48  # pixels a side
STRENGTHS = (-3, -2, -1, 0, 1, 2, 3)
N_COMPONENTS = 8  # of which images are decoded
N_MEDOIDS, N_CLUSTERS, N_MEMBERS = 20, 60, 8  # that grids show at most
OnStep = Callable[[str], None]
Draw = Callable[..., Pixels]  # one of the scatter plots, which takes points (n, 2) and what its axes are


# --- of a build ------------------------------------------------------------------------------------------------------


def overview(
    task: Task[BuildRequest], space: LoadedSpace, collection: FittedCollection, on_step: OnStep
) -> list[OutputImage]:
    """Draws a version's components, its clusterings beside each other, and its first clustering.

    `on_step` is called while images are decoded and may raise to stop.
    """
    first = next(iter(collection.clusterings), None)
    ratio = collection.pca.explained_variance_ratio_
    plots = [OutputImage(plot_explained_variance(ratio), "plot", name="explained-variance")]
    if first:
        plots += [_silhouette(collection, first, task.seed)]
    plots += _scatters(collection, _by_cluster(collection, first), first or "no clusters")
    if collection.mixture:
        criterion = next(each.criterion for each in task.params.clusterings if isinstance(each, GaussianMixture))
        chosen = len(collection.mixture.weights_)
        criteria = plot_information_criteria(collection.mixture.sweep, chosen, criterion)
        plots.append(OutputImage(criteria, "plot", name="information-criteria"))
    if first:
        rows = summary(collection)["clusterings"]
        methods = plot_methods([{"method": method, **row} for method, row in rows.items()])
        plots.append(OutputImage(methods, "plot", name="clusterings"))
    components = range(min(N_COMPONENTS, len(ratio)))
    plots.append(OutputImage(_mosaic(task, space, collection, components, on_step), "grid", name="components"))
    return plots + ([OutputImage(_medoids(collection), "grid", name="medoids")] if first else [])


# --- drawn again -----------------------------------------------------------------------------------------------------


def run_plots(task: Task[CollectionPlots]) -> JobResult:
    """Draws a version again by one of its clusterings, components or attributes."""
    params = task.params
    collection, space, models = open_collection(task)
    collection = _with_map(task, collection)
    if params.clustering:
        pictures = _of_clustering(collection, params.clustering, task.seed)
    elif params.attribute:
        pictures = _of_attribute(collection, params.attribute)
    else:
        assert params.component is not None
        pictures = _of_component(task, space, collection, params.component)
    versions = {name: version(name) for name in ("scikit-learn", "torch")}
    return JobResult(pictures, models, versions, {})


def _with_map(task: Task, collection: FittedCollection) -> FittedCollection:
    """The collection with the map of its build; a version from before maps were kept gets one."""
    if collection.map is not None or len(collection.members) < FEWEST:
        return collection
    points = tsne_map(
        collection.scores, seed=task.seed, on_step=lambda: task.report_progress(0, 100, "two-dimensional map")
    )
    return replace(collection, map=points)


def _of_clustering(collection: FittedCollection, method: Method, seed: int) -> list[OutputImage]:
    plots = [_silhouette(collection, method, seed), *_scatters(collection, _by_cluster(collection, method), method)]
    return [*plots, OutputImage(_members_of_clusters(collection, method), "grid", name="members")]


def _of_attribute(collection: FittedCollection, name: str) -> list[OutputImage]:
    members = collection.members
    column = members.attributes[:, members.attribute_names.index(name)]
    draw = partial(plot_attribute, has=column, thumbnails=members.thumbnails, name=name)
    return _scatters(collection, draw, name)


def _of_component(task: Task, space: LoadedSpace, collection: FittedCollection, component: int) -> list[OutputImage]:
    title = f"PC {component}"
    draw = partial(
        plot_values, values=collection.scores[:, component], thumbnails=collection.members.thumbnails, name=title
    )

    def on_step(message: str) -> None:
        task.report_progress(50, 100, message)

    mosaic = _mosaic(task, space, collection, [component], on_step)
    members = _members_along(collection, component)
    plots = _scatters(collection, draw, title, (component, 1 if component == 0 else 0))
    return [*plots, OutputImage(mosaic, "grid", name="component"), OutputImage(members, "grid", name="members")]


# --- parts -----------------------------------------------------------------------------------------------------------


def _by_cluster(collection: FittedCollection, method: Method | None) -> Draw:
    labels = collection.clusterings[method].labels_ if method else None
    return partial(plot_scatter, labels=labels, thumbnails=collection.members.thumbnails)


def _scatters(
    collection: FittedCollection, draw: Draw, title: str, axes: tuple[int, int] = (0, 1)
) -> list[OutputImage]:
    """The members on the map and by two components, where there are a map and two components."""
    found = []
    if collection.map is not None:
        plot = draw(points=collection.map, title=f"t-SNE, {title}", x_label="t-SNE 1", y_label="t-SNE 2")
        found.append(OutputImage(plot, "plot", name="t-sne"))
    ratio = collection.pca.explained_variance_ratio_
    if len(ratio) > 1:
        labels = [f"PC {k} ({ratio[k]:.1%})" for k in axes]
        points = collection.scores[:, list(axes)]
        plot = draw(points=points, title=f"PCA, {title}", x_label=labels[0], y_label=labels[1])
        found.append(OutputImage(plot, "plot", name="pca"))
    return found


def _silhouette(collection: FittedCollection, method: Method, seed: int) -> OutputImage:
    found = collection.clusterings[method]
    return OutputImage(plot_silhouette(collection.scores, found.labels_, found.sweep, seed), "plot", name="silhouette")


def _mosaic(
    task: Task, space: LoadedSpace, collection: FittedCollection, components: Sequence[int], on_step: OnStep
) -> Pixels:
    """Images decoded along components, from the mean."""
    pca = collection.pca
    changes = np.concatenate([along(component_direction(pca, k), STRENGTHS) for k in components])
    vectors = moved(pca, np.repeat(pca.mean_[None], len(changes), axis=0), changes)
    seeds = [task.seed] * len(vectors)
    made = space.decode(vectors, seeds, lambda done: on_step("images along components"))
    rows = made.reshape(len(components), len(STRENGTHS), *made.shape[1:])
    shares = {k: float(pca.explained_variance_ratio_[k]) for k in components}
    return component_mosaic(rows, shares, STRENGTHS)


def _members_along(collection: FittedCollection, component: int) -> Pixels:
    """The members whose scores are nearest to each strength."""
    scores = collection.scores[:, component]
    steps = np.array(STRENGTHS) * np.sqrt(collection.pca.explained_variance_[component])
    nearest = np.abs(scores[None] - steps[:, None]).argmin(1)
    titles = [f"{strength:g} sd" for strength in STRENGTHS]
    return labeled_grid(collection.members.thumbnails[nearest][None], [f"members\nPC {component}"], titles)


def _medoids(collection: FittedCollection) -> Pixels:
    """The member nearest to each center, a row for each clustering."""
    rows = {}
    for method, found in collection.clusterings.items():
        cut = f"\n{N_MEDOIDS} of {found.n_clusters}" if found.n_clusters > N_MEDOIDS else ""
        rows[method + cut] = found.medoids_[:N_MEDOIDS]
    widest = max(len(medoids) for medoids in rows.values())
    return _grid_of_members(collection, rows, [f"cluster {k}" for k in range(widest)])


def _members_of_clusters(collection: FittedCollection, method: Method) -> Pixels:
    """The members nearest to each cluster's center, a row for each cluster."""
    found, rows = collection.clusterings[method], {}
    cut = f" of {found.n_clusters}" if found.n_clusters > N_CLUSTERS else ""
    for cluster, center in enumerate(found.cluster_centers_[:N_CLUSTERS]):
        members = np.flatnonzero(found.labels_ == cluster)
        apart = ((collection.scores[members] - center) ** 2).sum(1)
        rows[f"cluster {cluster}{cut}\n{len(members):,}"] = members[apart.argsort(kind="stable")[:N_MEMBERS]]
    widest = max(len(members) for members in rows.values())
    return _grid_of_members(collection, rows, [str(k + 1) for k in range(widest)])


def _grid_of_members(collection: FittedCollection, rows: Mapping[Any, Any], column_titles: Sequence[str]) -> Pixels:
    """Thumbnails of members, by the title of each row; rows may be of several lengths."""
    blank = np.full((len(rows), len(column_titles), THUMBNAIL, THUMBNAIL, 3), 255, np.uint8)
    for row, members in enumerate(rows.values()):
        blank[row, : len(members)] = collection.members.thumbnails[members]
    return labeled_grid(blank, [str(title) for title in rows], column_titles)
