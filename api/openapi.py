"""The OpenAPI document: what FastAPI makes of the routes, and what holds for every answer."""

from base64 import b64encode
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

REQUEST_ID = {
    "description": "The request's own `X-Request-ID` if it sent one of 1 to 128 letters, digits, `.`, `_` and `-`; "
    "else one made here. The log has it.",
    "schema": {"type": "string"},
}


def example_picture(name: str) -> str:
    """A file of `api/examples` as a `data:` URL, for requests that run as they stand."""
    return "data:image/webp;base64," + b64encode((Path(__file__).parent / "examples" / name).read_bytes()).decode()


def document(app: FastAPI) -> dict[str, Any]:
    """The document of the app's routes, made once.

    `X-Request-ID` stands on every answer. A parameter is absent, never null as FastAPI has it.
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
        made["components"]["headers"] = {"X-Request-ID": REQUEST_ID}
        for operation in (operation for path in made["paths"].values() for operation in path.values()):
            for parameter in operation.get("parameters", []):
                branches = parameter["schema"].pop("anyOf", [{}])
                parameter["schema"] |= next(branch for branch in branches if branch.get("type") != "null")
            for response in operation["responses"].values():
                response.setdefault("headers", {})["X-Request-ID"] = {"$ref": "#/components/headers/X-Request-ID"}
        app.openapi_schema = made
    return app.openapi_schema
