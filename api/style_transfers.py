"""POST /v1/style-transfers."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

import jobs.schemas
from api.cards import Card, known_cards
from api.images import resolve_images
from api.openapi import example_picture
from api.service import Service
from api.submit import SUBMIT_RESPONSES, SubmissionDep, submit
from jobs.errors import BadInput, Unavailable
from jobs.schemas import Job
from jobs.style_transfer import (
    KIND,
    LAYERS,
    MIN_SIDE,
    DiffusionTransfer,
    FastTransfer,
    GatysTransfer,
    StyleTransferParams,
    WeightedBuiltin,
    WeightedImage,
    can_be_guided,
    fitted_diffusion,
)

router = APIRouter(tags=["style transfer"])
AnyTransfer = FastTransfer | GatysTransfer | DiffusionTransfer


# Two CC0 photos of scikit-image at 64 x 43 pixels, so that the examples run as they stand on a fresh installation.
CAT, COFFEE = example_picture("chelsea.webp"), example_picture("coffee.webp")
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
    summary="Paint a picture in the style of another",
    responses=SUBMIT_RESPONSES,
)
async def create_style_transfer(
    params: Annotated[StyleTransferParams, Body(openapi_examples=EXAMPLES)], submission: SubmissionDep
) -> Response:
    """`method: fast` is one pass through a network; `method: gatys` optimises the picture itself, with previews.

    `method: diffusion` lets a diffusion model make new pictures, each denoising step moved towards the style.
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
    if isinstance(params, GatysTransfer):
        changed["model"] = _network(service, params)
    if isinstance(params, DiffusionTransfer):
        params = fitted_diffusion(params, _guided_model(service, params)["architecture"])
    size = None if isinstance(params, DiffusionTransfer) else params.size
    ids = resolve_images(
        service, _images(params), check=lambda sizes: _check_shorter_side(sizes["content"], size) if size else None
    )
    changed["content"] = ids.get("content")
    if isinstance(params.style, str):
        changed["style"] = ids.get("style", params.style)
    else:
        styles: Sequence[WeightedBuiltin | WeightedImage] = params.style
        changed["style"] = [
            style.model_copy(update={"image": ids.get(f"style.{i}.image", style.image)})
            for i, style in enumerate(styles)
        ]
    return params.model_copy(update=changed)


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
    images = {"content": params.content} if params.content else {}
    if isinstance(params.style, str):
        images["style"] = params.style
    else:
        styles: Sequence[WeightedBuiltin | WeightedImage] = params.style
        images |= {f"style.{i}.image": style.image for i, style in enumerate(styles)}
    return {field: image for field, image in images.items() if not image.startswith("builtin:")}


def _network(service: Service, params: GatysTransfer) -> str:
    """The network asked for, or the deepest one a worker has; the request must fit it."""
    # Workers that are away for the moment count: the job waits for them.
    workers = service.jobs.workers(silence_s=86400)
    installed = {model for facts in workers.values() for model in facts["installed"]}
    network = params.model or next((name for name in ("vgg19", "vgg16") if name in installed), None)
    if network is None:
        raise Unavailable("no_worker", "No worker with a feature network is up; try again shortly.")
    if params.model and installed and params.model not in installed:
        message = f"model: {network} is not installed on any worker; run `python -m models.fetch {network}` there."
        raise BadInput("model_not_installed", message, field="model", installed=sorted(installed))
    missing = params.layers_missing_in(network)
    if missing:
        field = "content_layers" if missing[0] in params.content_layers else "style_layers"
        message = f"{field}: {missing[0]!r} is no layer of {network}, which has {', '.join(LAYERS[network])}."
        raise BadInput("unknown_layer", message, field=field, layers=missing, allowed=LAYERS[network])
    return network
