"""The job as every caller sees it, and the fields all requests share."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, field_validator

Kind = Literal["style-transfer", "generation", "training", "collection", "pc-steering", "cluster-sampling"]
Status = Literal["queued", "running", "canceling", "succeeded", "failed", "canceled", "expired"]
TERMINAL: frozenset[str] = frozenset({"succeeded", "failed", "canceled", "expired"})
Role = Literal["picture", "grid", "plot"]
ImageFormat = Literal["png", "jpeg", "webp"]
CONTENT_TYPES: dict[str, str] = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}

JOB_ID = r"^job_[0-9a-f]{24}$"
HTTPS_URL = r"^https://([A-Za-z0-9-]+\.)+[A-Za-z][A-Za-z0-9-]*(:(443|[2-9][0-9]{3}|[1-5][0-9]{4}))?(/[!-\[\]-~]*)?$"
IMAGE_ID = r"^img_[0-9a-f]{64}$"
ARCHIVE_ID = r"^zip_[0-9a-f]{64}$"
IMAGE_REF = r"^(img_[0-9a-f]{64}|data:image/[^,]+,.+|https://.+)$"

# The fields that hold an image, or several. Whatever else looks like an id is a text.
IMAGE_FIELDS = frozenset(
    {"content", "init_image", "style", "image", "mask", "style_mask", "images", "between", "start", "style_from"}
)

ImageRef = Annotated[
    str,
    Field(
        pattern=IMAGE_REF,
        description="An image: the id of an upload (`img_…`), a `data:` URL in base64, or an `https:` URL.",
        json_schema_extra={"format": "image-ref"},
    ),
]

WebhookUrl = Annotated[
    str,
    Field(
        pattern=HTTPS_URL,
        max_length=2048,
        examples=["https://example.com/hooks/atelier"],
        json_schema_extra={"format": "webhook-url"},
    ),
]


MAX_SEED = 2**53 - 1  # the largest integer that every JSON parser reads exactly


def seeds_from(seed: int, n: int) -> list[int]:
    """The seeds of n images: `seed` + k, from 0 again after the last."""
    return [(seed + k) % (MAX_SEED + 1) for k in range(n)]


STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


def chosen_by(field: str, names: Sequence[str], default: str | None = None) -> Discriminator:
    """What a union's branches, whose tags look like <name>, are told apart by: a field that is one of `names`."""

    def tag(value: Any) -> str:
        name = value.get(field, default) if isinstance(value, dict) else getattr(value, field, default)
        return f"<{name}>"

    return Discriminator(
        tag,
        custom_error_type=field,
        custom_error_message=f"Input should be {', '.join(map(repr, names[:-1]))} or {names[-1]!r}",
        custom_error_context={"field": field},
    )


def whole(value: Any) -> Any:
    """In JSON 64.0 is an integer; "64" and true are not."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Request(BaseModel):
    """The fields every job request shares; unknown fields and wrong types (`"512"` for 512) are refused."""

    model_config = STRICT

    seed: Annotated[
        int | None, Field(ge=0, le=MAX_SEED, description="Random state; chosen and reported when absent.")
    ] = None
    format: Annotated[ImageFormat, Field(description="File format of the outputs.")] = "png"
    priority: Annotated[
        int,
        Field(
            ge=-10, le=10, description="Higher runs first within its queue; a step counts as ten minutes of waiting."
        ),
    ] = 0
    expires_in: Annotated[
        int | None,
        Field(ge=1, le=7 * 86400, description="Seconds after which a job still queued becomes `expired`."),
    ] = None
    webhook_url: Annotated[
        WebhookUrl | None,
        Field(description="A public https URL that gets a POST with the job's end; tried again for two hours."),
    ] = None

    _whole = field_validator("*", mode="before")(whole)


MODEL_ID = r"^[a-z0-9][a-z0-9.-]{1,79}$"
ModelId = Annotated[str, Field(pattern=MODEL_ID, examples=["vae-smileys"], json_schema_extra={"format": "model-id"})]
Steps = Annotated[int, Field(ge=1, le=1000, description="Denoising steps.")]


class ModelRequest(Request):
    """A request of one model's work."""

    model: Annotated[ModelId, Field(description="What makes the pictures; `GET /v1/models` lists them.")]


class Progress(BaseModel):
    """How far a running job is."""

    step: Annotated[int, Field(description="The step just taken.")]
    total: Annotated[int, Field(description="All steps.")]
    fraction: Annotated[float, Field(description="`step` / `total`.")]
    message: Annotated[str, Field(description="What it is doing.")]
    preview_url: Annotated[str | None, Field(description="What the picture looks like so far.")] = None


class Output(BaseModel):
    """One finished picture; `url` is presigned where the store can sign."""

    index: Annotated[int, Field(description="Its place among the outputs, from 0.")]
    role: Annotated[Role, Field(description="`grid` shows several pictures with labels, `plot` shows figures.")]
    name: Annotated[str | None, Field(description="Of a collection's plot, by which the collection has it.")] = None
    sha256: Annotated[str, Field(description="Of its bytes; also its ETag.")]
    content_type: Annotated[str, Field(description="`image/png`, `image/jpeg` or `image/webp`.")]
    width: int
    height: int
    size_bytes: int
    seed: Annotated[int, Field(description="The random state it was made with.")]
    url: Annotated[str, Field(description="Where its bytes are.")]
    url_expires_at: Annotated[
        datetime | None, Field(description="Until when a presigned `url` works; null for one that lasts.")
    ]


class Checkpoint(BaseModel):
    """Where a training that was broken off stands: a retry goes on from there."""

    step: Annotated[int, Field(description="The steps it holds.")]
    sha256: Annotated[str, Field(description="Of its bytes, a safetensors file.")]
    size_bytes: int
    url: Annotated[str, Field(description="Where its bytes are.")]


class ErrorBody(BaseModel):
    """What went wrong: a code for programs, a sentence for people."""

    code: str
    message: str
    details: dict[str, Any] = {}


class ErrorAnswer(BaseModel):
    """The one shape of every error answer."""

    error: ErrorBody


class JobWarning(BaseModel):
    """What a person should know of a job that succeeds nevertheless: a code for programs, a sentence for people."""

    code: Annotated[str, Field(examples=["unknown_words"])]
    message: str


class Metrics(BaseModel):
    """Warnings, times in milliseconds (`queue_ms`, `load_ms`, `run_ms`), the device, and figures of the method."""

    model_config = ConfigDict(extra="allow")

    warnings: Annotated[list[JobWarning], Field(description="What was not used, not known or not as it seems.")] = []


class JobUrls(BaseModel):
    """Where to go from here."""

    self: str
    events: str
    cancel: str


class Job(BaseModel):
    """A job as it now is."""

    id: Annotated[str, Field(pattern=JOB_ID)]
    kind: Annotated[str, Field(description="What sort of job.")]
    status: Status
    attempt: Annotated[int, Field(description="How often a worker has taken it up.")]
    priority: Annotated[int, Field(description="Higher runs first within its queue.")]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: Annotated[datetime | None, Field(description="When it becomes `expired` if it is still queued.")]
    queue_position: Annotated[int | None, Field(description="Jobs that rank before this one in its queue.")]
    progress: Progress | None
    params: Annotated[
        dict[str, Any], Field(description="The request as resolved: defaults, seed and image ids filled in.")
    ]
    outputs: Annotated[list[Output], Field(description="The finished pictures.")]
    metrics: Annotated[Metrics, Field(description="Figures of the job, once it has ended.")]
    error: Annotated[ErrorBody | None, Field(description="Why it failed.")]
    retry_of: Annotated[str | None, Field(description="The job this one repeats.")]
    checkpoint: Annotated[
        Checkpoint | None, Field(description="The newest checkpoint of a training that has not succeeded.")
    ]
    urls: JobUrls


class JobPage(BaseModel):
    """One page of jobs, newest first; pass `next_cursor` as `cursor` for the next page."""

    jobs: list[Job]
    next_cursor: str | None


class Image(BaseModel):
    """An uploaded image, decoded once and stored as an upright 8-bit PNG in sRGB, with alpha where it has any."""

    id: Annotated[str, Field(pattern=IMAGE_ID)]
    width: Annotated[int, Field(description="Of the stored image, in pixels.")]
    height: Annotated[int, Field(description="Of the stored image, in pixels.")]
    size_bytes: Annotated[int, Field(description="Of the stored PNG.")]
    source_format: Annotated[str, Field(description="png, jpeg, webp, gif, bmp, tiff, heic or avif.")]
    source_width: Annotated[int, Field(description="Of the file, upright; above 25 megapixels less is kept.")]
    source_height: Annotated[int, Field(description="Of the file, upright; above 25 megapixels less is kept.")]
    expires_at: datetime
    url: str


class Archive(BaseModel):
    """An uploaded zip file, stored as it came."""

    id: Annotated[str, Field(pattern=ARCHIVE_ID)]
    size_bytes: int
    n_files: Annotated[int, Field(description="Files in it, of any sort.")]
    expires_at: datetime
