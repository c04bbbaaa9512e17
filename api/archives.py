"""POST /v1/archives: zip files of pictures to train on, stored as they come."""

import os
from datetime import UTC, datetime
from typing import IO, Annotated

from fastapi import APIRouter, Form, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from api.bounds import FORM_LIMITS
from api.errors import Responses, error_responses, naming
from api.pools import ARCHIVING, COUNTING
from api.service import Service, ServiceDep
from jobs.archives import count_files
from jobs.schemas import Archive

router = APIRouter(tags=["trainings"])
UPLOADED: Responses = {201: {"description": "The archive is stored."}}


class ArchiveUpload(BaseModel):
    """A form with one zip file."""

    model_config = ConfigDict(extra="forbid")

    file: Annotated[
        UploadFile, Field(description="A zip file of images; folders, tables and text files say what is in them.")
    ]


@router.post(
    "/v1/archives",
    status_code=201,
    summary="Upload a zip file of pictures",
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
    """Store an archive and get the `zip_…` id that trainings name it by.

    Nothing is unpacked here: a training reads the pictures, and says which of them it cannot read.
    """
    with naming("file"):
        n_files = await COUNTING.run(count_files, form.file.file)
    return await ARCHIVING.run(_store, service, form.file.file, n_files)


def _store(service: Service, file: IO[bytes], n_files: int) -> Archive:
    size_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    sha = service.objects.put_file(file, "application/zip")
    service.jobs.put_archive(sha, {"size_bytes": size_bytes, "n_files": n_files})
    facts, until = service.jobs.get_archive(sha)
    return Archive(id=f"zip_{sha}", expires_at=datetime.fromtimestamp(until / 1000, UTC), **facts)
