"""POST /v1/generations."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from api.json_route import JsonRoute
from api.openapi import example_image
from api.submit import SUBMIT_RESPONSES, SubmissionDep, submit
from jobs.requests.generation import Generation
from jobs.schemas import Job

router = APIRouter(tags=["generation"], route_class=JsonRoute)


# Drawn by models/data, of no training set: the examples run as they stand on a fresh installation.
AVATAR, SMILEY, WINK = example_image("avatar.webp"), example_image("smiley.webp"), example_image("wink.webp")
UPPER_HALF = example_image("upper-half.webp")
THREE_AVATARS, MIDDLE_HAT = example_image("three-avatars.webp"), example_image("middle-hat.webp")
CUT_AVATAR = example_image("cut-avatar.webp")
EXAMPLES: dict[str, Any] = {
    "sample": {
        "summary": "Four faces",
        "value": {"model": "dcgan-avatars", "n": 4, "seed": 7},
    },
    "sample by diffusion": {
        "summary": "Digits by diffusion, from seeds",
        "value": {
            "model": "ddpm-digits",
            "seeds": [1, 2, 3],
            "num_inference_steps": 20,
            "scheduler": "dpm-solver++",
        },
    },
    "sample by attributes": {
        "summary": "Faces conditioned on attributes",
        "value": {"model": "ddpm-avatars", "attributes": ["glasses", "red_hat"], "seed": 5},
    },
    "reconstruct": {
        "summary": "Images encoded and decoded again",
        "value": {"mode": "reconstruct", "model": "vae-smileys", "images": [SMILEY, WINK]},
    },
    "interpolate": {
        "summary": "From one image to another, then to a seed",
        "value": {"mode": "interpolate", "model": "vae-smileys", "between": [SMILEY, WINK, 3], "steps": 6},
    },
    "manifold": {
        "summary": "The whole latent space of a model of two dimensions",
        "value": {"mode": "traverse", "model": "vae-fashion-mnist-2", "steps": 15},
    },
    "traverse": {
        "summary": "One latent dimension at a time",
        "value": {"mode": "traverse", "model": "gan-digits-8", "start": 5, "dimensions": [0, 3, 7], "extent": 2},
    },
    "arithmetic": {
        "summary": "Man with glasses - man + woman = ?",
        "value": {
            "mode": "arithmetic",
            "model": "dcgan-avatars",
            "terms": [
                {"sign": "+", "with": ["glasses"], "without": ["woman"]},
                {"sign": "-", "without": ["woman", "glasses"]},
                {"sign": "+", "with": ["woman"], "without": ["glasses"]},
            ],
            "n": 3,
        },
    },
    "arithmetic of a smile": {
        "summary": "Smiling woman - neutral woman + neutral man = ?",
        "value": {
            "mode": "arithmetic",
            "model": "dcgan-avatars",
            "terms": [
                {"sign": "+", "with": ["woman", "smiling"]},
                {"sign": "-", "with": ["woman", "neutral"]},
                {"sign": "+", "with": ["neutral"], "without": ["woman"]},
            ],
            "n": 3,
        },
    },
    "arithmetic of a hat": {
        "summary": "Man with a hat - man + woman = ?",
        "value": {
            "mode": "arithmetic",
            "model": "dcgan-avatars",
            "terms": [
                {"sign": "+", "with": ["hat"], "without": ["woman"]},
                {"sign": "-", "without": ["woman", "hat"]},
                {"sign": "+", "with": ["woman"], "without": ["hat"]},
            ],
            "n": 3,
        },
    },
    "direction of an attribute": {
        "summary": "A face moves two standard deviations towards glasses",
        "value": {
            "mode": "arithmetic",
            "model": "dcgan-avatars",
            "terms": [{"sign": "+", "seed": 7}, {"sign": "+", "attribute": "glasses", "weight": 2}],
        },
    },
    "translate": {
        "summary": "Put glasses on",
        "value": {"mode": "translate", "model": "cyclegan-avatars-glasses", "images": [AVATAR]},
    },
    "denoise-steps": {
        "summary": "The steps of denoising an image",
        "value": {"mode": "denoise-steps", "model": "ddpm-digits", "num_inference_steps": 20, "shown": 6, "seed": 2},
    },
    "prompt": {
        "summary": "An image of a text, by the default model",
        "value": {"prompt": "a woman with a red hat"},
    },
    "text-to-image": {
        "summary": "Four images of a text",
        "value": {
            "mode": "text-to-image",
            "model": "stable-diffusion-avatars",
            "prompt": "a smiling woman with glasses and a red hat",
            "num_images_per_prompt": 4,
            "seed": 1,
        },
    },
    "weighted": {
        "summary": "Some words weighted more",
        "value": {
            "mode": "text-to-image",
            "model": "stable-diffusion-avatars",
            "prompt": "a (frowning)1.5 man with a green hat",
            "seed": 3,
        },
    },
    "scheduler": {
        "summary": "Another scheduler, and CLIP without its last layer",
        "value": {
            "mode": "text-to-image",
            "model": "stable-diffusion-avatars",
            "prompt": "a smiling man with a blue hat",
            "scheduler": "DPM++ 2M SDE Karras",
            "num_inference_steps": 20,
            "clip_skip": 1,
            "seed": 4,
        },
    },
    "image-to-image": {
        "summary": "An image made more like a text",
        "value": {
            "mode": "image-to-image",
            "model": "stable-diffusion-avatars",
            "prompt": "a man with glasses and a blue hat",
            "image": AVATAR,
            "strength": 0.7,
        },
    },
    "inpaint": {
        "summary": "The upper half generated anew",
        "value": {
            "mode": "inpaint",
            "model": "stable-diffusion-avatars",
            "prompt": "a woman with a yellow hat",
            "image": AVATAR,
            "mask": UPPER_HALF,
        },
    },
    "inpaint, only masked": {
        "summary": "A hat on one face of a larger image",
        "value": {
            "mode": "inpaint",
            "model": "stable-diffusion-avatars",
            "prompt": "a woman with a yellow hat on a pink background",
            "image": THREE_AVATARS,
            "mask": MIDDLE_HAT,
            "padding_mask_crop": 8,
            "seed": 1,
        },
    },
    "outpaint": {
        "summary": "A face that was cut off, completed",
        "value": {
            "mode": "inpaint",
            "model": "stable-diffusion-avatars",
            "prompt": "a man with short blond hair",
            "image": CUT_AVATAR,
            "expand": {"left": 20},
            "seed": 2,
        },
    },
    "vary": {
        "summary": "Faces like one, each a little different",
        "value": {"mode": "vary", "model": "kandinsky-avatars", "image": AVATAR, "n": 4, "seed": 1},
    },
    "upscale": {
        "summary": "Images made four times as large",
        "value": {"mode": "upscale", "model": "realesr-animevideov3", "images": [AVATAR, SMILEY]},
    },
    "sample, not upscaled": {
        "summary": "Faces of 64 px, as the model makes them",
        "value": {"model": "dcgan-avatars", "n": 2, "seed": 7, "upscale": 1},
    },
}


@router.post(
    "/v1/generations",
    status_code=202,
    response_model=Job,
    summary="Generate images with a trained model",
    responses=SUBMIT_RESPONSES,
)
async def create_generation(
    params: Annotated[Generation, Body(openapi_examples=EXAMPLES)], submission: SubmissionDep
) -> Response:
    """The modes of a model depend on its architecture.

    VAE and DCGAN: `sample`, `reconstruct`, `interpolate`, `traverse`, `arithmetic`; the GAN of perceptrons the same
    without images, since it has no encoder; diffusion models: `sample`, `interpolate`, `denoise-steps`; CycleGAN:
    `translate`; latent diffusion models: `text-to-image`, `image-to-image`, `inpaint`; models of image embeddings:
    `vary`; networks that upscale: `upscale`. In every other mode `upscale` makes the finished images 2 to 4 times as
    large.
    """
    return await submit(submission, params)
