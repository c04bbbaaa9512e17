"""POST /v1/trainings."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

import jobs.schemas
from api.cards import known_cards
from api.errors import naming
from api.json_route import JsonRoute
from api.service import Service
from api.submit import SUBMIT_RESPONSES, SubmissionDep, submit
from jobs.errors import BadInput
from jobs.requests.training import KIND, Training, TrainingParams, started
from jobs.schemas import Job

router = APIRouter(tags=["trainings"], route_class=JsonRoute)

BRIEF = {"num_steps": 4, "batch_size": 8}
EXAMPLES: dict[str, Any] = {
    "vae": {
        "summary": "A small autoencoder of digits, in a few seconds",
        "value": {"recipe": "vae", "data": "digits", "num_steps": 20, "batch_size": 64, "latent_dim": 8},
    },
    "gan": {"summary": "A GAN of digits", "value": {"recipe": "gan", "data": "digits", **BRIEF}},
    "dcgan": {
        "summary": "A DCGAN of avatars",
        "value": {"recipe": "dcgan", "data": "avatars", "limit": 64, "base_channels": 16, **BRIEF},
    },
    "cyclegan": {
        "summary": "Glasses on and off",
        "value": {
            "recipe": "cyclegan",
            "data": "avatars",
            "limit": 64,
            "attribute": "glasses",
            "matched": ["woman"],
            "base_channels": 8,
            "n_blocks": 1,
            **BRIEF,
        },
    },
    "ddpm": {
        "summary": "A diffusion model of digits",
        "value": {"recipe": "ddpm", "data": "digits", "title": "Tiny digits", **BRIEF},
    },
    "classifier": {
        "summary": "Which digit it is",
        "value": {"recipe": "classifier", "data": "digits", "base_channels": 8, **BRIEF},
    },
}


@router.post(
    "/v1/trainings",
    status_code=202,
    response_model=Job,
    summary="Train a model on your pictures or a named set",
    responses=SUBMIT_RESPONSES,
)
async def create_training(
    params: Annotated[TrainingParams, Body(openapi_examples=EXAMPLES)], submission: SubmissionDep
) -> Response:
    """A job that ends in a new model, which `GET /v1/models` lists and every worker can use; its id is in `metrics`.

    It outlives killed workers by its checkpoints. A canceled or failed one keeps the newest, and a retry goes on there.
    """
    return await submit(
        submission, kind=KIND, queue="train", params=params, resolve=lambda service: _resolve(service, params)
    )


def _resolve(service: Service, params: Training) -> jobs.schemas.Request:
    """The parameters with the size of an archive's pictures, and the shape of the model to begin with, filled in."""
    if params.archive:
        with naming("data"):
            service.jobs.archives.get(params.archive)
    if params.start:
        cards = known_cards(service)
        if params.start not in cards:
            usable = [name for name, card in cards.items() if card["architecture"].get("name") in params.architectures]
            message = f"start: No model is called {params.start!r}; recipe {params.recipe} can begin with"
            message = f"{message} {', '.join(sorted(usable)) or 'none here'}."
            raise BadInput("unknown_model", message, field="start", allowed=sorted(usable))
        params = started(params, cards[params.start])
    return params.model_copy(update={"image_size": params.size}) if params.archive else params
