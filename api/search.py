"""Search for the members of a collection that are nearest to an image, a member, a text or a vector."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from api.collections import CollectionId
from api.generations import SMILEY
from api.json_route import JsonRoute
from api.submit import JOB_RESPONSES, SUBMIT_RESPONSES, SubmissionDep, submit
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
JOB_ID, COLLECTION_ID = "job_" + "1" * 24, "col_" + "0" * 24  # of the example
FOUND: dict[str, Any] = {
    "id": JOB_ID,
    "kind": "collection-search",
    "status": "succeeded",
    "attempt": 1,
    "priority": 0,
    "created_at": "2026-05-01T12:00:00.000000Z",
    "started_at": "2026-05-01T12:00:00.004000Z",
    "finished_at": "2026-05-01T12:00:00.052000Z",
    "expires_at": None,
    "queue_position": None,
    "estimated_start_at": None,
    "progress": None,
    "params": {"collection": COLLECTION_ID, "version": 1, "member": 0, "n": 2, "seed": 7},
    "outputs": [
        {
            "index": 0,
            "role": "grid",
            "name": None,
            "sha256": "0" * 64,
            "content_type": "image/png",
            "width": 104,
            "height": 65,
            "size_bytes": 6120,
            "seed": 7,
            "url": "https://objects.example/atelier/" + "0" * 64,
            "url_expires_at": "2026-05-01T12:15:00Z",
        }
    ],
    "metrics": {
        **{"queue_ms": 4, "load_ms": 0, "run_ms": 41.7, "warnings": []},
        "matches": [
            {"id": 17, "name": "smileys/17", "distance": 0.31, "similarity": 0.94},
            {"id": 4, "name": "smileys/4", "distance": 0.38, "similarity": 0.91},
        ],
    },
    "error": None,
    "retry_of": None,
    "checkpoint": None,
    "urls": {
        "self": f"/v1/jobs/{JOB_ID}",
        "events": f"/v1/jobs/{JOB_ID}/events",
        "cancel": f"/v1/jobs/{JOB_ID}/cancel",
    },
}
ENDED = JOB_RESPONSES[200] | {"content": {"application/json": {"example": FOUND}}}


@router.post(
    "/v1/collections/{collection_id}/search",
    status_code=202,
    response_model=Job,
    summary="Search a collection",
    responses=SUBMIT_RESPONSES | {200: ENDED},
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
