"""Input images: uploads, `data:` URLs and `https:` URLs; each is decoded once and stored as an upright 8-bit PNG."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from io import BytesIO
from tempfile import SpooledTemporaryFile
from types import MappingProxyType
from typing import IO, Annotated, Any

import PIL.Image
from fastapi import APIRouter, Form, Path, Response, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from api.bounds import FORM_LIMITS, SPOOL_BYTES
from api.content import IMAGE, IfNoneMatch, Range, serve
from api.errors import Responses, error_responses
from api.member_images import referenced
from api.pools import DECODING, FETCHING, SUBMITTING
from api.present import time_of
from api.service import Service, ServiceDep
from images.mask import cut_out, drawn, read_mask
from jobs.errors import TooLarge
from jobs.images import DecodedImage, as_answers, decode_data_url, decode_image, stored
from jobs.intake.outbound import fetch
from jobs.requests.facts import naming
from jobs.schemas import IMAGE_ID, Image
from jobs.store.references import new_holder

router = APIRouter(tags=["images"])
Size = tuple[int, int]  # width, height
ImageId = Annotated[
    str,
    Path(
        pattern=IMAGE_ID,
        description="The id of an upload.",
        examples=["img_" + "0" * 64],
        json_schema_extra={"format": "image-id"},
    ),
]


class Upload(BaseModel):
    """A form with one file."""

    model_config = ConfigDict(extra="forbid")

    file: Annotated[
        UploadFile,
        Field(description="PNG, JPEG, WebP, GIF, BMP, TIFF, HEIC or AVIF; the first of several frames."),
    ]


TYPES = "image/png, image/jpeg, image/webp, image/gif, image/bmp, image/tiff, image/heic, image/heif, image/avif"
UPLOADED: Responses = {
    201: {
        "description": "The image is stored.",
        "headers": {"Location": {"description": "The path of the upload.", "schema": {"type": "string"}}},
    }
}

# The limit of one request's decoded images, which stay in the spool folder until all of them are checked.
MAX_DECODED_BYTES = 512 << 20


@router.post(
    "/v1/images",
    status_code=201,
    summary="Upload an image",
    responses=error_responses(400, 408, 413, 422, 429, 503, also=UPLOADED),
    openapi_extra={"requestBody": {"content": {"multipart/form-data": {"encoding": {"file": {"contentType": TYPES}}}}}},
    form_limits=FORM_LIMITS,
)
async def upload_image(
    form: Annotated[Upload, Form(media_type="multipart/form-data")],
    response: Response,
    service: ServiceDep,
) -> Image:
    """Stores an image and returns the `img_…` id to use in requests.

    The same image always gets the same id. EXIF orientation is applied, color profiles are converted to sRGB, and CMYK,
    16-bit and palette images are converted to 8-bit RGB. Masks use the alpha channel; any other use blends the image
    with white. The sides of an image above 25 megapixels are halved until it has fewer.
    """
    with naming("file"):
        decoded = await DECODING.run(_decode_file, service, form.file.file)
    holder = new_holder()
    image = await SUBMITTING.run(lambda: describe_image(service, store_image(service, decoded, holder)))
    response.headers["Location"] = f"/v1/images/{image.id}"
    return image


@router.get("/v1/images/{image_id}", summary="Get an uploaded image", responses=error_responses(404, 422, 503))
def get_image(image_id: ImageId, service: ServiceDep) -> Image:
    """Returns the size of an uploaded image and when it expires."""
    return describe_image(service, image_id)


@router.delete(
    "/v1/images/{image_id}",
    status_code=204,
    summary="Delete an uploaded image",
    responses=error_responses(404, 422, 503),
)
def delete_image(image_id: ImageId, service: ServiceDep) -> None:
    """Deletes an uploaded image; new requests cannot use it.

    Existing jobs that use it still run and can be retried; its bytes are deleted with the last of them.
    """
    service.jobs.images.delete(image_id.removeprefix("img_"))


@router.get(
    "/v1/images/{image_id}/content",
    summary="Download an uploaded image",
    response_class=Response,
    responses=error_responses(404, 416, 422, 500, 503, also=IMAGE),
)
def get_image_content(
    image_id: ImageId,
    service: ServiceDep,
    if_none_match: IfNoneMatch = None,
    range_: Range = None,
) -> Response:
    """Returns the stored PNG; supports `Range` and `If-None-Match`."""
    sha = image_id.removeprefix("img_")
    service.jobs.images.get(sha)
    return serve(service.objects, sha, "image/png", if_none_match, range_)


def describe_image(service: Service, image_id: str) -> Image:
    """Returns the description of an upload; raises `NotFound`."""
    facts, until = service.jobs.images.get(image_id.removeprefix("img_"))
    # Older records have no source size: those images were stored at their original size.
    facts = {"source_width": facts["width"], "source_height": facts["height"], **facts}
    return Image(id=image_id, expires_at=time_of(until), url=f"/v1/images/{image_id}/content", **facts)


def decode(service: Service, data: bytes) -> DecodedImage:
    """Decodes an untrusted image file; raises `BadInput` and `TooLarge`.

    It uses up to 430 MB: call it in the pool DECODING.
    """
    return decode_image(data, max_pixels=service.settings.max_pixels)


def _decode_file(service: Service, file: IO[bytes]) -> DecodedImage:
    return decode(service, file.read())


class _Spooled:
    """A decoded image whose PNG is in the spool folder until it is stored: a request may have 256 of them."""

    def __init__(self, image: DecodedImage) -> None:
        self._facts = replace(image, png=b"")
        self._file = SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115  # closed when the request ends
        self._file.write(image.png)

    @property
    def image(self) -> DecodedImage:
        """The image with its PNG."""
        self._file.seek(0)
        return replace(self._facts, png=self._file.read())


def store_image(service: Service, image: DecodedImage, holder: str | None = None) -> str:
    """Stores a decoded image and returns its `img_…` id; raises `Unavailable`.

    holder: the name of an upload, whose hold ends here. The image of a request is held until its job names it.
    """
    sha = service.objects.put(image.png, "image/png", holder=holder or "hold")
    facts: dict[str, Any] = {
        "width": image.width,
        "height": image.height,
        "size_bytes": len(image.png),
        "source_format": image.source_format,
        "source_width": image.source_width,
        "source_height": image.source_height,
    }
    service.jobs.images.put(sha, facts, holder)
    return f"img_{sha}"


def resolve_images(
    service: Service,
    references: dict[str, str],
    check: Callable[[dict[str, Size]], None],
    masks: Mapping[str, Size | None] = MappingProxyType({}),
) -> dict[str, str]:
    """Stores the images of a request and returns the `img_…` id of each field.

    `check` receives their sizes and may raise. `masks` are the fields with masks, each with the size that its center is
    cropped to, or None; a mask is stored as it was read, in black and white. Nothing is stored if any image is invalid.
    """
    decoded: dict[str, _Spooled | None] = {}
    sizes: dict[str, Size] = {}
    left = MAX_DECODED_BYTES
    references = dict(references)
    for field, reference in references.items():
        with naming(field):
            source = referenced(service, reference) if reference.startswith("col_") else reference
            image, sizes[field] = _read(service, source)
            references[field] = source if isinstance(source, str) else reference
            left -= len(image.png) if image else 0
            if left < 0:
                message = "The images of the request that are not uploads are too large together; upload them first."
                raise TooLarge("image_too_large", message, max_bytes=MAX_DECODED_BYTES)
            decoded[field] = _Spooled(image) if image else None
    check(sizes)
    for field, shape in masks.items():
        with naming(field):
            decoded[field] = _drawn_mask(service, references[field], decoded[field], shape)
    return {
        field: store_image(service, spooled.image) if spooled else references[field]
        for field, spooled in decoded.items()
    }


def _drawn_mask(service: Service, reference: str, spooled: _Spooled | None, shape: Size | None) -> _Spooled | None:
    """Converts a mask to black and white; returns None for an upload that is so already. Raises BadInput."""
    png = spooled.image.png if spooled else service.objects.get(reference.removeprefix("img_"))
    redrawn = DECODING.call(_redrawn, png, shape)
    return None if spooled is None and redrawn.png == png else _Spooled(redrawn)


def _redrawn(png: bytes, shape: Size | None) -> DecodedImage:
    with as_answers(), PIL.Image.open(BytesIO(png), formats=("PNG",)) as image:
        marked = read_mask(image)
        if shape:
            cut_out(marked, *shape)
        return stored(drawn(marked), "png")


def _read(service: Service, source: str | bytes) -> tuple[DecodedImage | None, Size]:
    """Decodes the image of a `data:` or `https:` URL, or of a file; and its size.

    Returns None for an upload, which is stored.
    """
    settings = service.settings
    if isinstance(source, bytes):
        data = source
    elif source.startswith("img_"):
        facts, _ = service.jobs.images.get(source.removeprefix("img_"))
        return None, (facts["width"], facts["height"])
    elif source.startswith("data:"):
        data = decode_data_url(source, max_bytes=settings.max_upload_bytes)
    else:
        data = FETCHING.call(_fetch, service, source)
    image = DECODING.call(decode, service, data)
    return image, (image.width, image.height)


def _fetch(service: Service, url: str) -> bytes:
    settings = service.settings
    return fetch(url, max_bytes=settings.max_upload_bytes, timeout_s=settings.fetch_timeout_s)
