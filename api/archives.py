"""POST /v1/archives: zip files of pictures to train on, stored as they come."""

import os
import threading
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Form, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from api.errors import Responses, error_responses, naming
from api.service import ServiceDep
from jobs.archives import count_files
from jobs.schemas import Archive

router = APIRouter(tags=["trainings"])
UPLOADED: Responses = {201: {"description": "The archive is stored."}}

# The directory of a hostile zip file takes some 200 MB while it is read: one at a time.
_reading = threading.Lock()


class ArchiveUpload(BaseModel):
    """A form with one zip file."""

    model_config = ConfigDict(extra="forbid")

    file: Annotated[UploadFile, Field(description="A zip file of pictures, with labels by folder or a `labels.csv`.")]


@router.post(
    "/v1/archives",
    status_code=201,
    summary="Upload a zip file of pictures",
    responses=error_responses(400, 413, 422, 503, also=UPLOADED),
    openapi_extra={
        "requestBody": {
            "content": {"multipart/form-data": {"encoding": {"file": {"contentType": "application/zip"}}}},
        }
    },
)
def upload_archive(
    form: Annotated[ArchiveUpload, Form(media_type="multipart/form-data")], service: ServiceDep
) -> Archive:
    """Store an archive and get the `zip_…` id that trainings name it by.

    Nothing is unpacked here: a training reads the pictures, and says which of them it cannot read.
    """
    file = form.file.file
    with naming("file"), _reading:
        n_files = count_files(file)
    size_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    sha = service.objects.put_file(file, "application/zip")
    service.jobs.put_archive(sha, {"size_bytes": size_bytes, "n_files": n_files})
    facts, until = service.jobs.get_archive(sha)
    return Archive(id=f"zip_{sha}", expires_at=datetime.fromtimestamp(until / 1000, UTC), **facts)
