"""POST /v1/style-transfers."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

import jobs.schemas
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
    FastTransfer,
    GatysTransfer,
    StyleTransferParams,
    WeightedBuiltin,
    WeightedImage,
)

router = APIRouter(tags=["style transfer"])


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
    """`method: fast` is one pass through a network; `method: gatys` optimises the picture itself, with previews."""
    return await submit(
        submission,
        kind=KIND,
        queue="fast" if isinstance(params, FastTransfer) else "gpu",
        params=params,
        resolve=lambda service: _resolve(service, params),
    )


def _resolve(service: Service, params: FastTransfer | GatysTransfer) -> jobs.schemas.Request:
    """The parameters with the network chosen and every image stored."""
    changed: dict[str, Any] = {}
    if isinstance(params, GatysTransfer):
        changed["model"] = _network(service, params)
    ids = resolve_images(
        service, _images(params), check=lambda sizes: _check_shorter_side(sizes["content"], params.size)
    )
    changed["content"] = ids["content"]
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


def _images(params: FastTransfer | GatysTransfer) -> dict[str, str]:
    """Each field that holds an image, and the image."""
    images = {"content": params.content}
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
