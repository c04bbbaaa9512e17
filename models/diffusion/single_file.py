"""Loads a text-to-image model whose parts are all in one safetensors file, with the key names of their authors.

Of Rombach et al. 2022, "High-resolution image synthesis with latent diffusion models" (Stable Diffusion 1 and 2), and
Podell et al. 2023, "SDXL: improving latent diffusion models for high-resolution image synthesis".
"""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.loaders.single_file_utils import (
    SingleFileComponentError,
    convert_controlnet_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
)
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

PIPELINES: dict[str, Any] = {
    "StableDiffusionPipeline": StableDiffusionPipeline,
    "StableDiffusionXLPipeline": StableDiffusionXLPipeline,
}
# Where the keys of each part begin.
PREFIXES = {
    "unet": ("model.diffusion_model.",),
    "vae": ("first_stage_model.",),
    "text_encoder": ("cond_stage_model.", "conditioner.embedders.0."),
    "text_encoder_2": ("conditioner.embedders.1.",),
}
CONVERTED: dict[str, Any] = {
    "unet": (UNet2DConditionModel, convert_ldm_unet_checkpoint),
    "vae": (AutoencoderKL, convert_ldm_vae_checkpoint),
    "controlnet": (ControlNetModel, convert_controlnet_checkpoint),
}


def load_vae(path: Path, dtype: torch.dtype) -> AutoencoderKL:
    """Loads an autoencoder from a safetensors file, with its configuration in the folder `vae` beside it.

    The keys are named as in a checkpoint, with or without its prefix, or as diffusers names them. Raises ValueError as
    `pipeline_of_checkpoint`.
    """
    check_fit(path, "vae", shapes_of(path), path.parent / "vae" / "config.json")
    vae: Any = AutoencoderKL
    loaded: AutoencoderKL = vae.from_single_file(
        str(path), config=str(path.parent), subfolder="vae", torch_dtype=dtype, local_files_only=True
    )
    return loaded


def pipeline_of_checkpoint(path: Path, dtype: torch.dtype, vae: AutoencoderKL | None = None) -> Any:
    """Loads a pipeline from a safetensors file, with the configuration of its parts in the folder beside it.

    vae: used instead of that of the file. Reads safetensors, json and word lists only. Raises ValueError naming what
    the file lacks or what does not fit.
    """
    index = json.loads((path.parent / "model_index.json").read_text(encoding="utf-8"))
    kind = PIPELINES.get(index["_class_name"])
    if kind is None:
        raise ValueError(f"model_index.json names {index['_class_name']}, and one file holds {' or '.join(PIPELINES)}")
    shapes = shapes_of(path)
    own = {"vae": vae} if vae else {}
    parts = [part for part in PREFIXES if part in index and part not in own]
    for part in parts:
        if not any(key.startswith(PREFIXES[part]) for key in shapes):
            raise ValueError(f"{path.name} holds no {part}: no key begins with {' or '.join(PREFIXES[part])}")
    for part in [part for part in parts if part in CONVERTED]:
        check_fit(path, part, shapes, path.parent / part / "config.json")
    try:
        pipeline = kind.from_single_file(
            str(path), config=str(path.parent), torch_dtype=dtype, local_files_only=True, safety_checker=None, **own
        )
    except SingleFileComponentError as error:
        raise ValueError(f"{path.name}: {error.message.strip().partition(chr(10))[0]}") from error
    for name, module in pipeline.components.items():
        if isinstance(module, nn.Module):
            _check_complete(path, name, [key for key, value in module.state_dict().items() if value.is_meta])
    return pipeline


def shapes_of(path: Path) -> dict[str, Tensor]:
    """Returns a tensor without values for each key of the file; raises ValueError for a damaged one."""
    try:
        with safe_open(path, framework="pt") as file:
            return {key: torch.empty(file.get_slice(key).get_shape(), device="meta") for key in file.keys()}  # noqa: SIM118 # no mapping
    except SafetensorError as error:
        raise ValueError(f"{path.name} is no whole safetensors file: {error}") from error


def check_fit(path: Path, part: str, shapes: dict[str, Tensor], config_file: Path) -> None:
    """Raises ValueError if the file lacks tensors of a part or has them in other sizes than its configuration."""
    kind, convert = CONVERTED[part]
    config = json.loads(config_file.read_text(encoding="utf-8"))
    with torch.device("meta"):
        expected = kind.from_config(config).state_dict()
    try:
        is_converted = any("mid_block." in key for key in shapes)  # the name of diffusers
        found = shapes if is_converted else convert(checkpoint=dict(shapes), config=config)
    except KeyError as error:
        raise ValueError(f"{path.name} lacks {error} of the {part}") from error
    _check_complete(path, part, [key for key in expected if found.get(key) is None])
    for key, value in expected.items():
        if value.shape != found[key].shape:
            sizes = f"{tuple(found[key].shape)}, and its configuration {tuple(value.shape)}"
            raise ValueError(f"{path.name} has {key} of the {part} in the size {sizes}: is its base another one?")


def _check_complete(path: Path, part: str, lacking: list[str]) -> None:
    if lacking:
        raise ValueError(f"{path.name} lacks {len(lacking)} tensors of the {part}, such as {lacking[0]}")
