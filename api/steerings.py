"""POST /v1/pc-steerings, /v1/pc-animations and /v1/cluster-samplings: what can be done with a collection."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from api.generations import SMILEY, WINK
from api.json_route import JsonRoute
from api.style_transfers import CAT
from api.submit import SUBMIT_RESPONSES, SubmissionDep, submit
from jobs.requests.animation import Animation
from jobs.requests.steering import ClusterSampling, Steering
from jobs.schemas import Job

router = APIRouter(tags=["collections"], route_class=JsonRoute)
COLLECTION = "col_" + "0" * 24  # in the examples; use the id of one of yours
STEERINGS: dict[str, Any] = {
    "components": {
        "summary": "From the mean along the first three components",
        "value": {"collection": COLLECTION, "components": [{"component": 0}, {"component": 1}, {"component": 2}]},
    },
    "attribute": {
        "summary": "An image along the direction of an attribute",
        "value": {
            **{"collection": COLLECTION, "start": SMILEY},
            "components": [{"attribute": "winking", "fitting": "linear", "strengths": [-2, -1, 0, 1, 2]}],
        },
    },
    "text": {
        "summary": "A text along two directions at once, in a space that embeds texts",
        "value": {
            **{"collection": COLLECTION, "start": {"text": "a smiling woman with glasses"}, "combine": True},
            "components": [{"component": 0, "strengths": [-1, 0, 1]}, {"component": 1, "strengths": [-1, 0, 1]}],
        },
    },
    "photo": {
        "summary": "A photo from its own style along two components, in the space of styles",
        "value": {
            **{"collection": COLLECTION, "start": "photo", "content": CAT, "size": 256},
            "components": [{"component": 0}, {"component": 1}],
        },
    },
    "style": {
        "summary": "The center of a cluster towards the style of an image",
        "value": {"collection": COLLECTION, "start": {"cluster": 0}, "style_from": SMILEY, "style_components": 5},
    },
}
SAMPLINGS: dict[str, Any] = {
    "one cluster": {
        "summary": "Eight samples of a cluster",
        "value": {"collection": COLLECTION, "clustering": "kmeans", "cluster": 1, "n": 8, "temperature": 0.8},
    },
    "styles": {
        "summary": "Four new styles of each cluster on a photo, in the space of styles",
        "value": {"collection": COLLECTION, "n": 4, "content": CAT, "size": 256},
    },
    "all": {"summary": "Each cluster, on one sheet", "value": {"collection": COLLECTION, "n": 4}},
}
ANIMATIONS: dict[str, Any] = {
    "component": {
        "summary": "Along the first component and back",
        "value": {"collection": COLLECTION, "path": {"component": 0, "strengths": [-3, 3]}},
    },
    "between": {
        "summary": "From one image to another, as a film",
        "value": {
            **{"collection": COLLECTION, "path": {"through": [SMILEY, WINK]}},
            **{"n_frames": 24, "loop": False, "format": "mp4"},
        },
    },
    "circle": {
        "summary": "Around a circle through an image, a cluster and the mean",
        "value": {"collection": COLLECTION, "path": {"through": [SMILEY, {"cluster": 0}, "mean"]}, "n_frames": 36},
    },
    "cluster": {
        "summary": "Around a cluster",
        "value": {
            "collection": COLLECTION,
            "path": {"cluster": 1, "clustering": "kmeans", "n": 6},
            "n_frames": 36,
            "format": "gif",
        },
    },
}


@router.post(
    "/v1/pc-steerings",
    status_code=202,
    response_model=Job,
    summary="Move an image along principal components",
    responses=SUBMIT_RESPONSES,
)
async def create_steering(
    params: Annotated[Steering, Body(openapi_examples=STEERINGS)], submission: SubmissionDep
) -> Response:
    """A grid with a row for each component or attribute, and its single images.

    With `style_from` the start's first components move towards those of that image. `metrics.pictures` has figures of
    each image, encoded again: its `distance` from the target (in units of the typical distance of two members), its
    `cluster` by the rule of `metrics.clustering`, and its `density`: the share of members that lie in sparser regions.
    `target_density` is that of the target.
    """
    return await submit(submission, params)


@router.post(
    "/v1/cluster-samplings",
    status_code=202,
    response_model=Job,
    summary="Sample clusters",
    responses=SUBMIT_RESPONSES,
)
async def create_sampling(
    params: Annotated[ClusterSampling, Body(openapi_examples=SAMPLINGS)], submission: SubmissionDep
) -> Response:
    """Samples a Gaussian of the cluster's members, in a mixture weighted by their posterior, and decodes the samples.

    The grid shows the nearest members below each sample; `metrics.pictures` names them, with the figures of a
    pc-steering. With `all`, clusters of a single member are left out, and `metrics.warnings` says so.
    """
    return await submit(submission, params)


@router.post(
    "/v1/pc-animations",
    status_code=202,
    response_model=Job,
    summary="Animate a path through a space",
    responses=SUBMIT_RESPONSES,
)
async def create_animation(
    params: Annotated[Animation, Body(openapi_examples=ANIMATIONS)], submission: SubmissionDep
) -> Response:
    """Frames at equal distances along a direction, between two points, through several or around a cluster.

    The first output is the animation, the second a sheet of its frames. `metrics` has the largest and the mean step, in
    units of the typical distance of two members, and for up to 12 frames the figures of a pc-steering.
    """
    return await submit(submission, params)
