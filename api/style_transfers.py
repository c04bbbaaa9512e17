"""POST /v1/style-transfers."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response
from pydantic import BaseModel, Field

from api.json_route import JsonRoute
from api.openapi import example_image
from api.submit import SUBMIT_RESPONSES, SubmissionDep, submit
from jobs.requests.style_transfer import StyleTransfer
from jobs.requests.styles import BUILTIN_NAMES
from jobs.schemas import Job

router = APIRouter(tags=["style transfer"], route_class=JsonRoute)


class BuiltinStyle(BaseModel):
    """A style of method `fast`."""

    id: Annotated[str, Field(description="Its name in requests: `builtin:` and its number.")]
    number: int
    name: Annotated[str, Field(description="A description; `builtin:` and this name the same style.")]


class StyleList(BaseModel):
    """The built-in styles, by number."""

    styles: list[BuiltinStyle]


@router.get("/v1/styles", summary="Built-in styles, by number and name")
async def list_styles() -> StyleList:
    """The styles of method `fast`, whose names describe them."""
    named = enumerate(BUILTIN_NAMES)
    return StyleList(styles=[BuiltinStyle(id=f"builtin:{i}", number=i, name=name) for i, name in named])


# Two CC0 photos of scikit-image at 64 x 43 pixels, so that the examples run as they stand on a fresh installation.
CAT, COFFEE = example_image("chelsea.webp"), example_image("coffee.webp")
LEFT_HALF = example_image("left-half.webp")  # a mask: white on the left, of the cat's size
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
        "summary": "Samples of a text, denoised towards a style",
        "value": {
            "method": "diffusion",
            "model": "stable-diffusion-avatars",
            "prompt": "a smiling woman with a red hat",
            "style": COFFEE,
            "style_guidance_scale": [0, 0.1, 0.3],
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

    `mode: texture` makes an image with the textures of the style, and `mode: inversion` one with the features of an
    image at a layer; both also as a ladder over layers with a labeled grid.
    """
    return await submit(submission, params)
