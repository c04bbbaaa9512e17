"""POST /openai/v1/images/generations, /edits and /variations."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Form, Request, Response
from starlette.datastructures import UploadFile

from api.errors import Responses
from api.images import TYPES
from api.json_route import JsonRoute
from api.openai.answer import Asked, answer_with_images
from api.openai.documented import openai_responses
from api.openai.fields import GeneratedImages, ImageEdit, ImageGeneration, ImageVariation
from api.openai.translate import edit, generation, variation
from api.service import ServiceDep
from api.submit import IdempotencyKey, Submission
from jobs.errors import BadInput

router = APIRouter(tags=["openai"], route_class=JsonRoute)
FORM_LIMITS: Any = {"max_files": 17, "max_fields": 20, "max_part_size": 16_384}
STREAMED_KINDS = [f"image_{kind}.{when}" for kind in ("generation", "edit") for when in ("partial_image", "completed")]
EVENT = {
    "type": "object",
    "description": "One event of the stream, with `stream`.",
    "properties": {
        "event": {"enum": [*STREAMED_KINDS, "error"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}
STREAM = {"text/event-stream": {"schema": EVENT}}
MADE: Responses = {200: {"model": GeneratedImages, "description": "The images, at the end of the job."}}
STREAMED: Responses = {200: {**MADE[200], "content": STREAM}}
FAILURES = openai_responses(400, 404, 408, 413, 415, 422, 429, 500, 503)
EXAMPLES: dict[str, Any] = {
    "one": {"summary": "One image", "value": {"prompt": "a smiling woman with glasses and a red hat"}},
    "several": {
        "summary": "Two images as base64",
        "value": {
            **{"model": "stable-diffusion-avatars", "prompt": "a man with a green hat", "n": 2},
            **{"size": "256x256", "response_format": "b64_json"},
        },
    },
    "stream": {
        "summary": "An image with partial images before it",
        "value": {"prompt": "a frowning man with a blue hat", "stream": True, "partial_images": 2},
    },
}


def get_openai_submission(request: Request, service: ServiceDep, idempotency_key: IdempotencyKey = None) -> Submission:
    """Returns what a request says beside its body."""
    return Submission(service, request.scope, "", idempotency_key, 0)


OpenAISubmission = Annotated[Submission, Depends(get_openai_submission)]


def _files(*names: str) -> dict[str, Any]:
    """The media types of files in a form."""
    encoding = {name: {"contentType": TYPES} for name in names}
    return {"requestBody": {"content": {"multipart/form-data": {"encoding": encoding}}}}


@router.post("/openai/v1/images/generations", summary="Generate images (OpenAI's API)", responses=FAILURES | STREAMED)
async def openai_generate(
    asked: Annotated[ImageGeneration, Body(openapi_examples=EXAMPLES)], request: Request, submission: OpenAISubmission
) -> Response:
    """A generation of mode `text-to-image`, answered with its images once they are finished.

    With `stream`, the events `image_generation.partial_image` and `image_generation.completed`.
    """
    how = Asked("image_generation", str(request.base_url), *_streamed(asked))
    return await answer_with_images(submission, partial(generation, asked), how)


@router.post(
    "/openai/v1/images/edits",
    summary="Edit an image (OpenAI's API)",
    responses=FAILURES | STREAMED,
    openapi_extra=_files("image", "image[]", "mask"),
    form_limits=FORM_LIMITS,
)
async def openai_edit(
    asked: Annotated[ImageEdit, Form(media_type="multipart/form-data")], request: Request, submission: OpenAISubmission
) -> Response:
    """A generation of mode `inpaint` where the mask or the image is transparent, otherwise of `image-to-image`.

    Without `size`, an image with a mask keeps its size and all its other pixels. With `stream`, the events
    `image_edit.partial_image` and `image_edit.completed`.
    """
    form = await request.form()
    images = [*form.getlist("image"), *form.getlist("image[]")]
    if len(images) != 1 or not isinstance(images[0], UploadFile):
        message = f"image: One image is edited at a time; {len(images)} were sent."
        raise BadInput("invalid_request", message, field="image")
    how = Asked("image_edit", str(request.base_url), *_streamed(asked))
    return await answer_with_images(submission, partial(edit, asked, images[0]), how)


@router.post(
    "/openai/v1/images/variations",
    summary="Vary an image (OpenAI's API)",
    responses=FAILURES | MADE,
    openapi_extra=_files("image"),
    form_limits=FORM_LIMITS,
)
async def openai_vary(
    asked: Annotated[ImageVariation, Form(media_type="multipart/form-data")],
    request: Request,
    submission: OpenAISubmission,
) -> Response:
    """A generation of mode `vary`, by a model of image embeddings."""
    how = Asked("image_variation", str(request.base_url), asked.response_format)
    return await answer_with_images(submission, partial(variation, asked), how)


def _streamed(asked: ImageGeneration | ImageEdit) -> tuple[str | None, bool, int]:
    return asked.response_format, bool(asked.stream), asked.partial_images or 0
