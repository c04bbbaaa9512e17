"""Uploads of large files: images in zip files, embeddings, and weights of models."""

import os
from typing import IO, Annotated, Any

from fastapi import APIRouter, Form, Path, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from api.bounds import FORM_LIMITS
from api.errors import Responses, error_responses
from api.pools import ARCHIVING, COUNTING
from api.present import time_of
from api.service import Service, ServiceDep
from jobs.intake.archives import count_files, is_weights
from jobs.intake.films import inspect_film
from jobs.intake.vectors import inspect_vectors
from jobs.requests.facts import naming
from jobs.schemas import ARCHIVE_ID, Archive
from jobs.store.references import new_holder

router = APIRouter(tags=["trainings"])
UPLOADED: Responses = {201: {"description": "The archive is stored."}}


ArchiveId = Annotated[
    str,
    Path(
        pattern=ARCHIVE_ID,
        description="The id of an archive.",
        examples=["zip_" + "0" * 64],
        json_schema_extra={"format": "archive-id"},
    ),
]


class ArchiveUpload(BaseModel):
    """A form with one zip file."""

    model_config = ConfigDict(extra="forbid")

    file: Annotated[
        UploadFile,
        Field(
            description="A zip file of images, labeled by its folders, tables and texts; embeddings (npz, parquet); a "
            "film (animated GIF or WebP, MP4); or weights of a model (safetensors)."
        ),
    ]


@router.post(
    "/v1/archives",
    status_code=201,
    summary="Upload a zip file of images, embeddings, a film, or weights of a model",
    responses=error_responses(400, 408, 413, 422, 429, 503, also=UPLOADED),
    form_limits=FORM_LIMITS,
    openapi_extra={
        "requestBody": {
            "content": {"multipart/form-data": {"encoding": {"file": {"contentType": "application/zip"}}}},
        }
    },
)
async def upload_archive(
    form: Annotated[ArchiveUpload, Form(media_type="multipart/form-data")], service: ServiceDep
) -> Archive:
    """Stores a file and returns the `zip_…` id to use in trainings, collections and style transfers.

    The file is not unpacked here: the job reads the images and reports those that it cannot read. Embeddings for the
    `vectors` of a collection are an npz file, which is a zip file, or a parquet file; `vectors` of the answer is what
    their headers say, and why they cannot be used, if they cannot. Weights for `POST /v1/models` are one safetensors
    file.
    """
    facts = await COUNTING.run(_inspect, form.file.file)
    return await ARCHIVING.run(_store, service, form.file.file, facts)


@router.delete(
    "/v1/archives/{archive_id}",
    status_code=204,
    summary="Delete an uploaded archive",
    responses=error_responses(404, 422, 503),
)
def delete_archive(archive_id: ArchiveId, service: ServiceDep) -> None:
    """Deletes an archive; new requests cannot use it.

    Existing jobs that use it still run and can be retried; its bytes are deleted with the last of them.
    """
    service.jobs.archives.delete(archive_id.removeprefix("zip_"))


def _inspect(file: IO[bytes]) -> dict[str, Any]:
    """The facts of a file that its record has; raises BadInput for one that is no archive."""
    with naming("file"):
        film = inspect_film(file)
        n_files = 1 if film else count_files(file)
    vectors = None if film else inspect_vectors(file)
    size_bytes = file.seek(0, os.SEEK_END)
    found = {"vectors": vectors and vectors.model_dump(), "film": film and film.model_dump()}
    return {"size_bytes": size_bytes, "n_files": n_files, **found, "weights": is_weights(file)}


def _store(service: Service, file: IO[bytes], facts: dict[str, Any]) -> Archive:
    file.seek(0)
    holder = new_holder()
    sha = service.objects.put_file(file, "application/zip", holder=holder)
    service.jobs.archives.put(sha, facts, holder)
    stored, until = service.jobs.archives.get(sha)
    return Archive(id=f"zip_{sha}", expires_at=time_of(until), **stored)
