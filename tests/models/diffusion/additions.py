"""Tiny ControlNets and IP-Adapters of random weights for the tiny models, in the published layouts."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from models.diffusion.control import CONFIG, WEIGHTS
from models.diffusion.image_prompt import ADAPTER
from tests.models.diffusion.single_file import unet_key

DIM = 24  # of image embeddings
WIDTH = 32  # of hidden states


def save_controlnet(pipeline: Any, folder: Path, channels: tuple[int, ...] = ()) -> Path:
    """Saves a ControlNet of a pipeline's UNet as diffusers does; its zero convolutions are drawn too."""
    torch.manual_seed(3)
    kind: Any = ControlNetModel
    channels = channels or (16,) * pipeline.vae_scale_factor.bit_length()
    made = kind.from_unet(pipeline.unet, conditioning_embedding_out_channels=channels)
    for name, value in made.named_parameters():
        if name.startswith(("controlnet_down", "controlnet_mid")):
            torch.nn.init.normal_(value, std=0.3)
        if name.startswith("controlnet_cond_embedding.conv_out"):
            torch.nn.init.normal_(value, std=3.0)
    made.save_pretrained(folder)
    return folder / WEIGHTS


def write_original(folder: Path, path: Path, pipeline: Any) -> dict[str, Tensor]:
    """Writes a saved ControlNet under the names of its authors."""
    config = json.loads((folder / CONFIG).read_text())
    last = 4 * len(config["conditioning_embedding_out_channels"]) - 2
    state = {
        f"control_model.{_original(key, last, pipeline)}": value.clone()
        for key, value in load_file(folder / WEIGHTS).items()
    }
    save_file(state, path)
    return state


def _original(key: str, last: int, pipeline: Any) -> str:
    start, _, rest = key.partition(".")
    if start == "controlnet_down_blocks":
        place, _, end = rest.partition(".")
        return f"zero_convs.{place}.0.{end}"
    if start == "controlnet_mid_block":
        return f"middle_block_out.0.{rest}"
    if start != "controlnet_cond_embedding":
        return unet_key(key, pipeline)
    if rest.startswith("conv_in"):
        return f"input_hint_block.0.{rest.removeprefix('conv_in.')}"
    if rest.startswith("conv_out"):
        return f"input_hint_block.{last}.{rest.removeprefix('conv_out.')}"
    _, place, end = rest.split(".")
    return f"input_hint_block.{2 * int(place) + 2}.{end}"


def save_image_prompt(pipeline: Any, folder: Path, *, plus: bool) -> Path:
    """Saves an IP-Adapter for a pipeline's UNet and its image encoder; `plus`: of the kind that reads hidden states."""
    torch.manual_seed(4)
    config = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=24,
        patch_size=8,
        projection_dim=DIM,
    )
    CLIPVisionModelWithProjection(config).save_pretrained(folder / "image_encoder")
    width = pipeline.unet.config.cross_attention_dim
    state = {f"image_proj.{key}": value for key, value in (_plus(width) if plus else _plain(width)).items()}
    crossing = [name.removesuffix(".processor") for name in pipeline.unet.attn_processors if "attn2" in name]
    for i, name in enumerate(crossing):
        for part in ("to_k_ip", "to_v_ip"):
            out = pipeline.unet.get_submodule(name).to_k.out_features
            state[f"ip_adapter.{2 * i + 1}.{part}.weight"] = torch.randn(out, width)
    save_file(state, folder / ADAPTER)
    return folder / ADAPTER


def _plain(width: int) -> dict[str, Tensor]:
    norm = {"norm.weight": torch.ones(width), "norm.bias": torch.zeros(width)}
    return {"proj.weight": torch.randn(4 * width, DIM), "proj.bias": torch.zeros(4 * width), **norm}


def _plus(width: int) -> dict[str, Tensor]:
    inner = 64
    state = {"latents": torch.randn(1, 4, inner)}
    shapes = {"proj_in": (inner, WIDTH), "proj_out": (width, inner)}
    for name, shape in shapes.items():
        state |= {f"{name}.weight": torch.randn(shape), f"{name}.bias": torch.zeros(shape[0])}
    state |= {"norm_out.weight": torch.ones(width), "norm_out.bias": torch.zeros(width)}
    for layer in (f"layers.{k}" for k in range(4)):
        state |= _plus_layer(layer, inner)
    return state


def _plus_layer(layer: str, inner: int) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for norm in ("0.norm1", "0.norm2", "1.0"):
        state |= {f"{layer}.{norm}.weight": torch.ones(inner), f"{layer}.{norm}.bias": torch.zeros(inner)}
    shapes = {"0.to_q": (inner, inner), "0.to_kv": (2 * inner, inner), "0.to_out": (inner, inner)}
    shapes |= {"1.1": (4 * inner, inner), "1.3": (inner, 4 * inner)}
    return state | {f"{layer}.{name}.weight": torch.randn(shape) / inner for name, shape in shapes.items()}
