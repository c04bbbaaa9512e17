"""POST /v1/generations."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

import jobs.schemas
from api.cards import Card, known_cards
from api.images import Size, resolve_images
from api.json_route import JsonRoute
from api.openapi import example_picture
from api.service import Service
from api.submit import SUBMIT_RESPONSES, SubmissionDep, submit
from jobs.errors import BadInput
from jobs.requests.generation import (
    KIND,
    MODES,
    Arithmetic,
    Generation,
    GenerationParams,
    fitted,
    images_of,
    with_images,
)
from jobs.requests.text_to_image import Inpainting, Prompted
from jobs.schemas import Job

router = APIRouter(tags=["generation"], route_class=JsonRoute)


# Drawn by models/data, of no training set: the examples run as they stand on a fresh installation.
AVATAR, SMILEY, WINK = example_picture("avatar.webp"), example_picture("smiley.webp"), example_picture("wink.webp")
UPPER_HALF = example_picture("upper-half.webp")
EXAMPLES: dict[str, Any] = {
    "sample": {
        "summary": "Four faces",
        "value": {"model": "dcgan-avatars", "n": 4, "seed": 7},
    },
    "sample by diffusion": {
        "summary": "Digits out of noise, by seeds",
        "value": {
            "model": "ddpm-digits",
            "seeds": [1, 2, 3],
            "num_inference_steps": 20,
            "scheduler": "dpm-solver++",
        },
    },
    "sample by attributes": {
        "summary": "Faces out of noise, with what is asked for",
        "value": {"model": "ddpm-avatars", "attributes": ["glasses", "red_hat"], "seed": 5},
    },
    "reconstruct": {
        "summary": "A picture through an encoder and back",
        "value": {"mode": "reconstruct", "model": "vae-smileys", "images": [SMILEY, WINK]},
    },
    "interpolate": {
        "summary": "From one picture to another, and on to a seed",
        "value": {"mode": "interpolate", "model": "vae-smileys", "between": [SMILEY, WINK, 3], "steps": 6},
    },
    "manifold": {
        "summary": "All that a model of two dimensions knows, on one page",
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
    "translate": {
        "summary": "Put glasses on",
        "value": {"mode": "translate", "model": "cyclegan-avatars-glasses", "images": [AVATAR]},
    },
    "denoise-steps": {
        "summary": "How a picture comes out of noise",
        "value": {"mode": "denoise-steps", "model": "ddpm-digits", "num_inference_steps": 20, "shown": 6, "seed": 2},
    },
    "text-to-image": {
        "summary": "Four pictures of a text",
        "value": {
            "mode": "text-to-image",
            "model": "stable-diffusion-avatars",
            "prompt": "a smiling woman with glasses and a red hat",
            "num_images_per_prompt": 4,
            "seed": 1,
        },
    },
    "weighted": {
        "summary": "Some words count for more",
        "value": {
            "mode": "text-to-image",
            "model": "stable-diffusion-avatars",
            "prompt": "a (frowning)1.5 man with a green hat",
            "seed": 3,
        },
    },
    "image-to-image": {
        "summary": "A picture made more like a text",
        "value": {
            "mode": "image-to-image",
            "model": "stable-diffusion-avatars",
            "prompt": "a man with glasses and a blue hat",
            "image": AVATAR,
            "strength": 0.7,
        },
    },
    "inpaint": {
        "summary": "The upper half made anew",
        "value": {
            "mode": "inpaint",
            "model": "stable-diffusion-avatars",
            "prompt": "a woman with a yellow hat",
            "image": AVATAR,
            "mask": UPPER_HALF,
        },
    },
}


@router.post(
    "/v1/generations",
    status_code=202,
    response_model=Job,
    summary="Make pictures with a trained model",
    responses=SUBMIT_RESPONSES,
)
async def create_generation(
    params: Annotated[GenerationParams, Body(openapi_examples=EXAMPLES)], submission: SubmissionDep
) -> Response:
    """What a model can do depends on its architecture.

    VAE and DCGAN: `sample`, `reconstruct`, `interpolate`, `traverse`, `arithmetic`; the GAN of perceptrons the same
    without pictures, having no encoder; diffusion models: `sample`, `interpolate`, `denoise-steps`; CycleGAN:
    `translate`; latent diffusion models: `text-to-image`, `image-to-image`, `inpaint`.
    """
    return await submit(
        submission,
        kind=KIND,
        # Only what a diffusion model makes has a number of steps once it is resolved.
        queue=lambda resolved: "gpu" if getattr(resolved, "num_inference_steps", None) else "fast",
        params=params,
        resolve=lambda service: _resolve(service, params),
    )


def _resolve(service: Service, params: Generation) -> jobs.schemas.Request:
    """The parameters with the model's defaults filled in, the classifier chosen and every image stored."""
    cards = known_cards(service)
    model = _model(cards, params)
    questions: list[list[str]] = []
    if isinstance(params, Arithmetic):
        classifier = _classifier(cards, params, model)
        params = params.model_copy(update={"classifier": classifier["id"] if classifier else None})
        questions = classifier["architecture"]["questions"] if classifier else []
    if isinstance(params, Prompted):
        _check_loras(cards, params, model)
    params = fitted(params, model["architecture"], questions)
    masks = {"mask": (params.width or 0, params.height or 0)} if isinstance(params, Inpainting) else {}
    return with_images(params, resolve_images(service, images_of(params), check=_check_mask, masks=masks))


def _check_mask(sizes: dict[str, Size]) -> None:
    if "mask" in sizes and sizes["mask"] != sizes["image"]:
        (width, height), (image_width, image_height) = sizes["mask"], sizes["image"]
        message = f"mask: It is {width} x {height} and the image {image_width} x {image_height}; they must be the same."
        raise BadInput("size_mismatch", message, field="mask", allowed=f"{image_width} x {image_height}")


def _model(cards: dict[str, Card], params: Generation) -> Card:
    """The card of the model asked for, which can do the mode."""
    modes = {name: MODES.get(card["architecture"].get("name"), ()) for name, card in sorted(cards.items())}
    usable = [name for name, known in modes.items() if known]
    if params.model not in usable:
        message = f"model: No model that generates is called {params.model!r}; there are {', '.join(usable) or 'none'}."
        raise BadInput("unknown_model", message, field="model", allowed=usable)
    if params.mode not in modes[params.model]:
        able = [name for name in usable if params.mode in modes[name]]
        message = f"mode: Model {params.model} cannot do {params.mode!r}; {', '.join(able) or 'none here'} can."
        raise BadInput("mode_not_supported", message, field="mode", models=able, allowed=modes[params.model])
    return cards[params.model]


def _check_loras(cards: dict[str, Card], params: Prompted, model: Card) -> None:
    """Raise BadInput for a LoRA that is unknown, or of another base than the model's."""
    bases = {name: card["architecture"]["base"] for name, card in sorted(cards.items()) if card["task"] == "lora"}
    own = model["architecture"].get("base", model["id"])
    allowed = [name for name, base in bases.items() if base == own]
    for i, lora in enumerate(params.loras):
        if lora.model not in allowed:
            base, field = bases.get(lora.model), f"loras.{i}.model"
            what = f"{lora.model!r} is a LoRA of {base}" if base else f"No LoRA is called {lora.model!r}"
            takes = f"{params.model} takes those of {own}: {', '.join(allowed) or 'there are none'}"
            message = f"{field}: {what}; {takes}."
            code = "model_mismatch" if base else "unknown_model"
            raise BadInput(code, message, field=field, model=params.model, allowed=allowed)


def _classifier(cards: dict[str, Card], params: Arithmetic, model: Card) -> Card | None:
    """The classifier asked for, or the one of the model's own images; None where there is none."""
    of_its_data = {
        name: card
        for name, card in sorted(cards.items())
        if card["task"] == "classification" and card["source"]["data"] == model["source"]["data"]
    }
    fitting = {name: card for name, card in of_its_data.items() if _images_of(card, model) == _images_of(model, card)}
    if params.classifier in of_its_data and params.classifier not in fitting:
        other = of_its_data[params.classifier]
        message = (
            f"{other['id']} was trained on images of {_images_of(other)}, and {model['id']} makes {_images_of(model)}"
        )
        raise BadInput("model_mismatch", f"classifier: {message}; they must agree.", field="classifier")
    if params.classifier and params.classifier not in fitting:
        allowed = list(fitting)
        message = f"classifier: For {params.model} there are {', '.join(allowed) or 'none'}."
        raise BadInput("unknown_model", message, field="classifier", allowed=allowed)
    name = params.classifier or next(iter(fitting), None)
    return fitting[name] if name else None


def _images_of(card: Card, other: Card | None = None) -> str:
    """The images a model is of, such as "64 x 64 pixels, 3 channels"; as far as another card says it too."""

    def size(of: Card) -> int | None:
        # A classifier's architecture is of no size; cards from before it was noted say nothing.
        found: int | None = of["architecture"].get("image_size") or of.get("training", {}).get("image_size")
        return found

    known = size(card) and (other is None or size(other))
    return (f"{size(card)} x {size(card)} pixels, " if known else "") + f"{card['architecture']['channels']} channels"
