"""What the API answers with: jobs, their outputs and errors, images and archives."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal[
    "style-transfer",
    "generation",
    "training",
    "collection",
    "collection-plots",
    "collection-search",
    "pc-steering",
    "cluster-sampling",
    "pc-animation",
    "model",
]
Status = Literal["queued", "running", "canceling", "succeeded", "failed", "canceled", "expired"]
TERMINAL: frozenset[str] = frozenset({"succeeded", "failed", "canceled", "expired"})
Role = Literal["picture", "grid", "plot", "animation"]
SafetyPolicy = Literal["off", "flag", "refuse"]
SAFETY_MODEL = "open-nsfw"
ImageFormat = Literal["png", "jpeg", "webp"]
AnimationFormat = Literal["webp", "gif", "mp4"]
CONTENT_TYPES: dict[str, str] = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
ANIMATION_TYPES: dict[str, str] = {"webp": "image/webp", "gif": "image/gif", "mp4": "video/mp4"}

JOB_ID = r"^job_[0-9a-f]{24}$"
IMAGE_ID = r"^img_[0-9a-f]{64}$"
ARCHIVE_ID = r"^zip_[0-9a-f]{64}$"


class Progress(BaseModel):
    """The progress of a running job."""

    step: Annotated[int, Field(description="Steps taken so far.")]
    total: Annotated[int, Field(description="Steps in all.")]
    fraction: Annotated[float, Field(description="`step` / `total`.")]
    message: Annotated[str, Field(description="The current activity.")]
    estimated_end_at: Annotated[
        datetime | None, Field(description="When the last step ends at the pace so far; null before the first step.")
    ] = None
    preview_url: Annotated[str | None, Field(description="A preview of the image so far.")] = None


class Output(BaseModel):
    """One finished image; `url` is presigned where the store can sign."""

    index: Annotated[int, Field(description="Its index among the outputs, from 0.")]
    role: Annotated[
        Role,
        Field(description="`grid`: several images with labels; `plot`: figures; others are `picture` or `animation`."),
    ]
    name: Annotated[
        str | None,
        Field(description="Of a plot of a collection: its name there; of an image of an archive: that of its entry."),
    ] = None
    sha256: Annotated[str, Field(description="sha256 of its bytes; also its ETag.")]
    content_type: Annotated[
        str, Field(description="`image/png`, `image/jpeg`, `image/webp`, `image/gif` or `video/mp4`.")
    ]
    width: int
    height: int
    size_bytes: int
    seed: Annotated[int, Field(description="The random state it was made with.")]
    url: Annotated[str, Field(description="The address of its bytes.")]
    url_expires_at: Annotated[
        datetime | None, Field(description="When a presigned `url` expires; null for one that does not.")
    ]


class Checkpoint(BaseModel):
    """The state of an interrupted training; a retry resumes from it."""

    step: Annotated[int, Field(description="The steps taken up to it.")]
    sha256: Annotated[str, Field(description="sha256 of its bytes, a safetensors file.")]
    size_bytes: int
    url: Annotated[str, Field(description="The address of its bytes.")]


class ErrorBody(BaseModel):
    """An error: a code for programs, a sentence for people."""

    code: str
    message: str
    details: dict[str, Any] = {}


class RequestError(ErrorBody):
    """Why a request was refused."""

    request_id: Annotated[str, Field(description="The `X-Request-ID` of the response; the log contains it.")] = ""


class ErrorAnswer(BaseModel):
    """The shape of every error answer."""

    error: RequestError


class JobWarning(BaseModel):
    """A warning of a job that succeeds: a code for programs, a sentence for people."""

    code: Annotated[str, Field(examples=["unknown_words"])]
    message: str


class SafetyScore(BaseModel):
    """The score of one output."""

    index: Annotated[int, Field(description="Of the output.")]
    score: Annotated[float, Field(description="0 (harmless) to 1; of an animation, the highest of its frames.")]
    flagged: Annotated[bool, Field(description="Whether the score has reached the threshold.")]


class InputScore(BaseModel):
    """The score of one image of the request."""

    field: Annotated[str, Field(description="The field that holds it, such as `terms.0.image`.")]
    score: Annotated[float, Field(description="0 (harmless) to 1.")]
    flagged: Annotated[bool, Field(description="Whether the score has reached the threshold.")]


class SafetyReport(BaseModel):
    """What the safety filter found."""

    model: Annotated[str, Field(description="The id of the classifier.")]
    threshold: float
    inputs: Annotated[list[InputScore], Field(description="Of the images of the request, masks excepted.")] = []
    outputs: list[SafetyScore]


class Metrics(BaseModel):
    """Warnings, times in milliseconds (`queue_ms`, `load_ms`, `run_ms`), the device, and figures of the method."""

    model_config = ConfigDict(extra="allow")

    warnings: Annotated[
        list[JobWarning], Field(description="Inputs not used or not recognized, and results to check.")
    ] = []
    safety: Annotated[SafetyReport | None, Field(description="Of jobs with the policy `flag` or `refuse`.")] = None


class JobUrls(BaseModel):
    """The addresses of a job."""

    self: str
    events: str
    cancel: str


class Job(BaseModel):
    """The state of a job."""

    id: Annotated[str, Field(pattern=JOB_ID)]
    kind: Annotated[str, Field(description="The kind of job.")]
    status: Status
    attempt: Annotated[int, Field(description="How often a worker has claimed it.")]
    priority: Annotated[int, Field(description="Higher runs first within its queue.")]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: Annotated[datetime | None, Field(description="When it becomes `expired` if it is still queued.")]
    queue_position: Annotated[
        int | None, Field(description="Jobs of its queue that are claimed before this one, if none is added.")
    ]
    estimated_start_at: Annotated[
        datetime | None, Field(description="When it starts if jobs end as often as they did; null if none has ended.")
    ]
    progress: Progress | None
    params: Annotated[
        dict[str, Any], Field(description="The request as resolved: defaults, seed and image ids filled in.")
    ]
    outputs: Annotated[list[Output], Field(description="The finished images.")]
    metrics: Annotated[Metrics, Field(description="Figures of the job, once it has ended.")]
    error: Annotated[ErrorBody | None, Field(description="Why it failed.")]
    retry_of: Annotated[str | None, Field(description="The job that this one repeats.")]
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
    source_width: Annotated[int, Field(description="Of the file, upright; more than stored above 25 megapixels.")]
    source_height: Annotated[int, Field(description="Of the file, upright; more than stored above 25 megapixels.")]
    expires_at: datetime
    url: str


class VectorFile(BaseModel):
    """What the headers of a file of embeddings say; `n` and `dim` are null where they are left to the job."""

    n: Annotated[int | None, Field(description="Vectors in it.")] = None
    dim: Annotated[int | None, Field(description="Values of each.")] = None
    problem: Annotated[str | None, Field(description="Why no collection can be made of them.")] = None


class FilmFile(BaseModel):
    """What the headers of a film say."""

    format: AnimationFormat
    width: Annotated[int, Field(description="Upright, in pixels.")]
    height: Annotated[int, Field(description="Upright, in pixels.")]
    n_frames: int


class Archive(BaseModel):
    """An uploaded file, stored unchanged."""

    id: Annotated[str, Field(pattern=ARCHIVE_ID)]
    size_bytes: int
    n_files: Annotated[int, Field(description="Files in it, of any type.")]
    vectors: Annotated[VectorFile | None, Field(description="Of embeddings for `vectors`; null for other files.")] = (
        None
    )
    film: Annotated[FilmFile | None, Field(description="Of a GIF, WebP or MP4; null for other files.")] = None
    weights: Annotated[bool, Field(description="Whether it is a safetensors file, with weights of a model.")] = False
    expires_at: datetime
