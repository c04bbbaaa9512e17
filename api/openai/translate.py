"""Translates requests of OpenAI's Images API into requests of generations."""

from base64 import b64encode
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import PIL.Image
from starlette.datastructures import UploadFile

from api.images import decode
from api.openai.fields import AskedImages, ImageEdit, ImageGeneration, ImageVariation
from api.pools import DECODING
from api.service import Service
from images.mask import WHITE, drawn
from images.sniff import sniff
from jobs.errors import BadInput, NotFound
from jobs.images import as_answers
from jobs.requests.architectures import capabilities
from jobs.requests.facts import Card, Facts, model_cards, naming
from jobs.requests.image_to_image import ImageToImage
from jobs.requests.inpainting import PADDING, Inpainting
from jobs.requests.text_to_image import MAX_SIDES, PromptedRequest, TextToImage
from jobs.requests.upscale import FACTOR
from jobs.requests.variation import Variation
from jobs.store.jobs import JobStore

STEP, LEAST, MOST = 8, 32, 2048  # sides of images before they are upscaled
VERBS = {"text-to-image": "make images of texts", "vary": "vary images"}  # what the modes of the three routes do

Translation = Callable[[Service], PromptedRequest | Variation]


def usable_cards(jobs: JobStore, *modes: str) -> dict[str, Card]:
    """The cards of installed models that can do one of the modes; of all routes when absent."""
    wanted = set(modes or VERBS)
    installed = Facts(jobs).installed() | {model.card["id"] for model in jobs.models.all()}
    return {
        name: card
        for name, card in model_cards(jobs).items()
        if name in installed and wanted.intersection(capabilities(card.get("architecture", {})).modes)
    }


def model_not_found(name: str, known: dict[str, Card], *modes: str) -> NotFound:
    """The refusal of a model that is not installed or can do none of the modes."""
    can = " or ".join(VERBS[mode] for mode in modes or VERBS)
    message = f"There is no model {name!r} that can {can}; there are {', '.join(known) or 'none'}."
    return NotFound("model_not_found", message, field="model", allowed=list(known))


def generation(asked: ImageGeneration, service: Service) -> TextToImage:
    """An image of a text."""
    return TextToImage(mode="text-to-image", prompt=asked.prompt, **_shared(asked, service))


def edit(asked: ImageEdit, file: UploadFile, service: Service) -> ImageToImage | Inpainting:
    """An image with a part generated anew, or changed everywhere."""
    shared = _shared(asked, service)
    image, mask = file.file.read(), asked.mask.file.read() if asked.mask else None
    field, masking = ("image", image) if mask is None else ("mask", mask)
    marked = _transparent(service, field, masking)
    if marked is None and mask is not None:
        message = "mask: No pixel of it is transparent; those that are get generated anew."
        raise BadInput("empty_mask", message, field="mask")
    if marked is None:
        return ImageToImage(mode="image-to-image", prompt=asked.prompt, image=_data_url(image), **shared)
    # Without a size the result has that of the image, and its other pixels stay.
    whole = {} if "width" in shared else {"padding_mask_crop": PADDING}
    return Inpainting(
        mode="inpaint", prompt=asked.prompt, image=_data_url(image), mask=_data_url(marked, "mask"), **whole, **shared
    )


def variation(asked: ImageVariation, service: Service) -> Variation:
    """Images of the embedding of an image."""
    card = _card(asked, service, "vary")
    upscale = _upscale(asked.size, card)
    return Variation(mode="vary", model=card["id"], image=_data_url(asked.image.file.read()), n=asked.n or 1, **upscale)


def _card(asked: AskedImages, service: Service, mode: str = "text-to-image") -> Card:
    """The card of the model that is asked for, or the default of the mode."""
    facts = Facts(service.jobs)
    facts.cards()  # raises `Unavailable` where no worker has reported any
    name = asked.model or facts.default_model(mode)
    known = usable_cards(service.jobs, mode)
    if name in known:
        return known[name]
    if name in usable_cards(service.jobs):
        message = f"model: {name} cannot {VERBS[mode]}; {', '.join(known) or 'none here'} can."
        raise BadInput("mode_not_supported", message, field="model", allowed=list(known))
    raise model_not_found(name, known, mode)


def _shared(asked: ImageGeneration | ImageEdit, service: Service) -> dict[str, Any]:
    """The fields of every request with a prompt: the model, the number of images, their format and size."""
    card = _card(asked, service)
    shared = {"model": card["id"], "num_images_per_prompt": asked.n or 1, "format": asked.output_format or "png"}
    return shared | _sized(asked.size, card)


def _sized(size: str | None, card: Card) -> dict[str, Any]:
    """The fields of a size, nothing for that of the model; raises BadInput for one that the model does not make.

    Images are upscaled as those of the model's own size are.
    """
    if size in (None, "auto"):
        return {}
    side, scale = card["architecture"]["image_size"], FACTOR if card.get("upscaler") else 1
    sides = [int(each) for each in str(size).split("x")]
    step, least, most = STEP * scale, LEAST * scale, min(MAX_SIDES * side, MOST) * scale
    if any(each % step or not least <= each <= most for each in sides):
        own = f"{side * scale}x{side * scale}"
        sentence = f"`size` must be `auto`, which is {own}, or WIDTHxHEIGHT with sides of {least} to {most} pixels"
        message = f"{sentence} that are multiples of {step}, by model {card['id']}."
        raise BadInput("model_mismatch", message, field="size", model=card["id"], allowed=["auto", own])
    return {"width": sides[0] // scale, "height": sides[1] // scale, "upscale": scale}


def _upscale(size: str | None, card: Card) -> dict[str, int]:
    """As `_sized`, of a model that makes squares of one size: how many times as large they are made."""
    if size in (None, "auto"):
        return {}
    architecture = card["architecture"]
    side = architecture.get("image_size") or architecture["clip"]["image_size"]
    sizes = [f"{scale * side}x{scale * side}" for scale in range(1, FACTOR + 1)]
    if size not in sizes:
        message = f"`size` must be `auto`, {', '.join(sizes[:-1])} or {sizes[-1]}, by model {card['id']}."
        raise BadInput("model_mismatch", message, field="size", model=card["id"], allowed=["auto", *sizes])
    return {"upscale": 1 + sizes.index(str(size))}


def _transparent(service: Service, field: str, data: bytes) -> bytes | None:
    """A mask that is white where a file is transparent, as a PNG; None where it is opaque."""
    with naming(field):
        return DECODING.call(_mask_of, service, data)


def _mask_of(service: Service, data: bytes) -> bytes | None:
    image = PIL.Image.open(BytesIO(decode(service, data).png), formats=("PNG",))
    if "A" not in image.getbands():
        return None
    marked = np.asarray(image.getchannel("A")) < WHITE
    if not marked.any():
        return None
    file = BytesIO()
    drawn(marked).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _data_url(data: bytes, field: str = "image") -> str:
    with naming(field), as_answers():
        sniff(data)
    return "data:image/png;base64," + b64encode(data).decode()
