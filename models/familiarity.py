"""Detects inputs unlike a model's training data, by the words of its captions and by reconstruction errors."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.clip import Clip
from models.data.dataset import Dataset
from models.diffusion.autoencoders import decoded_images
from models.diffusion.embedding import Kandinsky
from models.diffusion.prompt_syntax import words_of
from models.diffusion.text_to_image import TextToImageModel
from models.errors import ArchitectureError
from models.generative.base import LatentAutoencoder
from models.generative.cyclegan import CycleGan
from models.tensors import autocast

BATCH, MAX_IMAGES, MAX_WORDS = (
    64,
    256,
    2000,
)  # images at a time; images of the training data; more words than these are not listed


FLOOR = 0.01  # added to contrasts: a flat image has none


class Familiarity(NamedTuple):
    """Mean absolute reconstruction errors of images, these as multiples of their contrasts, and which are unlike."""

    errors: Tensor
    relative: Tensor
    unlike: Tensor


def training_facts(model: nn.Module, dataset: Dataset, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Returns facts of the training data for a model's card; the model is on the device.

    `words`: see `word_facts`. `reconstruction_error`: the `median` and the `greatest` mean absolute error of some
    `images`, and the `greatest_relative` to the contrast of an image.
    """
    facts = word_facts(dataset) if isinstance(model, TextToImageModel | Kandinsky | Clip) else {}
    some = dataset.images[:: -(-len(dataset) // MAX_IMAGES)]
    images = torch.from_numpy(some).permute(0, 3, 1, 2).to(device).float() / 255
    errors = reconstruction_errors(model, images)
    if errors is not None and torch.isfinite(errors).all():
        relative = errors / contrasts(images).cpu()
        figures = {"median": errors.median(), "greatest": errors.max(), "greatest_relative": relative.max()}
        facts["reconstruction_error"] = {name: round(float(value), 5) for name, value in figures.items()}
        facts["reconstruction_error"]["images"] = len(some)
    return facts


def word_facts(dataset: Dataset) -> dict[str, Any]:
    """Returns the `words` of the captions, in lower case; nothing where they are more than `MAX_WORDS`."""
    words = sorted({word for caption in dataset.captions for word in words_of(caption)})
    return {"words": words} if len(words) <= MAX_WORDS else {}


def reconstruction_errors(model: nn.Module, images: Tensor) -> Tensor | None:
    """Mean absolute reconstruction error (n,) of images (n, channels, h, w) in [0, 1]; None without an encoder.

    For a CycleGAN it is the error of the better of its two cycles, a to b to a and b to a to b.
    """
    reconstruct = _reconstruct_by(model)
    if reconstruct is None:
        return None
    with torch.inference_mode(), autocast(images.device):
        parts = [(reconstruct(part).float() - part).abs().mean((-3, -2, -1)) for part in images.split(BATCH)]
    return torch.cat(parts, dim=-1).cpu().reshape(-1, len(images)).amin(0)


def contrasts(images: Tensor) -> Tensor:
    """Mean absolute deviation (n,) of images (n, channels, h, w) from their mean color."""
    return (images - images.mean((2, 3), keepdim=True)).abs().mean((1, 2, 3)) + FLOOR


def familiarity(model: nn.Module, images: Tensor, figures: Mapping[str, float]) -> Familiarity:
    """Compares images (n, channels, h, w) in [0, 1] with the training images of a model, by the figures of its card.

    An image is unlike these if its error, or its error as a multiple of its contrast, exceeds the greatest of theirs: a
    photograph with few edges has a small error, but a large one for its contrast. Cards of earlier releases have only
    the first figure.
    """
    errors = reconstruction_errors(model, images)
    if errors is None:
        raise ArchitectureError(f"a {type(model).__name__} does not reconstruct images")
    relative = errors / contrasts(images).cpu()
    greatest_relative = figures.get("greatest_relative", float("inf"))
    return Familiarity(errors, relative, ~((errors <= figures["greatest"]) & (relative <= greatest_relative)))


def _cycles(model: CycleGan, images: Tensor) -> Tensor:
    """Cycles of each image, (2, n, ...): as an image of kind a, and as one of kind b."""
    as_a = model.translate(model.translate(images, "a-to-b"), "b-to-a")
    return torch.stack([as_a, model.translate(model.translate(images, "b-to-a"), "a-to-b")])


def _reconstruct_by(model: nn.Module) -> Any:
    """Returns a function from images (n, ...) to reconstructions (n, ...), or to several of each (k, n, ...)."""
    if isinstance(model, LatentAutoencoder):
        return lambda images: model.decode(model.encode(images))
    if isinstance(model, CycleGan):
        return partial(_cycles, model)
    if isinstance(model, Kandinsky):
        movq = model.movq
        return lambda images: movq.decode(movq.encode(2 * images - 1).latents, force_not_quantize=True).sample / 2 + 0.5
    vae: Any = getattr(model.pipeline, "vae", None) if isinstance(model, TextToImageModel) else None
    if hasattr(vae, "encode"):
        return lambda images: decoded_images(vae, vae.encode(2 * images - 1).latent_dist.mode())
    return None
