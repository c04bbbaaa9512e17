"""POST /v1/pc-steerings and /v1/cluster-samplings: what can be done with a collection."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

import jobs.steering
from api.cards import known_cards
from api.generations import SMILEY
from api.images import resolve_images
from api.json_route import JsonRoute
from api.service import Service
from api.submit import SUBMIT_RESPONSES, SubmissionDep, submit
from jobs.collection import PIXELS, TEXT_SPACES
from jobs.errors import BadInput, Conflict
from jobs.registry import Collection, Version
from jobs.schemas import Job
from jobs.steering import (
    SAMPLING,
    STEERING,
    ClusterSampling,
    Steering,
    TextStart,
    fitted_sampling,
    fitted_steering,
    images_of,
)

router = APIRouter(tags=["collections"], route_class=JsonRoute)
COLLECTION = "col_" + "0" * 24  # in the examples: put the id of one of yours in its place
STEERINGS: dict[str, Any] = {
    "components": {
        "summary": "From the mean along the first three components",
        "value": {"collection": COLLECTION, "components": [{"component": 0}, {"component": 1}, {"component": 2}]},
    },
    "attribute": {
        "summary": "A picture along a named direction",
        "value": {
            **{"collection": COLLECTION, "start": SMILEY},
            "components": [{"attribute": "winking", "fitting": "linear", "strengths": [-2, -1, 0, 1, 2]}],
        },
    },
    "text": {
        "summary": "A text along two directions at once, in a space that reads texts",
        "value": {
            **{"collection": COLLECTION, "start": {"text": "a smiling woman with glasses"}, "combine": True},
            "components": [{"component": 0, "strengths": [-1, 0, 1]}, {"component": 1, "strengths": [-1, 0, 1]}],
        },
    },
    "style": {
        "summary": "The centre of a cluster towards the style of a picture",
        "value": {"collection": COLLECTION, "start": {"cluster": 0}, "style_from": SMILEY, "style_components": 5},
    },
}
SAMPLINGS: dict[str, Any] = {
    "one cluster": {
        "summary": "Eight new pictures of a cluster",
        "value": {"collection": COLLECTION, "cluster": 1, "n": 8, "temperature": 0.8},
    },
    "all": {"summary": "Each cluster on one sheet", "value": {"collection": COLLECTION, "n": 4}},
}


@router.post(
    "/v1/pc-steerings",
    status_code=202,
    response_model=Job,
    summary="Move a picture along principal components",
    responses=SUBMIT_RESPONSES,
)
async def create_steering(
    params: Annotated[Steering, Body(openapi_examples=STEERINGS)], submission: SubmissionDep
) -> Response:
    """A grid with a row for each component or attribute, and its single pictures.

    With `style_from` the start's first components move towards those of that image. `metrics.pictures` says of each
    picture, encoded again, how far it is from what was aimed at (`distance`; 1 is as far as two members are), its
    `cluster`, and the share of members in sparser places (`density`).
    """
    return await submit(
        submission, kind=STEERING, queue="gpu", params=params, resolve=lambda service: _steering(service, params)
    )


@router.post(
    "/v1/cluster-samplings",
    status_code=202,
    response_model=Job,
    summary="Make new pictures of a cluster",
    responses=SUBMIT_RESPONSES,
)
async def create_sampling(
    params: Annotated[ClusterSampling, Body(openapi_examples=SAMPLINGS)], submission: SubmissionDep
) -> Response:
    """Drawn from the Gaussian of the cluster's members, or from the mixture's component, and decoded.

    The grid shows the nearest real members below each new picture; `metrics.pictures` names them, with the figures of a
    pc-steering.
    """
    return await submit(
        submission, kind=SAMPLING, queue="gpu", params=params, resolve=lambda service: _sampling(service, params)
    )


def _steering(service: Service, params: Steering) -> Steering:
    """The parameters with the version chosen, its defaults filled in and every image stored."""
    collection = service.jobs.collection(params.collection)
    version = _version(collection, params)
    if isinstance(params.start, TextStart):
        _check_reads_texts(service, collection.params["space"])
    params = fitted_steering(params, version.figures)
    images = resolve_images(service, images_of(params), check=lambda sizes: None)
    return params.model_copy(update={"version": version.number, **images})


def _check_reads_texts(service: Service, space: str) -> None:
    card = None if space == PIXELS else known_cards(service).get(space)
    if not card or card["architecture"].get("name") not in TEXT_SPACES:
        message = f"start.text: The space {space} reads no texts; start from an image, 'mean' or a cluster."
        raise BadInput("no_texts", message, field="start.text")


def _sampling(service: Service, params: ClusterSampling) -> ClusterSampling:
    version = _version(service.jobs.collection(params.collection), params)
    return fitted_sampling(params, version.figures).model_copy(update={"version": version.number})


def _version(collection: Collection, params: jobs.steering.OfCollection) -> Version:
    """The version asked for; raises `BadInput`, and `Conflict` while there is none yet."""
    n = len(collection.versions)
    if not n:
        message = f"The collection has no version yet; job {collection.building} is building it."
        raise Conflict("collection_not_ready", message, collection=collection.id, job=collection.building)
    if params.version is not None and params.version > n:
        message = f"version: The collection has versions 1 to {n}."
        raise BadInput("no_such_version", message, field="version", allowed=n)
    return collection.versions[(params.version or n) - 1]
