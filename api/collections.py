"""Collections: images encoded into a space, with their components and clusters; built by jobs, kept until deleted."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Response
from pydantic import BaseModel, ConfigDict, Field

import jobs.store.registry
from api.errors import error_responses
from api.generations import AVATAR, SMILEY, WINK
from api.json_route import JsonRoute
from api.present import time_of
from api.service import ServiceDep
from api.style_transfers import CAT, COFFEE
from api.submit import JOB_RESPONSES, SUBMIT_RESPONSES, SubmissionDep, submit
from jobs.requests.base import STRICT
from jobs.requests.clusterings import Method
from jobs.requests.collection import COLLECTION_ID, AdditionParams, CollectionParams
from jobs.requests.facts import version_of
from jobs.requests.steering import check_cluster, clustering_of
from jobs.schemas import JOB_ID, Job

router = APIRouter(tags=["collections"], route_class=JsonRoute)
CollectionId = Annotated[
    str,
    Path(
        pattern=COLLECTION_ID,
        description="A collection's id.",
        examples=["col_" + "0" * 24],
        json_schema_extra={"format": "collection-id"},
    ),
]


class Collection(BaseModel):
    """The state of a collection."""

    id: Annotated[str, Field(pattern=COLLECTION_ID)]
    name: str
    space: Annotated[str, Field(description="`pixels`, or the model that encodes the images.")]
    status: Annotated[
        Literal["building", "ready"], Field(description="`ready` once it has a version, also while the next is built.")
    ]
    version: Annotated[int | None, Field(description="The newest.")]
    building: Annotated[str | None, Field(pattern=JOB_ID, description="The job that makes the next version.")]
    created_at: datetime


class CollectionVersion(BaseModel):
    """A set of images and what was fitted to it; it never changes. `GET …/plots` lists its plots."""

    version: int
    created_at: datetime
    built_by: Annotated[str, Field(pattern=JOB_ID, description="The job that made it.")]
    n_images: int
    figures: Annotated[dict[str, Any], Field(description="Components, explained variance and each clustering.")]
    cluster_names: Annotated[
        dict[str, dict[int, str]],
        Field(
            description="The names that were given to clusters, by clustering and cluster.",
            examples=[{"kmeans": {"3": "Blue hats"}}],
        ),
    ]


class CollectionDetails(Collection):
    """A collection with all its versions, the oldest first."""

    versions: list[CollectionVersion]


class ClusterName(BaseModel):
    """A cluster, and its name."""

    model_config = ConfigDict(**STRICT)

    clustering: Annotated[Method | None, Field(description="The collection's first if absent.")] = None
    cluster: Annotated[int, Field(ge=0, le=2**31)]
    name: Annotated[str, Field(max_length=100, description='"" removes the name that was given before.')]


class ClusterNames(BaseModel):
    """Names of clusters of a version; clusters that are not listed keep theirs."""

    model_config = ConfigDict(**STRICT)

    version: Annotated[int | None, Field(ge=1, le=2**31, description="The newest version if absent.")] = None
    cluster_names: Annotated[list[ClusterName], Field(min_length=1, max_length=500)]


class CollectionList(BaseModel):
    """Every collection, newest first."""

    collections: list[Collection]


OWN_VECTORS = "zip_" + "0" * 64  # in the examples; use the id of one of yours
EXAMPLES: dict[str, Any] = {
    "named set": {
        "summary": "Gray pixels of handwritten digits, clustered in three ways",
        "value": {
            **{"name": "Digits", "space": "pixels", "image_size": 16, "channels": 1},
            **{"data": "digits", "limit": 200, "seed": 1},
            "clusterings": [
                {"method": "kmeans", "criterion": "gap", "candidates": [2, 5, 10, 15]},
                {"method": "hdbscan", "min_cluster_size": 5},
                {"method": "spectral", "n_clusters": 10},
            ],
        },
    },
    "your own images": {
        "summary": "Five images",
        "value": {
            **{"name": "A few", "space": "pixels", "images": [AVATAR, SMILEY, WINK, CAT, COFFEE]},
            **{"n_components": 3, "clusterings": [{"method": "agglomerative", "n_clusters": 2}]},
        },
    },
    "photographs": {
        "summary": "Photographs by what they show; classes of ImageNet name them and their clusters",
        "value": {
            **{"name": "Photos", "space": "photo", "images": [CAT, COFFEE, AVATAR, SMILEY], "n_components": 2},
            "clusterings": [{"method": "kmeans", "n_clusters": 2}],
        },
    },
    "styles": {
        "summary": "The styles of procedural paintings, which can paint any photo",
        "value": {
            **{"name": "Styles", "space": "style", "data": "styles", "limit": 45, "n_components": 2},
            "clusterings": [{"method": "kmeans", "n_clusters": 3}],
        },
    },
    "embeddings of a CLIP": {
        "summary": "CLIP embeddings of drawn faces, which a diffusion model can decode",
        "value": {
            **{"name": "Faces", "space": "kandinsky-avatars", "data": "avatars", "limit": 40, "n_components": 3},
            "clusterings": [{"method": "kmeans", "n_clusters": 3}],
        },
    },
    "your own embeddings": {
        "summary": "Vectors of your own, from an uploaded npz or parquet file; the space may have any name",
        "value": {
            **{"name": "My vectors", "space": "clip-vit-l-14", "vectors": OWN_VECTORS, "n_components": 3},
            "clusterings": [{"method": "kmeans", "n_clusters": 3}],
        },
    },
    "flowers": {
        "summary": "Latent codes of gray flowers, as Gaussians with full covariances, to sample new flowers from",
        "value": {
            **{"name": "Flowers", "space": "vae-flowers", "data": "flowers", "limit": 60},
            "clusterings": [{"method": "mixture", "covariance_type": "full", "candidates": [1, 2, 3]}],
        },
    },
    "codes of a model": {
        "summary": "Latent codes of drawn faces, as a mixture of Gaussians",
        "value": {
            **{"name": "Smileys", "space": "vae-smileys", "data": "smileys", "limit": 120, "explained_variance": 0.9},
            "clusterings": [
                {"method": "mixture", "max_components": 8, "covariance_type": "diag", "criterion": "bic"},
                {"method": "kmeans", "max_clusters": 8},
            ],
        },
    },
}
ADDITIONS: dict[str, Any] = {
    "named set": {"summary": "More of a set", "value": {"data": "digits", "limit": 50}},
    "your own images": {
        "summary": "Four images, and another clustering",
        "value": {"images": [AVATAR, SMILEY, WINK, CAT], "clusterings": [{"method": "kmeans", "n_clusters": 3}]},
    },
}
NAMES: dict[str, Any] = {
    "names": {
        "summary": "A name for one cluster, and none for another",
        "value": {"cluster_names": [{"cluster": 0, "name": "Blue hats"}, {"cluster": 1, "name": ""}]},
    },
}
ADDITION_RESPONSES = error_responses(400, 404, 408, 409, 413, 415, 422, 429, 503, also=JOB_RESPONSES)


@router.post(
    "/v1/collections",
    status_code=202,
    response_model=Job,
    summary="Make a collection of images",
    responses=SUBMIT_RESPONSES,
)
async def create_collection(
    params: Annotated[CollectionParams, Body(openapi_examples=EXAMPLES)], submission: SubmissionDep
) -> Response:
    """A job that encodes images into a space and fits principal components and clusters to the vectors.

    The collection exists at once, `building`; its id is the job's with `col_` instead of `job_`. When the job succeeds
    it has its first version; when the job ends otherwise, the collection is removed.
    """
    return await submit(submission, params)


@router.post(
    "/v1/collections/{collection_id}/images",
    status_code=202,
    response_model=Job,
    summary="Add images to a collection",
    responses=ADDITION_RESPONSES,
)
async def add_images(
    collection_id: CollectionId,
    params: Annotated[AdditionParams, Body(openapi_examples=ADDITIONS)],
    submission: SubmissionDep,
) -> Response:
    """A job that makes the next version: the images of the newest one and these, fitted anew.

    Older versions stay as they are. One job at a time builds a collection; while one does, the answer is 409.
    """
    return await submit(submission, params.of(collection_id))


@router.get("/v1/collections", summary="List collections, newest first", responses=error_responses(503))
def list_collections(service: ServiceDep) -> CollectionList:
    """All collections, including those that are being built."""
    return CollectionList(collections=[Collection(**_facts(record)) for record in service.jobs.collections.all()])


@router.get(
    "/v1/collections/{collection_id}", summary="The state of a collection", responses=error_responses(404, 422, 503)
)
def get_collection(collection_id: CollectionId, service: ServiceDep) -> CollectionDetails:
    """Its versions, with the figures of each."""
    record = service.jobs.collections.get(collection_id)
    return CollectionDetails(**_facts(record), versions=[_version(version) for version in record.versions])


@router.patch(
    "/v1/collections/{collection_id}",
    summary="Name the clusters of a collection",
    responses=error_responses(400, 404, 408, 409, 413, 415, 422, 503),
)
def name_clusters(
    collection_id: CollectionId, params: Annotated[ClusterNames, Body(openapi_examples=NAMES)], service: ServiceDep
) -> CollectionDetails:
    """Gives names to clusters, for everyone who sees the collection. They belong to one version.

    `figures` keeps the names that the fit has found. The next version has other clusters, and none of these names.
    """
    version = version_of(service.jobs.collections.get(collection_id), params.version)
    names: dict[tuple[str, int], str] = {}
    for i, each in enumerate(params.cluster_names):
        field = f"cluster_names.{i}"
        method = clustering_of(f"{field}.clustering", each.clustering, version.figures)
        check_cluster(f"{field}.cluster", each.cluster, version.figures["clusterings"][method]["n_clusters"])
        names[method, each.cluster] = each.name
    service.jobs.collections.name_clusters(collection_id, version.number, names)
    return get_collection(collection_id, service)


@router.delete(
    "/v1/collections/{collection_id}",
    status_code=204,
    summary="Delete a collection",
    responses=error_responses(404, 409, 422, 503),
)
def delete_collection(collection_id: CollectionId, service: ServiceDep) -> None:
    """Removes it with all its versions. While a job builds it, or unfinished jobs use it, the answer is 409."""
    service.jobs.collections.delete(collection_id)


def _facts(record: jobs.store.registry.CollectionRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.params["name"],
        "space": record.params["space"],
        "status": "ready" if record.versions else "building",
        "version": len(record.versions) or None,
        "building": record.building,
        "created_at": time_of(record.created_at),
    }


def _version(version: jobs.store.registry.Version) -> CollectionVersion:
    return CollectionVersion(
        version=version.number,
        created_at=time_of(version.created_at),
        built_by=version.built_by,
        n_images=version.figures["n_images"],
        figures=version.figures,
        cluster_names={method: dict(names) for method, names in version.cluster_names.items()},
    )
