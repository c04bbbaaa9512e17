"""From a card to a network: architectures by name, and the weights of shipped or trained models."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.catalogue import WEIGHTS_DIR, Card, WeightsError, checked_file
from models.clip import clip
from models.diffusion.embedding import kandinsky, movq
from models.diffusion.unconditional import Ddpm
from models.generative.classifier import Classifier
from models.generative.cyclegan import CycleGan
from models.generative.dcgan import dcgan
from models.generative.gan import mlp_generator
from models.generative.vae import conv_vae, mlp_vae
from models.tensors import WeightsMismatchError, load_weights, on_device

WEIGHTS = "model.safetensors"
ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "mlp-vae": mlp_vae,
    "conv-vae": conv_vae,
    "mlp-gan": mlp_generator,
    "dcgan": dcgan,
    "cyclegan": CycleGan,
    "ddpm": Ddpm,
    "classifier": Classifier,
    "clip": clip,
    "movq": movq,
    "kandinsky": kandinsky,
}


def build(architecture: Mapping[str, Any]) -> nn.Module:
    """An untrained network; `architecture` holds its `name` and the arguments it is made with."""
    arguments = dict(architecture)
    return ARCHITECTURES[arguments.pop("name")](**arguments)


def load_model(card: Card, weights_dir: Path = WEIGHTS_DIR, device: torch.device | str = "cpu") -> nn.Module:
    """The network a card names with its weights, in fp32 for inference.

    Raises WeightsError when the file is missing, is not the one the card names, or does not fit the architecture.
    """
    module = build(card.architecture)
    try:
        load_weights(module, checked_file(card, WEIGHTS, weights_dir))
    except WeightsMismatchError as error:
        raise WeightsError(card.id, f"Model {card.id} cannot be loaded: {error}.") from error
    return on_device(module, device).eval().requires_grad_(False)
