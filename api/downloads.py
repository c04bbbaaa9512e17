"""All outputs of a job as one zip file."""

import io
import zipfile
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from api.errors import Responses, error_responses
from api.jobs import JobId
from api.service import ServiceDep
from jobs.errors import NotFound
from jobs.objects import Objects

router = APIRouter(tags=["jobs"])
SUFFIXES = {
    **{"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/gif": "gif"},
    "video/mp4": "mp4",
}
DATE = (1980, 1, 1, 0, 0, 0)  # the earliest one of a zip file: equal outputs give equal bytes
ZIP: Responses = {
    200: {
        "description": "A zip file.",
        "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get(
    "/v1/jobs/{job_id}/outputs",
    summary="Get all outputs as a zip file",
    response_class=StreamingResponse,
    responses=error_responses(404, 422, 500, 503, also=ZIP),
)
def get_outputs(job_id: JobId, service: ServiceDep) -> Response:
    """Returns the outputs of a finished job in their order: each by its number and, of an archive's image, its name."""
    outputs = service.jobs.get(job_id).outputs
    if not outputs:
        raise NotFound("output_not_found", "The job has no outputs.", job=job_id)
    parts = _zipped(service.objects, outputs)
    headers = {"Content-Disposition": f'attachment; filename="{job_id}.zip"'}
    first = next(parts)  # an error of the store is an answer
    return StreamingResponse(chain([first], parts), media_type="application/zip", headers=headers)


def _zipped(objects: Objects, outputs: Sequence[dict[str, Any]]) -> Iterator[bytes]:
    """Yields a zip file whose entries are not compressed again, an output at a time."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w") as archive:
        for output in outputs:
            archive.writestr(zipfile.ZipInfo(_name(output), DATE), objects.get(output["sha256"]))
            yield sink.taken()
    yield sink.taken()


def _name(output: dict[str, Any]) -> str:
    """A name such as 007-cat.png; of the entry's path only the last part, which no system reads as a folder."""
    given = output.get("name") or output["role"]  # a record of an earlier release has no name
    stem = "".join(letter if letter.isalnum() or letter in " -_.()" else "_" for letter in PurePosixPath(given).stem)
    return f"{output['index']:03}-{stem[:100] or 'image'}.{SUFFIXES[output['content_type']]}"


class _Sink(io.RawIOBase):
    """Collects what is written until it is taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        """Whether it can be written to."""
        return True

    def write(self, data: Any) -> int:
        """Adds bytes."""
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        """The bytes since the last call."""
        data = b"".join(self._parts)
        self._parts.clear()
        return data
