"""Builds networks by the architecture on a card and loads the weights of shipped, fetched and trained models."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from models.catalogue import WEIGHTS_DIR, Card, checked_file, folder_of
from models.clip import clip
from models.diffusion.autoencoders import autoencoder_kl, movq
from models.diffusion.control import load_controlnet
from models.diffusion.embedding import kandinsky
from models.diffusion.image_prompt import load_image_prompt
from models.diffusion.memory import offloaded
from models.diffusion.pretrained import PRETRAINED, load_pretrained
from models.diffusion.text_to_image import TextToImageModel, load_text_to_image, stable_diffusion
from models.diffusion.unconditional import Ddpm
from models.errors import WeightsError
from models.generative.classifier import Classifier
from models.generative.cyclegan import CycleGan
from models.generative.dcgan import dcgan
from models.generative.gan import mlp_generator
from models.generative.vae import conv_vae, mlp_vae
from models.perceptual.efficientnet import EfficientNetLite
from models.stylize.feed_forward import style_net
from models.tensors import WeightsMismatchError, fast_dtype, load_weights, on_device
from models.upscale.real_esrgan import RRDBNet, SRVGGNetCompact

WEIGHTS = "model.safetensors"
LORA = "lora"  # a change of another model, which `models.diffusion.lora` applies
TEXTUAL_INVERSION = "textual-inversion"  # words of another model, of `models.diffusion.textual_inversion`
ADDITIONS: dict[str, Callable[[Path, torch.dtype], nn.Module]] = {  # networks that others use
    "controlnet": load_controlnet,
    "image-prompt": load_image_prompt,
}
DIFFUSERS = "diffusers"  # the architecture of any pipeline in the layout of its own folder
ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "mlp-vae": mlp_vae,
    "conv-vae": conv_vae,
    "mlp-gan": mlp_generator,
    "dcgan": dcgan,
    "cyclegan": CycleGan,
    "ddpm": Ddpm,
    "classifier": Classifier,
    "style-net": style_net,
    "efficientnet-lite": EfficientNetLite,
    "srvgg-net-compact": SRVGGNetCompact,
    "rrdb-net": RRDBNet,
    "clip": clip,
    "movq": movq,
    "autoencoder-kl": autoencoder_kl,
    "kandinsky": kandinsky,
    "stable-diffusion": stable_diffusion,
}


def build(architecture: Mapping[str, Any]) -> nn.Module:
    """Builds an untrained network; `architecture` has its `name` and the arguments of its constructor."""
    arguments = dict(architecture)
    return ARCHITECTURES[arguments.pop("name")](**arguments)


def load_model(card: Card, weights_dir: Path = WEIGHTS_DIR, device: torch.device | str = "cpu") -> nn.Module:
    """Loads a card's network with its weights for inference, in fp32; full-size models on a GPU in its fast dtype.

    Raises WeightsError when a file is missing, is not the one the card names, or does not fit the architecture.
    """
    device = torch.device(device)
    if card.architecture["name"] in (*PRETRAINED, *ADDITIONS, DIFFUSERS):
        module = load_parts(card, weights_dir, fast_dtype(device) if device.type == "cuda" else torch.float32)
    else:
        module = _load_file(card, weights_dir)
    if isinstance(module, TextToImageModel) and card.architecture["name"] == DIFFUSERS and offloaded(module, device):
        return module.eval().requires_grad_(False)
    return on_device(module, device).eval().requires_grad_(False)


def _load_file(card: Card, weights_dir: Path) -> nn.Module:
    module = build(card.architecture)
    try:
        load_weights(module, checked_file(card, WEIGHTS, weights_dir))
    except WeightsMismatchError as error:
        raise WeightsError(card.id, f"Model {card.id} cannot be loaded: {error}.") from error
    return module


def load_parts(card: Card, weights_dir: Path, dtype: torch.dtype) -> nn.Module:
    """Loads a full-size model, in main memory; raises WeightsError as `load_model`."""
    for name in card.files:
        checked_file(card, name, weights_dir)
    architecture = card.architecture
    folder = folder_of(card, weights_dir)
    try:
        if architecture["name"] == DIFFUSERS:
            return load_text_to_image(folder, dtype)
        if architecture["name"] in ADDITIONS:
            return ADDITIONS[architecture["name"]](folder, dtype)
        return load_pretrained(architecture["name"], folder, architecture["image_size"], dtype)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise WeightsError(card.id, f"Model {card.id} cannot be loaded: {reason}.") from error
