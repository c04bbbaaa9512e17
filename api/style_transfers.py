"""POST /v1/style-transfers."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from api.json_route import JsonRoute
from api.openapi import example_image
from api.submit import SUBMIT_RESPONSES, SubmissionDep, submit
from jobs.requests.style_transfer import StyleTransfer
from jobs.schemas import Job

router = APIRouter(tags=["style transfer"], route_class=JsonRoute)


# Two CC0 photos of scikit-image at 64 x 43 pixels, so that the examples run as they stand on a fresh installation.
CAT, COFFEE = example_image("chelsea.webp"), example_image("coffee.webp")
LEFT_HALF = example_image("left-half.webp")  # a mask: white on the left, of the cat's size
KEPT_STYLE = "sty_" + "0" * 24  # in the examples; use the id of one of yours
FILM = "zip_" + "1" * 64  # in the examples; use the id of one of yours
EXAMPLES: dict[str, Any] = {
    "fast": {
        "summary": "A built-in style, in a fraction of a second",
        "value": {"method": "fast", "content": CAT, "style": "builtin:19", "size": 256},
    },
    "blend": {
        "summary": "Two built-in styles, weighted 1 to 3",
        "value": {
            "method": "fast",
            "content": CAT,
            "style": [{"image": "builtin:3", "weight": 1}, {"image": "builtin:19", "weight": 3}],
            "strength": 0.8,
            "size": 256,
        },
    },
    "kept": {
        "summary": "A style that was kept, mixed with an image",
        "value": {
            **{"method": "fast", "content": CAT, "size": 256},
            "style": [{"image": KEPT_STYLE, "weight": 2}, {"image": COFFEE, "weight": 1}],
        },
    },
    "gatys": {
        "summary": "Any image as the style, by optimization",
        "value": {
            "method": "gatys",
            "content": CAT,
            "style": COFFEE,
            "size": 64,
            "num_steps": 10,
            "style_layers": ["relu1_1", "relu2_1"],
        },
    },
    "masks": {
        "summary": "A style for one part of the image, whose colors are kept",
        "value": {
            "method": "gatys",
            "content": CAT,
            "style": [{"image": COFFEE, "mask": LEFT_HALF}],
            "style_losses": {"gram": 1, "histogram": 0.5},
            "preserve_color": "luminance",
            "before_after": True,
            "loss_curve": True,
            "size": 64,
            "num_steps": 10,
        },
    },
    "many": {
        "summary": "One style over many images",
        "value": {"mode": "many", "contents": [CAT, COFFEE], "style": "builtin:19", "size": 96},
    },
    "film": {
        "summary": "A film, frame after frame",
        "value": {"mode": "film", "film": FILM, "style": "builtin:19", "size": 64},
    },
    "texture": {
        "summary": "A texture of any size, up to each depth of the network",
        "value": {
            "mode": "texture",
            "style": COFFEE,
            "width": 96,
            "height": 64,
            "ladder": True,
            "style_layers": ["relu1_1", "relu2_1", "relu3_1"],
            "num_steps": 20,
        },
    },
    "inversion": {
        "summary": "What each layer of the network preserves of an image",
        "value": {
            "mode": "inversion",
            "content": CAT,
            "size": 64,
            "layers": ["relu1_1", "relu2_1", "relu3_1"],
            "num_steps": 20,
        },
    },
    "diffusion": {
        "summary": "Samples of a text, denoised towards a style, with its strokes",
        "value": {
            "method": "diffusion",
            "model": "stable-diffusion-avatars",
            "prompt": "a smiling woman with a red hat",
            "style": COFFEE,
            "style_guidance_scale": [0, 0.3],
            "num_inference_steps": 20,
        },
    },
}


@router.post(
    "/v1/style-transfers",
    status_code=202,
    response_model=Job,
    summary="Transfer the style of an image, synthesize its texture, or invert its features",
    responses=SUBMIT_RESPONSES,
)
async def create_style_transfer(
    params: Annotated[StyleTransfer, Body(openapi_examples=EXAMPLES)], submission: SubmissionDep
) -> Response:
    """`method: fast` is one pass through a network; `method: gatys` optimizes the image itself, with previews.

    `method: diffusion` samples a diffusion model and guides each denoising step towards the style.

    `mode: many` stylizes a list of images or an archive; `GET /v1/jobs/{id}/outputs` is a zip file of the results.
    `mode: film` stylizes an animated GIF or WebP, or an MP4 with its sound, that was uploaded to `/v1/archives`.

    `mode: texture` makes an image with the textures of the style, and `mode: inversion` one with the features of an
    image at a layer; both also as a ladder over layers with a labeled grid.
    """
    return await submit(submission, params)
