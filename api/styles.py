"""Styles: the built-in ones, and those that were kept of a job's results."""

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Body, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

import jobs.store.registry
from api.content import IMAGE, IfNoneMatch, Range, serve
from api.errors import error_responses
from api.json_route import JsonRoute
from api.present import link_fields, time_of
from api.service import Service, ServiceDep
from jobs.errors import BadInput, NotFound
from jobs.images import read_recipe
from jobs.requests.base import STRICT, filled, invalid
from jobs.requests.styles import BUILTIN_NAMES, STYLE_ID, Vector
from jobs.schemas import CONTENT_TYPES, JOB_ID

router = APIRouter(tags=["style transfer"], route_class=JsonRoute)
StyleId = Annotated[
    str,
    Path(
        pattern=STYLE_ID,
        description="The id of a kept style.",
        examples=["sty_" + "0" * 24],
        json_schema_extra={"format": "style-id"},
    ),
]
TEXT, INTEGER, ARRAY, NULL = ({"type": name} for name in ("string", "integer", "array", "null"))
ONE_OF: Any = [
    {"required": ["job", "output"], "properties": {"job": TEXT, "output": INTEGER, "vector": NULL}},
    {"required": ["vector"], "properties": {"job": NULL, "output": NULL, "vector": ARRAY}},
]
JOB = "job_" + "0" * 24  # in the example; use the id of one of yours
EXAMPLES: dict[str, Any] = {
    "output": {
        "summary": "The style of the third image of a job in the space `style`",
        "value": {"name": "Rust and cobalt", "job": JOB, "output": 2},
    },
    "vector": {"summary": "A style by its vector", "value": {"name": "Plain", "vector": [0.1, -0.1] * 50}},
}


class BuiltinStyle(BaseModel):
    """A style of method `fast`."""

    id: Annotated[str, Field(description="Its name in requests: `builtin:` and its number.")]
    number: int
    name: Annotated[str, Field(description="A description; `builtin:` and this name the same style.")]


class KeptStyle(BaseModel):
    """A style that was kept, for every method of style transfer."""

    id: Annotated[str, Field(pattern=STYLE_ID, description="Its name in requests.")]
    name: str
    created_at: datetime
    thumbnail_url: Annotated[
        str | None, Field(description="The image that was made with it; null if it was kept by its vector.")
    ]
    thumbnail_url_expires_at: Annotated[
        datetime | None, Field(description="When a presigned `thumbnail_url` expires; null for one that does not.")
    ]


class KeptStyleDetails(KeptStyle):
    """A kept style with its vector and how it was made."""

    vector: Annotated[list[float], Field(description="Its 100 numbers in the space `style`.")]
    recipe: Annotated[
        dict[str, Any] | None,
        Field(description="The job, its kind and parameters, the output's index, models and versions of libraries."),
    ]


class StyleList(BaseModel):
    """The built-in styles by number, and a page of the kept ones; pass `next_cursor` as `cursor` for the next page."""

    styles: list[BuiltinStyle]
    kept: list[KeptStyle]
    next_cursor: str | None


class StyleFilter(BaseModel):
    """Query parameters of the list; others are refused."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=1000, description="Maximum number of kept styles on a page.")] = 100
    cursor: Annotated[str | None, Field(pattern=STYLE_ID, description="`next_cursor` of the previous page.")] = None


class NewStyle(BaseModel):
    """A style to keep: that of an output of a job in the space `style`, or a vector of that space."""

    model_config = ConfigDict(**STRICT, json_schema_extra={"oneOf": ONE_OF})

    name: Annotated[str, Field(min_length=1, max_length=100, description="Its name in lists.")]
    job: Annotated[
        str | None,
        Field(
            pattern=JOB_ID,
            description="A pc-steering or a cluster-sampling in the space `style`.",
            json_schema_extra={"format": "job-id"},
        ),
    ] = None
    output: Annotated[int | None, Field(ge=0, le=1000, description="The `index` of one of its images.")] = None
    vector: Vector | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.job is None) == (self.vector is None):
            raise invalid("job", "Give `job` and `output`, or `vector`")
        if (self.job is None) != (self.output is None):
            raise invalid("output", "Goes with `job`")
        return self


@router.get("/v1/styles", summary="List styles", responses=error_responses(422, 503))
def list_styles(service: ServiceDep, style_filter: Annotated[StyleFilter, Query()]) -> StyleList:
    """The built-in styles of method `fast`, whose names describe them, and the styles that were kept, newest first."""
    builtin = [BuiltinStyle(id=f"builtin:{i}", number=i, name=name) for i, name in enumerate(BUILTIN_NAMES)]
    kept, next_cursor = service.jobs.styles.page(limit=style_filter.limit, cursor=style_filter.cursor)
    return StyleList(
        styles=builtin, kept=[KeptStyle(**_facts(service, each)) for each in kept], next_cursor=next_cursor
    )


@router.post(
    "/v1/styles",
    status_code=201,
    summary="Keep a style",
    responses=error_responses(400, 404, 408, 413, 415, 422, 503),
)
def keep_style(params: Annotated[NewStyle, Body(openapi_examples=EXAMPLES)], service: ServiceDep) -> KeptStyleDetails:
    """Keeps a style under a name, such as a sample of a cluster of styles, for later style transfers.

    Its `id` is then allowed as the `style` of every method; a job copies the vector, so the style may be deleted while
    jobs use it. The output's image becomes its thumbnail and stays when the job is deleted.
    """
    if params.vector is not None:
        kept = service.jobs.styles.keep(params.name, params.vector, None, None)
    else:
        job_id = filled(params.job)
        output, recipe = _output(service, job_id, filled(params.output))
        vector = recipe.pop("vector")
        thumbnail = {name: output[name] for name in ("sha256", "content_type", "width", "height", "size_bytes")}
        kept = service.jobs.styles.keep(params.name, vector, recipe | {"job": job_id}, thumbnail)
    return _details(service, kept)


@router.get("/v1/styles/{style_id}", summary="Get a kept style", responses=error_responses(404, 422, 503))
def get_style(style_id: StyleId, service: ServiceDep) -> KeptStyleDetails:
    """A kept style with its vector and its recipe."""
    return _details(service, service.jobs.styles.get(style_id))


@router.get(
    "/v1/styles/{style_id}/thumbnail",
    summary="Get the image of a kept style",
    response_class=Response,
    responses=error_responses(404, 416, 422, 500, 503, also=IMAGE),
)
def get_style_thumbnail(
    style_id: StyleId, service: ServiceDep, if_none_match: IfNoneMatch = None, range_: Range = None
) -> Response:
    """The image that was made with the style. Supports `Range` and `If-None-Match`."""
    thumbnail = service.jobs.styles.get(style_id).thumbnail
    if thumbnail is None:
        raise NotFound("thumbnail_not_found", "The style was kept by its vector and has no image.", style=style_id)
    return serve(service.objects, thumbnail["sha256"], thumbnail["content_type"], if_none_match, range_)


@router.delete(
    "/v1/styles/{style_id}",
    status_code=204,
    summary="Delete a kept style",
    response_class=Response,
    responses=error_responses(404, 422, 503),
)
def delete_style(style_id: StyleId, service: ServiceDep) -> Response:
    """Jobs that were created with it have its vector and are not affected."""
    service.jobs.styles.delete(style_id)
    return Response(status_code=204)


def _output(service: Service, job_id: str, index: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """An output and the recipe in its file, which has the vector; raises NotFound, and BadInput for another output."""
    record = service.jobs.get(job_id)
    if index >= len(record.outputs):
        message = f"output: The job has {len(record.outputs)} outputs; its status is {record.status}."
        raise NotFound("output_not_found", message, field="output", job=job_id, index=index)
    output = record.outputs[index]
    is_image = output["content_type"] in CONTENT_TYPES.values()
    recipe = (read_recipe(service.objects.get(output["sha256"])) if is_image else None) or {}
    if "vector" not in recipe:
        message = "output: It has no style vector; images of pc-steerings and cluster-samplings in space `style` do."
        raise BadInput("no_style_vector", message, field="output", job=job_id)
    return output, recipe


def _facts(service: Service, style: jobs.store.registry.KeptStyle) -> dict[str, Any]:
    link: dict[str, Any] = {"url": None, "url_expires_at": None}
    if style.thumbnail:
        link = link_fields(service, style.thumbnail["sha256"], f"/v1/styles/{style.id}/thumbnail")
    return {
        "id": style.id,
        "name": style.name,
        "created_at": time_of(style.created_at),
        "thumbnail_url": link["url"],
        "thumbnail_url_expires_at": link["url_expires_at"],
    }


def _details(service: Service, style: jobs.store.registry.KeptStyle) -> KeptStyleDetails:
    return KeptStyleDetails(**_facts(service, style), vector=style.vector, recipe=style.recipe)
