"""Answers that carry a stored picture."""

import re
from typing import Annotated, Any

from fastapi import Header, Response

from api.errors import Responses, answer
from jobs.objects import Objects
from jobs.schemas import CONTENT_TYPES

_ETAG = {"ETag": {"description": "The sha256 of the bytes, in quotes.", "schema": {"type": "string"}}}
_RANGE = {"Content-Range": {"description": "Which bytes of how many.", "schema": {"type": "string"}}}
_BYTES: dict[str, Any] = {name: {"schema": {"type": "string", "format": "binary"}} for name in CONTENT_TYPES.values()}
PICTURE: Responses = {
    200: {"description": "The picture.", "content": _BYTES, "headers": _ETAG},
    206: {"description": "The bytes that `Range` asks for.", "content": _BYTES, "headers": _ETAG | _RANGE},
    304: {"description": "The caller has it already.", "headers": _ETAG},
}
IfNoneMatch = Annotated[
    str | None, Header(alias="If-None-Match", description="An ETag from before: 304 if the picture is still that one.")
]
Range = Annotated[str | None, Header(alias="Range", description="One range, such as `bytes=0-1023`.")]
ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def serve(objects: Objects, sha: str, content_type: str, if_none_match: str | None, range_: str | None) -> Response:
    """A picture, a part of it (206) or the word that the caller has it already (304). RFC 9110 sections 13 and 14."""
    headers = {"ETag": f'"{sha}"', "Accept-Ranges": "bytes", "Cache-Control": "private, max-age=31536000, immutable"}
    if if_none_match and (if_none_match.strip() == "*" or f'"{sha}"' in if_none_match):
        return Response(status_code=304, headers=headers)
    data = objects.get(sha)
    span = ONE_RANGE.fullmatch(range_.strip()) if range_ else None
    if span is None or span.groups() == ("", ""):  # a range that is not understood is ignored
        return Response(data, media_type=content_type, headers=headers)
    first, last = _bounds(span[1], span[2], len(data))
    if first > last:
        message = f"The picture has {len(data)} bytes."
        return answer(416, "range_not_satisfiable", message, {"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
    return Response(data[first : last + 1], 206, media_type=content_type, headers=headers)


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:  # the last so many bytes
        return max(0, size - int(last)), size - 1
    return int(first), min(int(last), size - 1) if last else size - 1
