"""The FastAPI application: `uvicorn api.main:app`."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from fastapi.middleware import Middleware
from fastapi_offline import FastAPIOffline

from api import (
    archives,
    collections,
    generations,
    health,
    images,
    jobs,
    models,
    plots,
    steerings,
    style_transfers,
    trainings,
)
from api.bounds import body_bounds, bound_body
from api.errors import install_error_handlers
from api.json_route import JsonRoute
from api.middleware import RequestIdFilter, watch
from api.openapi import document
from api.service import make_service
from jobs.settings import Settings, get_settings

DESCRIPTION = """
Pictures by REST: send a photo and a style, or the name of a model, get a picture. Requests become **jobs**: a submit
answers `202` with the job at once (or waits for it: `Prefer: wait=20`), workers run it, and its pictures lie in object
storage.

* **An image** in a request is one string: the `img_…` id of an upload, a `data:` URL, or an `https:` URL.
* **Follow a job** by asking `GET /v1/jobs/{id}` or by Server-Sent Events at `/v1/jobs/{id}/events`.
* **Retry safely**: give a submit an `Idempotency-Key`; the same key and body return the first job for 24 hours.
* **The same request, seed and model give the same picture**; the recipe is in the job and inside the file.
* **Errors** have one shape: `{"error": {"code", "message", "details"}}`. `429` and `503` carry `Retry-After`.
* `X-Request-ID` is echoed, or made, on every answer.
"""
TAGS = [
    {"name": "style transfer", "description": "Paint a picture in the style of another."},
    {"name": "generation", "description": "Make pictures with the models trained here."},
    {"name": "collections", "description": "Pictures as vectors of a space, with their components and clusters."},
    {"name": "trainings", "description": "Train models of your own on your pictures, or on sets that are at hand."},
    {"name": "images", "description": "Upload the pictures that requests name."},
    {"name": "jobs", "description": "Look at jobs, follow, cancel and repeat them, and fetch what they made."},
    {"name": "models", "description": "What is installed, from where, under which licence."},
    {"name": "health", "description": "For load balancers and Prometheus."},
]


def create_app(settings: Settings) -> FastAPI:
    """The application over one set of settings."""
    service = make_service(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await service.events.aclose()

    app = FastAPIOffline(  # /docs brings its scripts along: it must work without a network
        title="Atelier",
        version="0.1.0",
        summary="A self-hosted image service.",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        lifespan=lifespan,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        middleware=[Middleware(watch), Middleware(bound_body, bounds=body_bounds(settings))],
    )
    app.router.route_class = JsonRoute
    app.state.service = service
    app.openapi = partial(document, app)  # type: ignore[method-assign]
    install_error_handlers(app)
    for module in (
        style_transfers,
        generations,
        collections,
        plots,
        steerings,
        trainings,
        archives,
        images,
        jobs,
        models,
        health,
    ):
        app.include_router(module.router)
    return app


def _configure_logging() -> None:
    handler = logging.StreamHandler()
    handler.addFilter(RequestIdFilter())
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # else each malformed form is a line in the log


_configure_logging()
app = create_app(get_settings())
