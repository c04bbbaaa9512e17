"""The OpenAPI document: the routes as FastAPI describes them, and what all responses share."""

from base64 import b64encode
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.access import SECURITY_SCHEMES, is_public
from api.openai.errors import PATHS

REQUEST_ID = {
    "description": "The `X-Request-ID` of the request if it has one of 1 to 128 letters, digits, `.`, `_` and `-`; "
    "otherwise a new one. The log contains it.",
    "schema": {"type": "string"},
}


def example_image(name: str) -> str:
    """Returns a file of `api/examples` as a `data:` URL, for example requests that run without changes."""
    return "data:image/webp;base64," + b64encode((Path(__file__).parent / "examples" / name).read_bytes()).decode()


def document(app: FastAPI) -> dict[str, Any]:
    """Builds the document of the app's routes once.

    Every response has `X-Request-ID`. Optional parameters may be absent, but not null as FastAPI describes them.
    """
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
        )
        for name in ("HTTPValidationError", "ValidationError"):
            made["components"]["schemas"].pop(name, None)
        made["components"]["headers"] = {"X-Request-ID": REQUEST_ID}
        made["components"]["securitySchemes"] = SECURITY_SCHEMES
        made["security"] = [{name: []} for name in SECURITY_SCHEMES]
        for path, operation in ((path, each) for path, methods in made["paths"].items() for each in methods.values()):
            if path.startswith(PATHS):
                operation["responses"].pop("422", None)  # of FastAPI's, where no 422 is documented
            if is_public(path):
                operation["security"] = []
            for parameter in operation.get("parameters", []):
                branches = parameter["schema"].pop("anyOf", [{}])
                parameter["schema"] |= next(branch for branch in branches if branch.get("type") != "null")
            for response in operation["responses"].values():
                _add_nulls(response, made["components"]["schemas"])
                response.setdefault("headers", {})["X-Request-ID"] = {"$ref": "#/components/headers/X-Request-ID"}
        app.openapi_schema = made
    return app.openapi_schema


def _add_nulls(response: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Completes the example of a response: FastAPI leaves out fields that are null."""
    for content in response.get("content", {}).values():
        if "example" in content:
            content["example"] = _with_nulls(content["example"], content.get("schema", {}), schemas)


def _with_nulls(example: Any, schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """An example with null in each required field that it lacks, also in the objects inside it."""
    known = schemas.get(schema.get("$ref", "").rpartition("/")[2], {})
    if not isinstance(example, dict) or not known:
        return example
    inside = {name: _with_nulls(value, known["properties"].get(name, {}), schemas) for name, value in example.items()}
    return dict.fromkeys(known.get("required", [])) | inside
