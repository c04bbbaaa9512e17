"""Responses with the bytes of a stored image."""

import hashlib
import re
from typing import Annotated, Any

from fastapi import Header, Response

from api.errors import Responses, answer
from jobs.objects import Objects
from jobs.schemas import ANIMATION_TYPES, CONTENT_TYPES

_ETAG = {"ETag": {"description": "The sha256 of the bytes, in quotes.", "schema": {"type": "string"}}}
_RANGE = {"Content-Range": {"description": "The range of bytes, and the total number.", "schema": {"type": "string"}}}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_BYTES: dict[str, Any] = dict.fromkeys(CONTENT_TYPES.values(), _BINARY)
_OUTPUT_BYTES = _BYTES | dict.fromkeys(ANIMATION_TYPES.values(), _BINARY)
IMAGE: Responses = {
    200: {"description": "The image.", "content": _BYTES, "headers": _ETAG},
    206: {"description": "The requested `Range`.", "content": _BYTES, "headers": _ETAG | _RANGE},
    304: {"description": "The image has not changed.", "headers": _ETAG},
}
OUTPUT: Responses = IMAGE | {status: IMAGE[status] | {"content": _OUTPUT_BYTES} for status in (200, 206)}
IfNoneMatch = Annotated[
    str | None,
    Header(alias="If-None-Match", description="A known ETag; 304 if the image has not changed."),
]
Range = Annotated[str | None, Header(alias="Range", description="One range, such as `bytes=0-1023`.")]
# `Cache-Control` of what never changes, and of what may be something else at the next request.
FOREVER, ALWAYS_ASK = "private, max-age=31536000, immutable", "private, no-cache"
ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def serve(
    objects: Objects,
    sha: str,
    content_type: str,
    if_none_match: str | None,
    range_: str | None,
    cache_control: str = FOREVER,
) -> Response:
    """Returns an image, a range of it (206) or 304 if the ETag matches (RFC 9110, sections 13 and 14)."""
    headers = {"ETag": f'"{sha}"', "Accept-Ranges": "bytes", "Cache-Control": cache_control}
    if is_known(headers["ETag"], if_none_match):
        return Response(status_code=304, headers=headers)
    data = objects.get(sha)
    span = ONE_RANGE.fullmatch(range_.strip()) if range_ else None
    if span is None or span.groups() == ("", ""):  # an invalid range is ignored
        return Response(data, media_type=content_type, headers=headers)
    first, last = _bounds(span[1], span[2], len(data))
    if first > last:
        message = f"The image has {len(data)} bytes."
        return answer(416, "range_not_satisfiable", message, {"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
    return Response(data[first : last + 1], 206, media_type=content_type, headers=headers)


def respond(data: bytes, if_none_match: str | None) -> Response:
    """Returns an image that was stored as part of an object, or 304 if the ETag matches."""
    etag = f'"{hashlib.sha256(data).hexdigest()}"'
    headers = {"ETag": etag, "Cache-Control": FOREVER}
    if is_known(etag, if_none_match):
        return Response(status_code=304, headers=headers)
    content_type = "image/png" if data.startswith(b"\x89PNG") else "image/jpeg"
    return Response(data, media_type=content_type, headers=headers)


def caching(version: int | None) -> str:
    """Returns the `Cache-Control` of a file of a version; without a number it is the newest one's, which changes."""
    return FOREVER if version else ALWAYS_ASK


def is_known(etag: str, if_none_match: str | None) -> bool:
    """Whether `If-None-Match` has an ETag, or is `*` (RFC 9110, section 13.1.2)."""
    return if_none_match is not None and (if_none_match.strip() == "*" or etag in if_none_match)


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:  # a suffix range: the last bytes
        return max(0, size - int(last)), size - 1
    return int(first), min(int(last), size - 1) if last else size - 1
