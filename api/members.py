"""Members of a collection: pages of them, their thumbnails and images, and near-duplicates."""

from typing import Annotated, Any, Literal, Self

import numpy as np
from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.collections import CollectionId
from api.content import IMAGE as IMAGE_RESPONSES
from api.content import IfNoneMatch, respond, serve
from api.errors import error_responses
from api.json_route import JsonRoute
from api.member_images import check_member, member_image, open_members, stored_upload
from api.plots import VersionQuery
from api.service import ServiceDep
from jobs.members import THUMBNAIL, MembersTable
from jobs.requests.base import check_attribute, invalid
from jobs.requests.clusterings import Method
from jobs.requests.steering import check_cluster, clustering_of

router = APIRouter(tags=["collections"], route_class=JsonRoute)
CURSOR = r"^[0-9]{1,9}$"
NOISE = -1
Attributes = Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(max_length=20)]
MemberId = Annotated[int, Path(ge=0, le=2**31, description="The `id` in the list of members.", examples=[0])]


class MemberFilter(BaseModel):
    """Query parameters of the list of members; others are refused."""

    model_config = ConfigDict(extra="forbid")

    version: Annotated[int | None, Field(ge=1, le=2**31, description="The newest version if absent.")] = None
    clustering: Annotated[Method | None, Field(description="Of `cluster`; the collection's first if absent.")] = None
    cluster: Annotated[
        int | None, Field(ge=NOISE, le=2**31, description="Only members of this cluster; -1 for noise.")
    ] = None
    having: Annotated[Attributes, Field(alias="with", description="Only members with all of these attributes.")] = []
    lacking: Annotated[
        Attributes, Field(alias="without", description="Only members that lack all of these attributes.")
    ] = []
    likeliest: Annotated[
        str | None,
        Field(alias="class", min_length=1, max_length=100, description="Only members whose likeliest class this is."),
    ] = None
    order: Annotated[
        Literal["id", "outlier_score"], Field(description="`outlier_score` lists the most isolated first.")
    ] = "id"
    limit: Annotated[int, Field(ge=1, le=1000, description="Maximum number of members on a page.")] = 100
    cursor: Annotated[str | None, Field(pattern=CURSOR, description="`next_cursor` of the previous page.")] = None

    @model_validator(mode="after")
    def _of_clustering(self) -> Self:
        if self.clustering and self.cluster is None:
            raise invalid("clustering", "Goes with `cluster`, which is absent")
        return self


class MemberClass(BaseModel):
    """A class of the space `photo`, with the probability that its classifier gives it."""

    name: str
    probability: float


class Member(BaseModel):
    """A member of a collection."""

    id: Annotated[int, Field(description="From 0, the same in all versions: a version adds members to the one before.")]
    name: Annotated[str, Field(description="An `img_…` id, or a data set and the index of an image in it.")]
    labels: Annotated[list[str], Field(description="The attributes that it has.")]
    classes: Annotated[
        list[MemberClass], Field(description="In `photo`: its three likeliest classes, the likeliest first.")
    ]
    scores: Annotated[list[float], Field(description="Its scores of the first 32 components.")]
    clusters: Annotated[dict[str, int], Field(description="Its cluster by each clustering; -1 is noise.")]
    map: Annotated[dict[str, list[float]], Field(description="Its place on each two-dimensional map.")]
    attributes: Annotated[dict[str, bool], Field(description="Whether it has each attribute; unknown ones are absent.")]
    outlier_score: Annotated[
        float, Field(description="From 0 to 1: 1 - 1 / LOF, 0 where its region is as dense as that of its neighbors.")
    ]
    thumbnail_url: Annotated[str | None, Field(description="Null for a member without an image.")]


class MemberPage(BaseModel):
    """A page of members; pass `next_cursor` as `cursor` for the next page."""

    collection: str
    version: int
    total: Annotated[int, Field(description="All members that the filters select.")]
    members: list[Member]
    next_cursor: str | None


class DuplicateFilter(BaseModel):
    """Query parameters of the list of near-duplicates; others are refused."""

    model_config = ConfigDict(extra="forbid")

    version: Annotated[int | None, Field(ge=1, le=2**31, description="The newest version if absent.")] = None
    threshold: Annotated[
        float,
        Field(ge=0, le=0.5, description="Largest distance of a pair; 1 is the typical distance of two members."),
    ] = 0.1
    limit: Annotated[int, Field(ge=1, le=1000, description="Maximum number of pairs on a page.")] = 100
    cursor: Annotated[str | None, Field(pattern=CURSOR, description="`next_cursor` of the previous page.")] = None


class Duplicate(BaseModel):
    """Two members that are nearly the same."""

    ids: Annotated[list[int], Field(description="The ids of both, the smaller first.")]
    names: list[str]
    distance: Annotated[float, Field(description="Of their scores; 1 is the typical distance of two members.")]


DUPLICATES: Any = {
    "collection": "col_" + "0" * 24,
    "version": 1,
    "total": 3,
    "pairs": [{"ids": [4, 17], "names": ["smileys/4", "smileys/17"], "distance": 0.0213}],
    "next_cursor": "1",
}


class DuplicatePage(BaseModel):
    """A page of pairs, nearest first; pass `next_cursor` as `cursor` for the next page."""

    model_config = ConfigDict(json_schema_extra={"examples": [DUPLICATES]})

    collection: str
    version: int
    total: Annotated[int, Field(description="All pairs within the threshold, at most 20,000.")]
    pairs: list[Duplicate]
    next_cursor: str | None


@router.get(
    "/v1/collections/{collection_id}/members",
    summary="List the members of a collection",
    response_model=MemberPage,
    responses=error_responses(404, 409, 422, 503),
)
def list_members(
    collection_id: CollectionId, service: ServiceDep, member_filter: Annotated[MemberFilter, Query()]
) -> Response:
    """Returns a page of members, by id or the most isolated first; filters select those that match all of them."""
    version, table = open_members(service, collection_id, member_filter.version)
    rows = _selected(table, version.figures, member_filter)
    start = int(member_filter.cursor or 0)
    ordered = np.arange(len(table)) if member_filter.order == "id" else table.by_outlier_score
    positions = np.flatnonzero(rows[ordered])
    page = positions[np.searchsorted(positions, start) :][: member_filter.limit + 1]
    chosen = ordered[page[: member_filter.limit]]
    return JSONResponse(
        {
            "collection": collection_id,
            "version": version.number,
            "total": len(positions),
            "members": _members(table, chosen, f"/v1/collections/{collection_id}/members", version.number),
            "next_cursor": str(page[-1]) if len(page) > member_filter.limit else None,
        }
    )


@router.get(
    "/v1/collections/{collection_id}/duplicates",
    summary="List near-duplicates in a collection",
    responses=error_responses(404, 409, 422, 503),
)
def list_duplicates(
    collection_id: CollectionId, service: ServiceDep, duplicate_filter: Annotated[DuplicateFilter, Query()]
) -> DuplicatePage:
    """Returns pairs of members whose scores are nearly the same, nearest first.

    Each member is compared with its 20 nearest, and the 10,000 nearest pairs are known. Of a larger group of members
    that are nearly the same, all are in a pair with its first member: up to 100,000 further pairs.
    """
    version, table = open_members(service, collection_id, duplicate_filter.version)
    total = int(np.searchsorted(table.pair_distances, duplicate_filter.threshold, side="right"))
    start = int(duplicate_filter.cursor or 0)
    end = min(start + duplicate_filter.limit, total)
    pairs = [
        Duplicate(ids=ids, names=[table.name(row) for row in ids], distance=round(distance, 4))
        for ids, distance in zip(table.pairs[start:end].tolist(), table.pair_distances[start:end].tolist(), strict=True)
    ]
    return DuplicatePage(
        collection=collection_id,
        version=version.number,
        total=total,
        pairs=pairs,
        next_cursor=str(end) if end < total else None,
    )


@router.get(
    "/v1/collections/{collection_id}/members/{member_id}/thumbnail",
    summary="Get the thumbnail of a member",
    response_class=Response,
    responses=error_responses(404, 409, 422, 500, 503, also=IMAGE_RESPONSES),
)
def get_thumbnail(
    collection_id: CollectionId,
    member_id: MemberId,
    service: ServiceDep,
    version: VersionQuery = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Returns a JPEG of 48 pixels a side; supports `If-None-Match`."""
    stored, table = open_members(service, collection_id, version)
    check_member(table, collection_id, stored.number, member_id, THUMBNAIL)
    return respond(service.tables.file(stored, member_id, THUMBNAIL), if_none_match)


@router.get(
    "/v1/collections/{collection_id}/members/{member_id}/image",
    summary="Get the image of a member",
    response_class=Response,
    responses=error_responses(404, 409, 422, 500, 503, also=IMAGE_RESPONSES),
)
def get_member_image(
    collection_id: CollectionId,
    member_id: MemberId,
    service: ServiceDep,
    version: VersionQuery = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Returns the upload that a member was made of while it is stored, else the square that was encoded.

    Squares of up to 64 pixels are PNG, larger ones JPEG. Members that an earlier release encoded have their thumbnail.
    """
    stored, table = open_members(service, collection_id, version)
    check_member(table, collection_id, stored.number, member_id, THUMBNAIL)
    if upload := stored_upload(service, table.name(member_id)):
        return serve(service.objects, upload.removeprefix("img_"), "image/png", if_none_match, None)
    return respond(member_image(service, stored, table, member_id), if_none_match)


def _selected(table: MembersTable, figures: dict[str, Any], chosen: MemberFilter) -> Any:
    method = None
    if chosen.cluster is not None:
        method = clustering_of("clustering", chosen.clustering, figures)
        if chosen.cluster != NOISE:
            check_cluster("cluster", chosen.cluster, figures["clusterings"][method]["n_clusters"])
    for field, names in (("with", chosen.having), ("without", chosen.lacking)):
        for name in names:
            check_attribute(field, name, table.attribute_names)
    if chosen.likeliest is not None:
        check_attribute("class", chosen.likeliest, sorted({table.class_names[k] for k in table.classes[:, :1].flat}))
    return table.rows(
        method=method,
        cluster=chosen.cluster,
        having=chosen.having,
        lacking=chosen.lacking,
        likeliest=chosen.likeliest,
    )


def _members(table: MembersTable, rows: Any, path: str, version: int) -> list[dict[str, Any]]:
    """Members as `Member` describes them, in one pass over each column."""
    columns = {
        "scores": table.scores[rows].astype(np.float64).round(4).tolist(),
        "clusters": table.clusters[rows].tolist(),
        "maps": table.maps[rows].astype(np.float64).round(4).tolist(),
        "attributes": table.attributes[rows].tolist(),
        "classes": table.classes[rows].tolist(),
        "probabilities": table.class_probabilities[rows].astype(np.float64).round(3).tolist(),
        "outliers": table.outlier_scores[rows].astype(np.float64).round(4).tolist(),
    }
    members = []
    for row, scores, clusters, maps, attributes, *likeliest, outlier in zip(
        rows.tolist(), *columns.values(), strict=True
    ):
        known = {name: value == 1 for name, value in zip(table.attribute_names, attributes, strict=True) if value >= 0}
        url = f"{path}/{row}/thumbnail?version={version}" if table.has_file(row, THUMBNAIL) else None
        members.append(
            {
                "id": row,
                "name": table.name(row),
                "labels": [name for name, has in known.items() if has],
                "classes": [
                    {"name": table.class_names[k], "probability": each} for k, each in zip(*likeliest, strict=True)
                ],
                "scores": scores,
                "clusters": dict(zip(table.methods, clusters, strict=True)),
                "map": dict(zip(table.map_names, maps, strict=True)),
                "attributes": known,
                "outlier_score": outlier,
                "thumbnail_url": url,
            }
        )
    return members
