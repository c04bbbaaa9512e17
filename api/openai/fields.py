"""The requests and responses of OpenAI's Images API, as its clients send and expect them."""

from typing import Annotated, Any, Literal

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field

from jobs.requests.text_to_image import NOT_BLANK
from jobs.schemas import ImageFormat

SIZE = r"^(auto|[1-9][0-9]{1,3}x[1-9][0-9]{1,3})$"
FILE = "PNG, JPEG, WebP, GIF, BMP, TIFF, HEIC or AVIF."
IGNORED = "Without effect."

Prompt = Annotated[str, Field(min_length=1, max_length=2000, pattern=NOT_BLANK, description="What to show.")]
Ignored = Annotated[str | None, Field(max_length=200, description=IGNORED)]


class AskedImages(BaseModel):
    """The fields that all requests share."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[
        str | None,
        Field(
            max_length=200,
            description="A model of `GET /openai/v1/models`, of a variation one with the mode `vary`; when absent, the "
            "default of the service.",
            json_schema_extra={"format": "openai-model"},
        ),
    ] = None
    n: Annotated[int | None, Field(ge=1, le=10, description="The number of images; 1 when absent.")] = None
    size: Annotated[
        str | None,
        Field(
            pattern=SIZE,
            description="WIDTHxHEIGHT; when absent or `auto`, that of the model. The error names what a model makes.",
            examples=["256x256"],
            json_schema_extra={"format": "openai-size"},
        ),
    ] = None
    response_format: Annotated[
        Literal["url", "b64_json"] | None, Field(description="What the response has of each image; both when absent.")
    ] = None
    user: Ignored = None


class _Prompted(AskedImages):
    """The fields of generations and edits."""

    prompt: Prompt
    output_format: Annotated[ImageFormat | None, Field(description="File format of the images; `png` when absent.")] = (
        None
    )
    output_compression: Annotated[
        int | None, Field(ge=100, le=100, description="Only 100: files have one quality.")
    ] = None
    stream: Annotated[
        bool | None, Field(description="Answer with Server-Sent Events: partial images, then the images.")
    ] = None
    partial_images: Annotated[
        int | None, Field(ge=0, le=3, description="How many partial images a stream has at most; 0 when absent.")
    ] = None
    background: Annotated[Literal["auto", "opaque"] | None, Field(description="Images are opaque.")] = None
    quality: Annotated[
        Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"] | None, Field(description=IGNORED)
    ] = None
    moderation: Annotated[Literal["auto", "low"] | None, Field(description=IGNORED)] = None
    safety_identifier: Ignored = None


class ImageGeneration(_Prompted):
    """A request of `images/generations`."""

    model_config = ConfigDict(strict=True)

    style: Annotated[Literal["vivid", "natural"] | None, Field(description=IGNORED)] = None


class ImageEdit(_Prompted):
    """A form of `images/edits`."""

    image: Annotated[UploadFile | None, Field(description=f"The image to edit. {FILE}")] = None
    images: Annotated[
        UploadFile | None, Field(alias="image[]", description="The same, as clients name it that could send several.")
    ] = None
    mask: Annotated[
        UploadFile | None,
        Field(
            description="As large as the image; its transparent pixels are generated anew. Without a mask, those of "
            "the image are, and an opaque image is changed everywhere."
        ),
    ] = None
    input_fidelity: Annotated[Literal["low"] | None, Field(description="Only `low`.")] = None


class ImageVariation(AskedImages):
    """A form of `images/variations`."""

    image: Annotated[UploadFile, Field(description=f"The image to vary; its center is cut out. {FILE}")]


class GeneratedImage(BaseModel):
    """One image of a response."""

    url: Annotated[str | None, Field(description="Where its bytes are; needs the API key unless it is presigned.")] = (
        None
    )
    b64_json: Annotated[str | None, Field(description="Its bytes in base64.")] = None


class GeneratedImages(BaseModel):
    """The response of a finished job."""

    created: Annotated[int, Field(description="Unix time of the end of the job.")]
    data: list[GeneratedImage]
    background: Literal["opaque"]
    output_format: ImageFormat
    size: Annotated[str, Field(description="WIDTHxHEIGHT.")]


class OpenAIModel(BaseModel):
    """A model that makes images of texts or varies images."""

    id: str
    object: Literal["model"] = "model"
    created: Annotated[int, Field(description="0: unknown.")] = 0
    owned_by: Literal["atelier"] = "atelier"


class OpenAIModelList(BaseModel):
    """The models that make images of texts or vary images."""

    object: Literal["list"] = "list"
    data: list[OpenAIModel]


USAGE: dict[str, Any] = {  # clients expect it in a stream; tokens are not counted
    "input_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "output_tokens": 0,
    "total_tokens": 0,
}
