"""POST /v1/style-transfers."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Body, Response
from pydantic import BaseModel, Field

import jobs.schemas
from api.cards import Card, known_cards
from api.images import resolve_images
from api.json_route import JsonRoute
from api.openapi import example_picture
from api.service import Service
from api.submit import SUBMIT_RESPONSES, SubmissionDep, submit
from jobs.errors import BadInput, Unavailable
from jobs.requests.style_transfer import (
    BUILTIN_NAMES,
    KIND,
    LAYERS,
    MIN_SIDE,
    DiffusionTransfer,
    FastTransfer,
    FeatureInversion,
    GatysTransfer,
    MaskedImage,
    StyleTransferParams,
    TextureSynthesis,
    WeightedImage,
    WeightedStyle,
    can_be_guided,
    fitted_diffusion,
)
from jobs.schemas import Job

router = APIRouter(tags=["style transfer"], route_class=JsonRoute)


class BuiltinStyle(BaseModel):
    """One of the styles that method `fast` has learned."""

    id: Annotated[str, Field(description="What requests name it by: `builtin:` and its number.")]
    number: int
    name: Annotated[str, Field(description="What it looks like; `builtin:` and this is the same style.")]


class StyleList(BaseModel):
    """The built-in styles, by number."""

    styles: list[BuiltinStyle]


@router.get("/v1/styles", summary="Built-in styles, by number and name")
async def list_styles() -> StyleList:
    """The 26 styles of method `fast`. Their names say what they look like."""
    named = enumerate(BUILTIN_NAMES)
    return StyleList(styles=[BuiltinStyle(id=f"builtin:{i}", number=i, name=name) for i, name in named])


Optimised = GatysTransfer | TextureSynthesis | FeatureInversion
AnyTransfer = FastTransfer | Optimised | DiffusionTransfer


# Two CC0 photos of scikit-image at 64 x 43 pixels, so that the examples run as they stand on a fresh installation.
CAT, COFFEE = example_picture("chelsea.webp"), example_picture("coffee.webp")
LEFT_HALF = example_picture("left-half.webp")  # a mask: white on the left, of the cat's size
EXAMPLES: dict[str, Any] = {
    "fast": {
        "summary": "A built-in style, in a fraction of a second",
        "value": {"method": "fast", "content": CAT, "style": "builtin:19", "size": 256},
    },
    "blend": {
        "summary": "Two built-in styles, one to three",
        "value": {
            "method": "fast",
            "content": CAT,
            "style": [{"image": "builtin:3", "weight": 1}, {"image": "builtin:19", "weight": 3}],
            "strength": 0.8,
            "size": 256,
        },
    },
    "gatys": {
        "summary": "Any picture as the style, by optimisation",
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
        "summary": "A style for one part of the picture, in its own colours",
        "value": {
            "method": "gatys",
            "content": CAT,
            "style": [{"image": COFFEE, "mask": LEFT_HALF}],
            "style_losses": {"gram": 1, "histogram": 0.5},
            "preserve_colour": "luminance",
            "before_after": True,
            "loss_curve": True,
            "size": 64,
            "num_steps": 10,
        },
    },
    "texture": {
        "summary": "A texture of any size, to each depth of the network",
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
        "summary": "What each layer of the network still knows of a picture",
        "value": {
            "mode": "inversion",
            "content": CAT,
            "size": 64,
            "layers": ["relu1_1", "relu2_1", "relu3_1"],
            "num_steps": 20,
        },
    },
    "diffusion": {
        "summary": "New pictures of a text, denoised towards a style",
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
    summary="Paint in the style of a picture, synthesise its texture, or invert its features",
    responses=SUBMIT_RESPONSES,
)
async def create_style_transfer(
    params: Annotated[StyleTransferParams, Body(openapi_examples=EXAMPLES)], submission: SubmissionDep
) -> Response:
    """`method: fast` is one pass through a network; `method: gatys` optimises the picture itself, with previews.

    `method: diffusion` lets a diffusion model make new pictures, each denoising step moved towards the style.

    `mode: texture` makes a new picture with the textures of the style, and `mode: inversion` one with the features that
    a picture has at a layer; both also as a ladder over layers with a labelled grid.
    """
    return await submit(
        submission,
        kind=KIND,
        queue="fast" if isinstance(params, FastTransfer) else "gpu",
        params=params,
        resolve=lambda service: _resolve(service, params),
    )


def _resolve(service: Service, params: AnyTransfer) -> jobs.schemas.Request:
    """The parameters with the network chosen and every image stored."""
    changed: dict[str, Any] = {}
    if isinstance(params, Optimised):
        changed["model"] = _network(service, params)
    if isinstance(params, DiffusionTransfer):
        params = fitted_diffusion(params, _guided_model(service, params)["architecture"])
    images = _images(params)
    masks = {field: None for field in images if field.endswith("mask")}
    ids = resolve_images(service, images, check=lambda sizes: _check_sizes(params, sizes), masks=masks)
    for field in ("content", "init_image", "style"):
        if field in ids:
            changed[field] = ids[field]
    style = getattr(params, "style", None)
    if isinstance(style, list):
        changed["style"] = [
            part.model_copy(
                update={
                    name: ids[f"style.{i}.{name}"]
                    for name in ("image", "mask", "style_mask")
                    if f"style.{i}.{name}" in ids
                }
            )
            for i, part in enumerate(style)
        ]
    return params.model_copy(update=changed)


def _check_sizes(params: AnyTransfer, sizes: Mapping[str, tuple[int, int]]) -> None:
    """Raises BadInput for a content too narrow, or a mask that is not of the size of its picture."""
    if isinstance(params, FastTransfer | GatysTransfer | FeatureInversion):
        _check_shorter_side(sizes["content"], params.size)
    for field, found in sizes.items():
        if field.endswith("mask"):
            of = "content" if field.endswith(".mask") else field.removesuffix("style_mask") + "image"
            if found != sizes[of]:
                (width, height), (wide, high) = found, sizes[of]
                message = f"{field}: It is {width} x {height}; a mask has its picture's size, here {wide} x {high}."
                raise BadInput("size_mismatch", message, field=field, allowed=f"{wide} x {high}")


def _check_shorter_side(content: tuple[int, int], size: int) -> None:
    shorter = round(size * min(content) / max(content))
    if shorter < MIN_SIDE:
        message = f"size: At {size} the shorter side would have {shorter} pixels; at least {MIN_SIDE} are needed."
        raise BadInput("content_too_narrow", message, field="size", shorter_side=shorter, min_side=MIN_SIDE)


def _guided_model(service: Service, params: DiffusionTransfer) -> Card:
    """The card of the diffusion model asked for."""
    guided = {name: card for name, card in sorted(known_cards(service).items()) if can_be_guided(card["architecture"])}
    if params.model not in guided:
        known = ", ".join(guided) or "none"
        message = f"model: No diffusion model that can be guided is called {params.model!r}; there are {known}."
        raise BadInput("unknown_model", message, field="model", allowed=list(guided))
    return guided[params.model]


def _images(params: AnyTransfer) -> dict[str, str]:
    """Each field that holds an image, and the image."""
    images = {name: getattr(params, name, None) for name in ("content", "init_image")}
    style = getattr(params, "style", None)
    if isinstance(style, str):
        images["style"] = style
    else:
        parts: Sequence[WeightedStyle | WeightedImage | MaskedImage] = style or ()
        for i, part in enumerate(parts):
            images |= {f"style.{i}.{name}": getattr(part, name, None) for name in ("image", "mask", "style_mask")}
    return {field: image for field, image in images.items() if image and not image.startswith("builtin:")}


def _network(service: Service, params: Optimised) -> str:
    """The network asked for, or the deepest one a worker has; the request must fit it."""
    # Workers that are away for the moment count: the job waits for them.
    workers = service.jobs.heartbeats.workers(silence_s=86400)
    installed = {model for facts in workers.values() for model in facts["installed"]}
    network = params.model or next((name for name in ("vgg19", "vgg16") if name in installed), None)
    if network is None:
        raise Unavailable("no_worker", "No worker with a feature network is up; try again shortly.")
    if params.model and installed and params.model not in installed:
        message = f"model: {network} is not installed on any worker; run `python -m models.fetch {network}` there."
        raise BadInput("model_not_installed", message, field="model", installed=sorted(installed))
    for field, layers in params.layers_by_field().items():
        missing = [layer for layer in layers if layer not in LAYERS[network]]
        if missing:
            message = f"{field}: {missing[0]!r} is no layer of {network}, which has {', '.join(LAYERS[network])}."
            raise BadInput("unknown_layer", message, field=field, layers=missing, allowed=LAYERS[network])
    return network
