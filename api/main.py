"""The FastAPI application: `uvicorn api.main:app`."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

from anyio import to_thread
from fastapi import FastAPI
from fastapi.middleware import Middleware
from fastapi_offline import FastAPIOffline
from redis import RedisError
from starlette.middleware.cors import CORSMiddleware

from api import (
    archives,
    collections,
    columns,
    downloads,
    exports,
    generations,
    health,
    images,
    jobs,
    keys,
    members,
    metrics,
    models,
    plots,
    search,
    steerings,
    studio,
    style_transfers,
    styles,
    trainings,
    usage,
    webhooks,
)
from api.access import admit
from api.bounds import body_bounds, bound_body
from api.errors import error_responses, install_error_handlers
from api.json_route import JsonRoute
from api.middleware import watch
from api.openai import images as openai_images
from api.openai import models as openai_models
from api.openai.documented import openai_responses
from api.openapi import document
from api.service import Service, make_service
from jobs.logs import configure_logging
from jobs.settings import Settings, get_settings
from jobs.tracing import start_tracing

log = logging.getLogger("atelier.api")

DESCRIPTION = """
Create and transform images over REST. A request creates a **job**: the response is `202` with the job (or waits for it
to finish: `Prefer: wait=20`), a worker runs it, and its images are stored in object storage.

* **An image** in a request is one string: the `img_…` id of an upload, a member of a collection (`col_…/17`), a
  `data:` URL, or an `https:` URL.
* **Follow a job** by polling `GET /v1/jobs/{id}` or by Server-Sent Events at `/v1/jobs/{id}/events`.
* **Retry safely** with an `Idempotency-Key`: the same key and body return the first job for 24 hours.
* **The same request, seed and model give the same image**; the recipe is in the job and inside the file.
* **A key** goes with each request, as `Authorization: Bearer atl_…` or `X-API-Key: atl_…`, once the first one was made.
* **Errors** have one shape: `{"error": {"code", "message", "details", "request_id"}}`.
  `429` and `503` have `Retry-After`.
* Every response has `X-Request-ID`: the one of the request, or a new one.
"""
TAGS = [
    {"name": "style transfer", "description": "Render an image in the style of another."},
    {"name": "generation", "description": "Generate and edit images with shipped and trained models."},
    {
        "name": "collections",
        "description": "Images as vectors in a latent space, with components and clusters.",
    },
    {"name": "trainings", "description": "Train models on your own images or on included data sets."},
    {"name": "images", "description": "Upload images to use in requests."},
    {"name": "jobs", "description": "Get, list, follow, cancel and retry jobs, and download their outputs."},
    {"name": "models", "description": "Installed models, with their sources and licenses."},
    {"name": "webhooks", "description": "Endpoints that finished jobs are reported to, and their deliveries."},
    {"name": "openai", "description": "OpenAI's Images API, for its clients. Errors have its shape."},
    {
        "name": "keys",
        "description": "API keys, for the operator, and what a tenant has used of its limits.",
    },
    {"name": "health", "description": "Health checks for load balancers, and metrics for Prometheus."},
]


def create_app(settings: Settings) -> FastAPI:
    """Creates the application."""
    service = make_service(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        start_tracing(settings, "atelier-api")
        await to_thread.run_sync(_say_if_open, service)
        yield
        await service.events.aclose()

    app = FastAPIOffline(  # /docs must work without a network
        title="Atelier",
        version="0.1.0",
        summary="A self-hosted image service.",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        lifespan=lifespan,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        middleware=[
            Middleware(watch),
            *_cors(settings),
            Middleware(admit, settings=settings, known=service.jobs.keys),
            Middleware(bound_body, bounds=body_bounds(settings)),
        ],
    )
    app.router.route_class = JsonRoute
    app.state.service = service
    app.openapi = partial(document, app)  # type: ignore[method-assign]
    install_error_handlers(app)
    for module in (  # the most used first, since routes are tried in this order
        style_transfers,
        generations,
        jobs,
        images,
        styles,
        collections,
        members,
        columns,
        exports,
        plots,
        search,
        steerings,
        trainings,
        archives,
        downloads,
        models,
        webhooks,
        keys,
        usage,
    ):
        app.include_router(module.router, responses=error_responses(401, 403, 429))
    for module in (openai_images, openai_models):
        app.include_router(module.router, responses=openai_responses(401, 403, 429))
    for module in (health, metrics, studio):
        app.include_router(module.router)
    return app


def _cors(settings: Settings) -> list[Middleware]:
    """Lets pages of the listed origins call the API; a preflight request needs no key."""
    if not settings.cors_origins:
        return []
    headers = ["Authorization", "X-API-Key", "X-Request-ID", "Idempotency-Key", "Prefer", "Last-Event-ID", "Range"]
    exposed = ["Location", "X-Request-ID", "Retry-After", "RateLimit", "RateLimit-Policy", "ETag", "Preference-Applied"]
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins.split(),
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=[*headers, "If-None-Match", "Content-Type"],
            expose_headers=exposed,
        )
    ]


def _say_if_open(service: Service) -> None:
    with suppress(RedisError):
        if service.settings.is_open and not service.jobs.keys.exist():
            log.warning("No API key was made: everybody who reaches this address may use the service.")


configure_logging(get_settings())
logging.getLogger("python_multipart").setLevel(logging.ERROR)  # otherwise it logs every malformed form
app = create_app(get_settings())
