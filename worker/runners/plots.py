"""Plots of a version of a collection: those of its build, and those of one clustering, component or attribute."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from jobs.requests.base import filled
from jobs.requests.clusterings import GaussianMixture
from jobs.requests.collection import BuildRequest
from jobs.requests.plots import CollectionPlots
from models.grids import labeled_grid
from models.space.collection import FittedCollection, MapName, Method, summary
from models.space.maps import FEWEST, TITLES, map_of
from models.space.meaning import component_meanings
from models.space.plots import (
    component_mosaic,
    plot_explained_variance,
    plot_information_criteria,
    plot_methods,
    plot_silhouette,
)
from models.space.scatter import plot_attribute, plot_scatter, plot_values
from models.space.steering import along, component_direction, moved
from worker.libraries import versions_of
from worker.run import JobResult, OutputImage, Pixels, Task
from worker.runners.images import rows_of
from worker.runners.meanings import correlation_plot, share_plot
from worker.runners.space import LoadedSpace, open_collection

THUMBNAIL = 48  # pixels per side
STRENGTHS = (-3, -2, -1, 0, 1, 2, 3)
MAX_COMPONENTS = 8  # with decoded images
MAX_MEDOIDS, MAX_CLUSTERS, MAX_MEMBERS = 20, 60, 8  # in grids
OnStep = Callable[[str], None]
Draw = Callable[..., Pixels]  # a scatter plot of points (n, 2), with a title and labels of its axes


# --- of a build ------------------------------------------------------------------------------------------------------


def overview(
    task: Task[BuildRequest], space: LoadedSpace, collection: FittedCollection, on_step: OnStep
) -> list[OutputImage]:
    """Plots a version's components, its clusterings beside each other, and its first clustering.

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
        plots += share_plot(collection, first)
    plots += correlation_plot(collection)
    if not (space.decodes or collection.members.has_images):
        return plots
    components = range(min(MAX_COMPONENTS, len(ratio)))
    plots.append(OutputImage(_mosaic(task, space, collection, components, on_step), "grid", name="components"))
    medoids = first and collection.members.has_images
    return plots + ([OutputImage(_medoids(collection), "grid", name="medoids")] if medoids else [])


# --- of one part -----------------------------------------------------------------------------------------------------


def run_plots(task: Task[CollectionPlots]) -> JobResult:
    """Plots a version by one of its clusterings, components or attributes."""
    params = task.params
    collection, space, models = open_collection(task)
    collection = _with_map(task, collection, params.map)
    if params.clustering:
        images = _of_clustering(collection, params.clustering, task.seed)
    elif params.attribute:
        images = _of_attribute(collection, params.attribute)
    else:
        images = _of_component(task, space, collection, filled(params.component))
    versions = versions_of("scikit-learn", "torch")
    return JobResult(images, models, versions, {})


def _with_map(task: Task, collection: FittedCollection, name: MapName | None) -> FittedCollection:
    """The collection with the map of this name alone, or else with its first; one that it lacks is made here."""
    if name is None and collection.maps:
        name = next(iter(collection.maps))
    name = name or "tsne"
    points = collection.maps.get(name)
    if points is None and len(collection.members) >= FEWEST:
        message = f"map by {TITLES[name]}"
        on_step = partial(task.report_progress, 0, 100, message)
        points = map_of(name, collection.scores, seed=task.seed, on_step=on_step)
    return replace(collection, maps={} if points is None else {name: points})


def _of_clustering(collection: FittedCollection, method: Method, seed: int) -> list[OutputImage]:
    plots = [_silhouette(collection, method, seed), *_scatters(collection, _by_cluster(collection, method), method)]
    plots += share_plot(collection, method)
    if not collection.members.has_images:
        return plots
    return [*plots, OutputImage(_members_of_clusters(collection, method), "grid", name="members")]


def _of_attribute(collection: FittedCollection, name: str) -> list[OutputImage]:
    members = collection.members
    column = members.attributes[:, members.attribute_names.index(name)]
    draw = partial(plot_attribute, has=column, thumbnails=members.thumbnails, name=name)
    return _scatters(collection, draw, name)


def _of_component(task: Task, space: LoadedSpace, collection: FittedCollection, component: int) -> list[OutputImage]:
    name = component_meanings(collection.scores, collection.traits)[component:][:1]
    title = f"PC {component}" + "".join(f": {each['name']}" for each in name if each["name"])
    draw = partial(
        plot_values, values=collection.scores[:, component], thumbnails=collection.members.thumbnails, name=title
    )

    def on_step(message: str) -> None:
        task.report_progress(50, 100, message)

    plots = _scatters(collection, draw, title, (component, 1 if component == 0 else 0))
    if space.decodes:
        plots.append(OutputImage(_mosaic(task, space, collection, [component], on_step), "grid", name="component"))
    if collection.members.has_images:
        plots.append(OutputImage(_members_along(collection, [component]), "grid", name="members"))
    return plots


# --- parts -----------------------------------------------------------------------------------------------------------


def _by_cluster(collection: FittedCollection, method: Method | None) -> Draw:
    labels = collection.clusterings[method].labels_ if method else None
    return partial(plot_scatter, labels=labels, thumbnails=collection.members.thumbnails)


def _scatters(
    collection: FittedCollection, draw: Draw, title: str, axes: tuple[int, int] = (0, 1)
) -> list[OutputImage]:
    """Scatter plots on the maps and on two components, if there are maps and two components."""
    plots = []
    for name, points in collection.maps.items():
        map_title = TITLES[name]
        on_map = draw(points=points, title=f"{map_title}, {title}", x_label=f"{map_title} 1", y_label=f"{map_title} 2")
        plots.append(OutputImage(on_map, "plot", name=map_title.lower()))
    ratio = collection.pca.explained_variance_ratio_
    if len(ratio) > 1:
        labels = [f"PC {k} ({ratio[k]:.1%})" for k in axes]
        points = collection.scores[:, list(axes)]
        on_components = draw(points=points, title=f"PCA, {title}", x_label=labels[0], y_label=labels[1])
        plots.append(OutputImage(on_components, "plot", name="pca"))
    return plots


def _silhouette(collection: FittedCollection, method: Method, seed: int) -> OutputImage:
    clustering = collection.clusterings[method]
    plot = plot_silhouette(collection.scores, clustering.labels_, clustering.sweep, seed)
    return OutputImage(plot, "plot", name="silhouette")


def _mosaic(
    task: Task, space: LoadedSpace, collection: FittedCollection, components: Sequence[int], on_step: OnStep
) -> Pixels:
    """Images decoded along components, from the mean (PCA); members along them in a space without a decoder."""
    if not space.decodes:
        return _members_along(collection, components)
    pca = collection.pca
    changes = np.concatenate([along(component_direction(pca, k), STRENGTHS) for k in components])
    vectors = moved(pca, np.repeat(pca.mean_[None], len(changes), axis=0), changes)
    seeds = [task.seed] * len(vectors)
    images = space.decode(vectors, seeds, lambda done: on_step("images along components"))
    rows = rows_of(images, len(components))
    shares = {k: float(pca.explained_variance_ratio_[k]) for k in components}
    return component_mosaic(rows, shares, STRENGTHS)


def _members_along(collection: FittedCollection, components: Sequence[int]) -> Pixels:
    """The members whose scores of each component are nearest to each strength."""
    scores = collection.scores[:, list(components)].T[:, None]  # (components, 1, n)
    deviations = np.sqrt(collection.pca.explained_variance_[list(components)])
    nearest = np.abs(scores - np.array(STRENGTHS)[:, None] * deviations[:, None, None]).argmin(2)
    titles = [f"{strength:g} sd" for strength in STRENGTHS]
    return labeled_grid(collection.members.thumbnails[nearest], [f"members\nPC {k}" for k in components], titles)


def _medoids(collection: FittedCollection) -> Pixels:
    """The member nearest to each center, a row for each clustering."""
    rows = {}
    for method, clustering in collection.clusterings.items():
        cut = f"\n{MAX_MEDOIDS} of {clustering.n_clusters}" if clustering.n_clusters > MAX_MEDOIDS else ""
        rows[method + cut] = clustering.medoids_[:MAX_MEDOIDS]
    widest = max(len(medoids) for medoids in rows.values())
    return _grid_of_members(collection, rows, [f"cluster {k}" for k in range(widest)])


def _members_of_clusters(collection: FittedCollection, method: Method) -> Pixels:
    """The members nearest to each cluster's center, a row for each cluster."""
    clustering, rows = collection.clusterings[method], {}
    cut = f" of {clustering.n_clusters}" if clustering.n_clusters > MAX_CLUSTERS else ""
    for cluster, center in enumerate(clustering.cluster_centers_[:MAX_CLUSTERS]):
        members = np.flatnonzero(clustering.labels_ == cluster)
        distances = ((collection.scores[members] - center) ** 2).sum(1)
        rows[f"cluster {cluster}{cut}\n{len(members):,}"] = members[distances.argsort(kind="stable")[:MAX_MEMBERS]]
    widest = max(len(members) for members in rows.values())
    return _grid_of_members(collection, rows, [str(k + 1) for k in range(widest)])


def _grid_of_members(collection: FittedCollection, rows: Mapping[Any, Any], column_titles: Sequence[str]) -> Pixels:
    """Thumbnails of members, by the title of each row; rows may have different lengths."""
    grid = np.full((len(rows), len(column_titles), THUMBNAIL, THUMBNAIL, 3), 255, np.uint8)
    for row, members in enumerate(rows.values()):
        grid[row, : len(members)] = collection.members.thumbnails[members]
    return labeled_grid(grid, [str(title) for title in rows], column_titles)
