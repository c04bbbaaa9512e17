"""Plots of collections by the real runners, on a real Valkey, with shipped weights."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from jobs.errors import NotFound
from jobs.images import read_recipe
from jobs.objects import Objects
from jobs.store.jobs import JobStore
from jobs.store.records import Record
from tests.worker.runners.collecting import DIGITS, Installation, collection_of, found, redraw, shown
from worker.runners import plots
from worker.upkeep import remove_unused


def test_plots_belong_to_the_collection_and_are_deleted_with_it(installation: Installation) -> None:
    settings = installation[0].settings.model_copy(update={"hold_s": 0})  # unreferenced objects are removed at once
    jobs = JobStore(installation[0].client, settings)
    objects = Objects(settings, jobs, retry_s=1)
    record = found((jobs, objects), DIGITS | {"seed": 5})
    collection = collection_of(installation, record)
    [version] = collection.versions
    names = [plot["name"] for plot in version.plots]
    assert names == [
        *("explained-variance", "silhouette", "t-sne", "pca", "clusterings", "attribute-shares", "correlations"),
        *("components", "medoids"),
    ]
    assert [plot["role"] for plot in version.plots] == ["plot"] * 7 + ["grid"] * 2
    assert [plot["sha256"] for plot in version.plots] == [output["sha256"] for output in record.outputs]
    jobs.delete(record.id)
    remove_unused(jobs, objects)
    shas = [version.file, *(plot["sha256"] for plot in version.plots)]
    assert all(objects.get(sha) for sha in shas), "the plots stay when the job is deleted"
    jobs.collections.delete(collection.id)
    remove_unused(jobs, objects)
    for sha in shas:
        with pytest.raises(NotFound):
            objects.get(sha)


REDRAWN: dict[str, tuple[dict[str, Any], list[str]]] = {
    "clustering": ({"clustering": "mixture"}, ["silhouette", "t-sne", "pca", "attribute-shares", "members"]),
    "noise": ({"clustering": "hdbscan"}, ["silhouette", "t-sne", "pca", "attribute-shares", "members"]),
    "component": ({"component": 3}, ["t-sne", "pca", "component", "members"]),
    "first component": ({"component": 0}, ["t-sne", "pca", "component", "members"]),
    "attribute": ({"attribute": "winking"}, ["t-sne", "pca"]),
}


@pytest.mark.parametrize("name", REDRAWN)
def test_plots_by_each_part(installation: Installation, smileys: Record, name: str) -> None:
    part, names = REDRAWN[name]
    record = redraw(installation, smileys, **part)
    assert [output["name"] for output in record.outputs] == names
    plots = [plot for role in ("plot", "grid") for plot in shown(installation, record, role)]
    assert all(plot.std() > 5 for plot in plots)
    assert (
        smileys.metrics["collection"] in (read_recipe(installation[1].get(record.outputs[0]["sha256"])) or {})["models"]
    )


def test_plots_by_the_first_clustering_equal_those_of_the_build(installation: Installation, smileys: Record) -> None:
    """On the map of the build: t-SNE does not run again."""
    again = shown(installation, redraw(installation, smileys, clustering="kmeans"), "plot")
    names = [output["name"] for output in smileys.outputs if output["role"] == "plot"]
    built = dict(zip(names, shown(installation, smileys, "plot"), strict=True))
    for name, plot in zip(("silhouette", "t-sne", "pca", "attribute-shares"), again, strict=True):
        np.testing.assert_array_equal(plot, built[name])


def test_a_map_that_the_version_lacks_is_made(
    installation: Installation, smileys: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def map_of(name: str, scores: NDArray[np.float32], **_: Any) -> NDArray[np.float32]:
        made.append(name)
        return scores[:, 1:3]

    monkeypatch.setattr(plots, "map_of", map_of)
    for name, outputs in ("umap", ["umap", "pca"]), ("tsne", ["t-sne", "pca"]):
        record = redraw(installation, smileys, attribute="winking", map=name)
        assert [output["name"] for output in record.outputs] == outputs
    assert made == ["umap"], "the version has the other"
