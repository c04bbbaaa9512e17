"""What a version of a collection was fitted to, as files for other tools, and its components."""

from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from api.collections import CollectionId
from api.content import IfNoneMatch, caching, is_known
from api.errors import Responses, error_responses
from api.json_route import JsonRoute
from api.member_images import open_members
from api.members import CURSOR
from api.plots import VersionQuery
from api.service import ServiceDep
from api.tables import side_file
from jobs.members import COMPONENTS, EXPORTS
from jobs.requests.facts import version_of

router = APIRouter(tags=["collections"], route_class=JsonRoute)
NPZ = "npz"
MAX_VALUES = 1_000_000  # of the vectors of a page of components
DIGITS = 6  # of the values of vectors
_BYTES: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_TYPES = {
    "parquet": "application/vnd.apache.parquet",
    "atlas": "application/vnd.apache.parquet",
    "npz": "application/octet-stream",
    "projector": "application/zip",
}
FILE: Responses = {
    200: {
        "description": "The file.",
        "content": dict.fromkeys(_TYPES.values(), _BYTES),
        "headers": {"ETag": {"description": "The sha256 of the bytes, in quotes.", "schema": {"type": "string"}}},
    },
    304: {"description": "The file has not changed."},
}


class ComponentFilter(BaseModel):
    """Query parameters of the list of components; others are refused."""

    model_config = ConfigDict(extra="forbid")

    version: Annotated[int | None, Field(ge=1, le=2**31, description="The newest version if absent.")] = None
    vectors: Annotated[bool, Field(description="Include the vectors, and the mean and scale that they refer to.")] = (
        False
    )
    limit: Annotated[int, Field(ge=1, le=512, description="Maximum number of components on a page.")] = 100
    cursor: Annotated[str | None, Field(pattern=CURSOR, description="`next_cursor` of the previous page.")] = None


class PrincipalComponent(BaseModel):
    """A principal component."""

    component: Annotated[int, Field(description="Counted from 0, as in steerings.")]
    explained_variance_ratio: float
    standard_deviation: Annotated[float, Field(description="Of the members' scores.")]
    vector: Annotated[list[float] | None, Field(description="Of length 1; null without `vectors`.")] = None


class ComponentPage(BaseModel):
    """A page of components, the first ones first; a vector is (mean + scale * sum of score * component)."""

    collection: str
    version: int
    dim: Annotated[int, Field(description="Values of a vector.")]
    n_components: int
    mean: Annotated[list[float] | None, Field(description="Of the members; null without `vectors`.")] = None
    scale: Annotated[list[float] | None, Field(description="Of each value; null without `vectors`.")] = None
    components: list[PrincipalComponent]
    next_cursor: str | None


@router.get(
    "/v1/collections/{collection_id}/components",
    summary="List the principal components of a collection",
    responses=error_responses(404, 409, 422, 500, 503),
)
def list_components(
    collection_id: CollectionId, service: ServiceDep, component_filter: Annotated[ComponentFilter, Query()]
) -> ComponentPage:
    """Returns a page of components; with `vectors` at most a million values, so fewer components of long vectors."""
    version, table = open_members(service, collection_id, component_filter.version)
    dim, ratios = version.figures["dim"], version.figures["explained_variance_ratio"]
    most = component_filter.limit
    if component_filter.vectors:
        most = min(most, max(1, MAX_VALUES // dim))
    start = int(component_filter.cursor or 0)
    chosen = range(start, min(start + most, len(ratios)))
    deviations = table.deviations.astype(float).round(DIGITS).tolist()

    def row(number: int) -> list[float] | None:
        if not component_filter.vectors:
            return None
        span = 4 * dim * number, 4 * dim * (number + 1)
        sha = side_file(version, COMPONENTS)
        return _rounded(service.objects.get_part(sha, *span, int(table.component_checksums[number])))

    components = [
        PrincipalComponent(
            component=k, explained_variance_ratio=ratios[k], standard_deviation=deviations[k], vector=row(2 + k)
        )
        for k in chosen
    ]
    return ComponentPage(
        collection=collection_id,
        version=version.number,
        dim=dim,
        n_components=len(ratios),
        mean=row(0),
        scale=row(1),
        components=components,
        next_cursor=str(chosen.stop) if chosen.stop < len(ratios) else None,
    )


def _rounded(data: bytes) -> list[float]:
    """Values of float32 with `DIGITS` digits, counted from the first one of the largest value."""
    values = np.frombuffer(data, "<f4").astype(np.float64)
    largest = float(np.abs(values).max())
    digits = DIGITS - 1 - int(np.floor(np.log10(largest))) if largest else 0
    rounded: list[float] = values.round(digits).tolist()
    return rounded


@router.get(
    "/v1/collections/{collection_id}/export",
    summary="Download a collection",
    response_class=Response,
    responses=error_responses(404, 409, 422, 500, 503, also=FILE),
)
def export_collection(
    collection_id: CollectionId,
    service: ServiceDep,
    format: Annotated[
        Literal["parquet", "npz", "projector", "atlas"],
        Query(description="`atlas` is for embedding-atlas, `projector` for TensorBoard."),
    ] = "parquet",
    version: VersionQuery = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Returns a file that was written when the version was built.

    `parquet` has a row for each member, with its vector; `npz` has plain arrays: all that was fitted. `atlas` is the
    table with thumbnails instead of vectors; `projector` is a zip file of scores, metadata and a sprite of thumbnails.
    """
    stored = version_of(service.jobs.collections.get(collection_id), version)
    sha = stored.file if format == NPZ else side_file(stored, EXPORTS[format])
    name = EXPORTS.get(format, "collection.npz")
    headers = {"ETag": f'"{sha}"', "Cache-Control": caching(version)}
    if is_known(headers["ETag"], if_none_match):
        return Response(status_code=304, headers=headers)
    headers |= {
        "Content-Length": str(service.objects.size(sha)),
        "Content-Disposition": f'attachment; filename="{collection_id}-v{stored.number}-{name}"',
    }
    return StreamingResponse(service.objects.read(sha), media_type=_TYPES[format], headers=headers)
