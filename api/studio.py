"""The Studio: the page at `/` and its files, which browsers keep by the hash in their address."""

import gzip
import hashlib
import mimetypes
from functools import cache
from pathlib import Path
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Header, Response

from jobs.errors import NotFound

router = APIRouter(include_in_schema=False)
FOLDER = Path(__file__).parent / "static"
PAGE = "index.html"
COMPRESSED = {".html", ".css", ".js", ".json", ".md", ".svg", ".txt"}
TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".webp": "image/webp"}
FOREVER, ALWAYS_ASK = "public, max-age=31536000, immutable", "no-cache"


class File(NamedTuple):
    """A file, its compressed bytes if that makes it smaller, and its ETag."""

    data: bytes
    compressed: bytes | None
    content_type: str
    etag: str


@cache
def files() -> dict[str, File]:
    """Reads the files of the Studio once; the page names the version in the addresses of the others."""
    read = {path.relative_to(FOLDER).as_posix(): path.read_bytes() for path in FOLDER.rglob("*") if path.is_file()}
    read[PAGE] = read[PAGE].replace(b"VERSION", version().encode())
    return {name: _file(name, data) for name, data in read.items()}


@cache
def version() -> str:
    """A hash of all files: another version has other addresses."""
    digest = hashlib.sha256()
    for path in sorted(path for path in FOLDER.rglob("*") if path.is_file()):
        digest.update(path.relative_to(FOLDER).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


Accepted = Annotated[str, Header(alias="Accept-Encoding")]
KnownTag = Annotated[str | None, Header(alias="If-None-Match")]


@router.get("/")
@router.head("/")
async def get_studio(encodings: Accepted = "", if_none_match: KnownTag = None) -> Response:
    """Returns the page."""
    return _served(files()[PAGE], ALWAYS_ASK, encodings, if_none_match)


@router.get("/studio/{of_version}/{name:path}")
async def get_file(of_version: str, name: str, encodings: Accepted = "", if_none_match: KnownTag = None) -> Response:
    """Returns a file; one of another version, of a page loaded before an upgrade, is asked for again each time."""
    if name not in files():
        raise NotFound("not_found", "The Studio has no such file; load its page again.")
    return _served(files()[name], FOREVER if of_version == version() else ALWAYS_ASK, encodings, if_none_match)


def _file(name: str, data: bytes) -> File:
    suffix = Path(name).suffix
    compressed = gzip.compress(data, 9, mtime=0) if suffix in COMPRESSED else None
    content_type = TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return File(data, compressed, content_type, f'"{hashlib.sha256(data).hexdigest()[:32]}"')


def _served(file: File, caching: str, encodings: str, if_none_match: str | None) -> Response:
    headers = {"ETag": file.etag, "Cache-Control": caching, "Vary": "Accept-Encoding"}
    if if_none_match and file.etag in if_none_match:
        return Response(status_code=304, headers=headers)
    if file.compressed and "gzip" in encodings:
        return Response(file.compressed, media_type=file.content_type, headers=headers | {"Content-Encoding": "gzip"})
    return Response(file.data, media_type=file.content_type, headers=headers)
