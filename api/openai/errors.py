"""Errors in the shape of OpenAI's API."""

from collections.abc import Mapping
from typing import Any

PATHS = "/openai/"
TYPES = {429: "rate_limit_error", 403: "permission_error"}
# Codes that OpenAI's clients compare; the others stay as they are.
CODES = {
    "unauthorized": "invalid_api_key",
    "rate_limited": "rate_limit_exceeded",
    "input_refused": "content_policy_violation",
    "output_refused": "content_policy_violation",
}
FIELDS = {"num_images_per_prompt": "n", "width": "size", "height": "size", "upscale": "size", "body": None}


def openai_status(status: int) -> int:
    """The status of an error: OpenAI's clients expect 400 for a field that cannot be used."""
    return 400 if status == 422 else status


def openai_error(status: int, error: Mapping[str, Any]) -> dict[str, Any]:
    """The body of an error response."""
    field = error["details"].get("field")
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    code = CODES.get(error["code"], error["code"])
    return {"error": {"message": error["message"], "type": kind, "param": FIELDS.get(field, field), "code": code}}
