"""Builds networks by the architecture on a card and loads the weights of shipped, fetched and trained models."""

from collections.abc import Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from models.catalogue import WEIGHTS_DIR, Card, checked_file, folder_of
from models.errors import WeightsError
from models.tensors import WeightsMismatchError, fast_dtype, load_weights, on_device

WEIGHTS = "model.safetensors"
LORA = "lora"  # a change of another model, which `models.diffusion.lora` applies
TEXTUAL_INVERSION = "textual-inversion"  # words of another model, of `models.diffusion.textual_inversion`
ADDITIONS = {  # networks that others use
    "controlnet": "models.diffusion.control:load_controlnet",
    "image-prompt": "models.diffusion.image_prompt:load_image_prompt",
    "upscaler": "models.upscale.published:load_upscaler",
}
DIFFUSERS = "diffusers"  # the architecture of any pipeline in the layout of its own folder
LOAD_PIPELINE = "models.diffusion.text_to_image:load_text_to_image"
LOAD_PRETRAINED = "models.diffusion.pretrained:load_pretrained"  # of every other name
# Each is imported when it is built: the import of diffusers and transformers takes longer than most jobs.
ARCHITECTURES = {
    "mlp-vae": "models.generative.vae:mlp_vae",
    "conv-vae": "models.generative.vae:conv_vae",
    "mlp-gan": "models.generative.gan:mlp_generator",
    "dcgan": "models.generative.dcgan:dcgan",
    "cyclegan": "models.generative.cyclegan:CycleGan",
    "ddpm": "models.diffusion.unconditional:Ddpm",
    "classifier": "models.generative.classifier:Classifier",
    "style-net": "models.stylize.feed_forward:style_net",
    "efficientnet-lite": "models.perceptual.efficientnet:EfficientNetLite",
    "srvgg-net-compact": "models.upscale.real_esrgan:SRVGGNetCompact",
    "rrdb-net": "models.upscale.real_esrgan:RRDBNet",
    "clip": "models.clip:clip",
    "movq": "models.diffusion.autoencoders:movq",
    "autoencoder-kl": "models.diffusion.autoencoders:autoencoder_kl",
    "kandinsky": "models.diffusion.embedding:kandinsky",
    "stable-diffusion": "models.diffusion.text_to_image:stable_diffusion",
}


def build(architecture: Mapping[str, Any]) -> nn.Module:
    """Builds an untrained network; `architecture` has its `name` and the arguments of its constructor."""
    arguments = dict(architecture)
    module: nn.Module = resolve_name(ARCHITECTURES[arguments.pop("name")])(**arguments)
    return module


def load_model(card: Card, weights_dir: Path = WEIGHTS_DIR, device: torch.device | str = "cpu") -> nn.Module:
    """Loads a card's network with its weights for inference, in fp32; full-size models on a GPU in its fast dtype.

    Raises WeightsError when a file is missing, is not the one the card names, or does not fit the architecture.
    """
    device = torch.device(device)
    if card.architecture["name"] in ARCHITECTURES:
        module = _load_file(card, weights_dir)
    else:
        module = load_parts(card, weights_dir, fast_dtype(device) if device.type == "cuda" else torch.float32)
    if card.architecture["name"] == DIFFUSERS and resolve_name("models.diffusion.memory:offloaded")(module, device):
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
    module: nn.Module
    try:
        if architecture["name"] in (DIFFUSERS, *ADDITIONS):
            module = resolve_name(ADDITIONS.get(architecture["name"], LOAD_PIPELINE))(folder, dtype)
        else:
            module = resolve_name(LOAD_PRETRAINED)(architecture["name"], folder, architecture["image_size"], dtype)
        return module
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise WeightsError(card.id, f"Model {card.id} cannot be loaded: {reason}.") from error
