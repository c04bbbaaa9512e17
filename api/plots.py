"""The plots of a collection: those kept with each version, and those drawn again by one of its parts."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Response
from pydantic import BaseModel, Field

from api.collections import CollectionId
from api.content import PICTURE, IfNoneMatch, Range, serve
from api.errors import error_responses
from api.json_route import JsonRoute
from api.service import Service, ServiceDep
from api.submit import JOB_RESPONSES, SubmissionDep, submit
from jobs.errors import NotFound
from jobs.requests.collection import COLLECTION_ID
from jobs.requests.facts import version_of
from jobs.requests.plots import PLOT_NAME, PlotParams
from jobs.schemas import Job, Role
from jobs.store.registry import Version

router = APIRouter(tags=["collections"], route_class=JsonRoute)
VersionQuery = Annotated[int | None, Query(ge=1, le=2**31, description="The newest when absent.")]
PLOT_RESPONSES = error_responses(400, 404, 409, 413, 415, 422, 429, 503, also=JOB_RESPONSES)
EXAMPLES: dict[str, Any] = {
    "clustering": {"summary": "Members by cluster", "value": {"clustering": "kmeans"}},
    "component": {"summary": "Members by their score, and images along it", "value": {"component": 1}},
    "attribute": {"summary": "Members by whether they have it", "value": {"attribute": "smiling"}},
}


class Plot(BaseModel):
    """A plot or grid that a version keeps; `url` is presigned where the store can sign."""

    name: Annotated[str, Field(pattern=PLOT_NAME)]
    role: Role
    sha256: Annotated[str, Field(description="Of its bytes; also its ETag.")]
    content_type: str
    width: int
    height: int
    size_bytes: int
    url: Annotated[str, Field(description="Where its bytes are.")]
    url_expires_at: Annotated[
        datetime | None, Field(description="Until when a presigned `url` works; null for one that lasts.")
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
    """Those that were drawn when the version was built. They are kept as long as the collection."""
    found = version_of(service.jobs.collections.get(collection_id), version)
    plots = [_plot(service, collection_id, found, plot) for plot in found.plots]
    return PlotList(collection=collection_id, version=found.number, plots=plots)


@router.get(
    "/v1/collections/{collection_id}/plots/{name}",
    summary="A plot of a collection",
    response_class=Response,
    responses=error_responses(404, 409, 416, 422, 503, also=PICTURE),
)
def get_plot(
    collection_id: CollectionId,
    name: Annotated[str, Path(pattern=PLOT_NAME, description="As the list has it.", examples=["t-sne"])],
    service: ServiceDep,
    version: VersionQuery = None,
    if_none_match: IfNoneMatch = None,
    range_: Range = None,
) -> Response:
    """The bytes of a plot; the ETag is their sha256. Takes `Range` and `If-None-Match`."""
    found = version_of(service.jobs.collections.get(collection_id), version)
    plots = {plot["name"]: plot for plot in found.plots}
    if name not in plots:
        message = f"Version {found.number} has no plot {name!r}; it has {', '.join(plots) or 'none'}."
        raise NotFound("plot_not_found", message, collection=collection_id, plot=name)
    return serve(service.objects, plots[name]["sha256"], plots[name]["content_type"], if_none_match, range_)


@router.post(
    "/v1/collections/{collection_id}/plots",
    status_code=202,
    response_model=Job,
    summary="Draw the plots of a collection again",
    responses=PLOT_RESPONSES,
)
async def create_plots(
    collection_id: CollectionId,
    params: Annotated[PlotParams, Body(openapi_examples=EXAMPLES)],
    submission: SubmissionDep,
) -> Response:
    """A job that draws a version by one of its clusterings, components or attributes; nothing is fitted anew.

    Its outputs are `t-sne` and `pca`, with `silhouette` and `members` of a clustering, `component` and `members` of a
    component. They belong to the job.
    """
    return await submit(submission, params.of(collection_id))


def _plot(service: Service, collection_id: str, version: Version, plot: dict[str, Any]) -> Plot:
    link = service.objects.link(plot["sha256"])
    until = datetime.now(UTC) + timedelta(seconds=service.settings.link_ttl_s) if link else None
    path = f"/v1/collections/{collection_id}/plots/{plot['name']}?version={version.number}"
    return Plot(**plot, url=link or path, url_expires_at=until)
