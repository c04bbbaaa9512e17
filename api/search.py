"""Search for the members of a collection that are nearest to an image, a member, a text or a vector."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from api.collections import CollectionId
from api.generations import SMILEY
from api.json_route import JsonRoute
from api.submit import SUBMIT_RESPONSES, SubmissionDep, submit
from jobs.requests.search import SearchParams
from jobs.schemas import Job

router = APIRouter(tags=["collections"], route_class=JsonRoute)
EXAMPLES: dict[str, Any] = {
    "image": {"summary": "The five members nearest to an image", "value": {"image": SMILEY, "n": 5}},
    "member": {"summary": "Members of a cluster that are like one", "value": {"member": 0, "cluster": 0}},
    "text": {
        "summary": "Members like a text, in a space that embeds texts",
        "value": {"text": "a smiling woman with glasses"},
    },
    "vector": {"summary": "Members near the origin of a space of 16 dimensions", "value": {"vector": [0.0] * 16}},
}


@router.post(
    "/v1/collections/{collection_id}/search",
    status_code=202,
    response_model=Job,
    summary="Search a collection",
    responses=SUBMIT_RESPONSES,
)
async def search_collection(
    collection_id: CollectionId,
    params: Annotated[SearchParams, Body(openapi_examples=EXAMPLES)],
    submission: SubmissionDep,
) -> Response:
    """A job that finds the nearest members; with `Prefer: wait=20` one call returns them.

    `metrics.matches` has the `id`, `name`, `distance` and `similarity` of each, nearest first, and the output is a grid
    of their thumbnails.
    """
    return await submit(submission, params.of(collection_id))
