"""Plots of a collection: those stored with each version, and jobs that draw others."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Response
from pydantic import BaseModel, Field

from api.collections import CollectionId
from api.content import IMAGE, IfNoneMatch, Range, caching, serve
from api.errors import error_responses
from api.json_route import JsonRoute
from api.present import link_fields
from api.service import Service, ServiceDep
from api.submit import JOB_RESPONSES, SubmissionDep, submit
from jobs.errors import NotFound
from jobs.requests.collection import COLLECTION_ID
from jobs.requests.facts import version_of
from jobs.requests.plots import PLOT_NAME, PlotParams
from jobs.schemas import Job, Role
from jobs.store.registry import Version

router = APIRouter(tags=["collections"], route_class=JsonRoute)
VersionQuery = Annotated[int | None, Query(ge=1, le=2**31, description="The newest version if absent.")]
PLOT_RESPONSES = error_responses(400, 404, 409, 413, 415, 422, 429, 503, also=JOB_RESPONSES)
EXAMPLES: dict[str, Any] = {
    "clustering": {"summary": "Members by cluster", "value": {"clustering": "kmeans"}},
    "component": {"summary": "Members by their score, and images along the component", "value": {"component": 1}},
    "attribute": {"summary": "Members with and without the attribute", "value": {"attribute": "smiling"}},
    "map": {"summary": "Members on another map", "value": {"component": 0, "map": "tsne"}},
}


class Plot(BaseModel):
    """A plot or grid of a version; `url` is presigned if the object store supports it."""

    name: Annotated[str, Field(pattern=PLOT_NAME)]
    role: Role
    sha256: Annotated[str, Field(description="sha256 of the bytes; also the ETag.")]
    content_type: str
    width: int
    height: int
    size_bytes: int
    url: Annotated[str, Field(description="Where to download the plot.")]
    url_expires_at: Annotated[
        datetime | None, Field(description="When a presigned `url` expires; null for one that does not.")
    ]


class PlotList(BaseModel):
    """The plots of one version."""

    collection: Annotated[str, Field(pattern=COLLECTION_ID)]
    version: int
    plots: list[Plot]


@router.get(
    "/v1/collections/{collection_id}/plots",
    summary="List the plots of a collection",
    responses=error_responses(404, 409, 422, 503),
)
def list_plots(collection_id: CollectionId, service: ServiceDep, version: VersionQuery = None) -> PlotList:
    """Returns the plots that were drawn when the version was built. They are stored as long as the collection."""
    stored = version_of(service.jobs.collections.get(collection_id), version)
    plots = [_plot(service, collection_id, stored, plot) for plot in stored.plots]
    return PlotList(collection=collection_id, version=stored.number, plots=plots)


@router.get(
    "/v1/collections/{collection_id}/plots/{name}",
    summary="Get a plot of a collection",
    response_class=Response,
    responses=error_responses(404, 409, 416, 422, 503, also=IMAGE),
)
def get_plot(
    collection_id: CollectionId,
    name: Annotated[str, Path(pattern=PLOT_NAME, description="The `name` in the list of plots.", examples=["t-sne"])],
    service: ServiceDep,
    version: VersionQuery = None,
    if_none_match: IfNoneMatch = None,
    range_: Range = None,
) -> Response:
    """Returns the bytes of a plot; the ETag is their sha256. Supports `Range` and `If-None-Match`."""
    stored = version_of(service.jobs.collections.get(collection_id), version)
    plots = {plot["name"]: plot for plot in stored.plots}
    if name not in plots:
        message = f"Version {stored.number} has no plot {name!r}; its plots are {', '.join(plots) or 'none'}."
        raise NotFound("plot_not_found", message, collection=collection_id, plot=name)
    plot = plots[name]
    return serve(service.objects, plot["sha256"], plot["content_type"], if_none_match, range_, caching(version))


@router.post(
    "/v1/collections/{collection_id}/plots",
    status_code=202,
    response_model=Job,
    summary="Draw plots of a collection",
    responses=PLOT_RESPONSES,
)
async def create_plots(
    collection_id: CollectionId,
    params: Annotated[PlotParams, Body(openapi_examples=EXAMPLES)],
    submission: SubmissionDep,
) -> Response:
    """Creates a job that plots a version by one of its clusterings, components or attributes, without a new fit.

    Its outputs are a map (`t-sne` or `umap`) and `pca`; for a clustering also `silhouette` and `members`; for a
    component also `component` and `members`. They belong to the job.
    """
    return await submit(submission, params.of(collection_id))


def _plot(service: Service, collection_id: str, version: Version, plot: dict[str, Any]) -> Plot:
    path = f"/v1/collections/{collection_id}/plots/{plot['name']}?version={version.number}"
    return Plot(**plot, **link_fields(service, plot["sha256"], path))
