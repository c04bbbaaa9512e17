"""Columns of all members of a collection: what its map shows, in one answer."""

import hashlib
from io import BytesIO
from typing import Annotated, Any, Literal, get_args

import numpy as np
from fastapi import APIRouter, Query, Response
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from api.collections import CollectionId
from api.content import IfNoneMatch, caching, is_known
from api.errors import Responses, error_responses
from api.json_route import JsonRoute
from api.member_images import open_members
from api.service import ServiceDep
from api.tables import side_file
from jobs.members import TABLE, THUMBNAIL, MembersTable

router = APIRouter(tags=["collections"], route_class=JsonRoute)
Column = Literal["names", "maps", "clusters", "outlier_scores", "attributes", "classes", "thumbnails", "scores"]
COLUMNS: tuple[Column, ...] = get_args(Column)
FILE: Responses = {
    200: {
        "description": "An npz file: arrays of NumPy, not compressed.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        "headers": {"ETag": {"description": "Changes with the version and columns.", "schema": {"type": "string"}}},
    },
    304: {"description": "The columns have not changed."},
}


class ColumnFilter(BaseModel):
    """Query parameters of the columns; others are refused."""

    model_config = ConfigDict(extra="forbid")

    version: Annotated[int | None, Field(ge=1, le=2**31, description="The newest version if absent.")] = None
    columns: Annotated[
        list[Column],
        Field(max_length=len(COLUMNS), description="Which columns; all if absent.", examples=[["maps", "clusters"]]),
    ] = []


@router.get(
    "/v1/collections/{collection_id}/columns",
    summary="Get columns of all members",
    response_class=Response,
    responses=error_responses(404, 409, 422, 503, also=FILE),
)
def get_columns(
    collection_id: CollectionId,
    service: ServiceDep,
    column_filter: Annotated[ColumnFilter, Query()],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Returns columns of every member, by id, as one npz file, such as the map of all.

    Each has a row for every member; `map_names`, `clusterings`, `attribute_names` and `class_names` say what its other
    axes are. Supports `If-None-Match`.
    """
    version, table = open_members(service, collection_id, column_filter.version)
    chosen = [name for name in COLUMNS if name in (column_filter.columns or COLUMNS)]
    etag = f'"{hashlib.sha256(f"{side_file(version, TABLE)} {chosen}".encode()).hexdigest()}"'
    headers = {"ETag": etag, "Cache-Control": caching(column_filter.version)}
    if is_known(etag, if_none_match):
        return Response(status_code=304, headers=headers)
    return Response(columns_of(table, chosen), media_type="application/octet-stream", headers=headers)


def columns_of(table: MembersTable, chosen: list[Column]) -> bytes:
    """Encodes columns as an npz file; no array holds objects."""
    arrays: dict[str, NDArray[Any]] = {}
    for name in chosen:
        arrays |= _arrays(table, name)
    file = BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _arrays(table: MembersTable, name: Column) -> dict[str, NDArray[Any]]:
    if name == "names":
        return {"names": table.names, "name_ends": table.name_ends.astype(np.int32)}
    if name == "thumbnails":
        ends = table.ends.reshape(-1)
        return {"thumbnails": (np.diff(ends, prepend=0)[THUMBNAIL::2] > 0).astype(np.uint8)}
    if name == "classes":
        probabilities = {"class_probabilities": table.class_probabilities}
        return {"classes": table.classes, "class_names": _texts(table.class_names)} | probabilities
    axes = {
        "maps": {"map_names": table.map_names},
        "clusters": {"clusterings": table.methods},
        "attributes": {"attribute_names": table.attribute_names},
    }
    return {name: getattr(table, name)} | {axis: _texts(texts) for axis, texts in axes.get(name, {}).items()}


def _texts(texts: tuple[str, ...]) -> NDArray[np.str_]:
    """An array of texts, also of none."""
    return np.array(texts, dtype=np.str_).reshape(len(texts))
