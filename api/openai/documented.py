"""The error responses of OpenAI's API in the OpenAPI document."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from api.errors import MEANINGS, Responses, error_responses
from api.openai.errors import openai_error, openai_status


class OpenAIError(BaseModel):
    """An error in the shape of OpenAI's API."""

    message: str
    type: Annotated[str, Field(description="`invalid_request_error`, `rate_limit_error`, `server_error`, …")]
    param: Annotated[str | None, Field(description="The field that cannot be used.")]
    code: Annotated[str, Field(description="As in errors of the other paths, apart from a few that clients compare.")]


class OpenAIErrorAnswer(BaseModel):
    """The shape of every error answer of OpenAI's API."""

    error: OpenAIError


def openai_responses(*statuses: int) -> Responses:
    """Returns the OpenAPI `responses` of a route for these statuses of the other paths."""
    return {openai_status(status): _documented(status) for status in statuses}


def _documented(status: int) -> dict[str, Any]:
    when, code, message = MEANINGS[status]
    example = openai_error(status, {"code": code, "message": message, "details": {}})
    [known] = error_responses(status).values()
    return known | {
        "model": OpenAIErrorAnswer,
        "description": when,
        "content": {"application/json": {"example": example}},
    }
