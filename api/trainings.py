"""POST /v1/trainings."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from api.json_route import JsonRoute
from api.style_transfers import COFFEE
from api.submit import SUBMIT_RESPONSES, SubmissionDep, submit
from jobs.requests.training import Training
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
    "style": {
        "summary": "A fast network of one style",
        "value": {"recipe": "style", "style": COFFEE, "style_size": 64, "limit": 16, "num_steps": 1, "batch_size": 1},
    },
    "stable-diffusion": {
        "summary": "A text-to-image model, from the small one",
        "value": {
            "recipe": "stable-diffusion",
            "data": "avatars",
            "start": "stable-diffusion-avatars",
            "limit": 16,
            "num_steps": 2,
            "batch_size": 2,
        },
    },
    "kandinsky": {
        "summary": "A decoder of CLIP's embeddings, with the CLIP and the autoencoder of another",
        "value": {
            "recipe": "kandinsky",
            "data": "avatars",
            "clip": "kandinsky-avatars",
            "autoencoder": "kandinsky-avatars",
            "block_out_channels": [32, 32],
            "limit": 16,
            "num_steps": 2,
            "batch_size": 2,
        },
    },
    "clip": {
        "summary": "A CLIP, from that of the space of avatars",
        "value": {"recipe": "clip", "data": "avatars", "start": "kandinsky-avatars", "limit": 32, **BRIEF},
    },
    "autoencoder": {
        "summary": "An autoencoder, from that of the small text-to-image model",
        "value": {
            "recipe": "autoencoder",
            "data": "avatars",
            "start": "stable-diffusion-avatars",
            "limit": 16,
            "num_steps": 2,
            "batch_size": 4,
        },
    },
    "lora": {
        "summary": "A LoRA of the small text-to-image model",
        "value": {
            "recipe": "lora",
            "model": "stable-diffusion-avatars",
            "data": "avatars",
            "limit": 16,
            "num_steps": 2,
            "batch_size": 2,
            "rank": 4,
            "prompts": ["a man with a blue hat"],
        },
    },
}


@router.post(
    "/v1/trainings",
    status_code=202,
    response_model=Job,
    summary="Train a model on your images or a named set",
    responses=SUBMIT_RESPONSES,
)
async def create_training(
    params: Annotated[Training, Body(openapi_examples=EXAMPLES)], submission: SubmissionDep
) -> Response:
    """A job that trains a new model, which `GET /v1/models` lists and every worker can use; its id is in `metrics`.

    Its checkpoints survive the death of a worker. A canceled or failed job keeps the newest, and a retry resumes there.
    """
    return await submit(submission, params)
