"""Writes tiny pipelines as one file, with the key names of Stable Diffusion's and SDXL's published checkpoints."""

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

State = dict[str, Tensor]

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def write_checkpoint(pipeline: Any, path: Path, base: str) -> State:
    """Writes all parts of a pipeline to one file, in the layout of a base; returns what it holds."""
    state = {f"model.diffusion_model.{unet_key(key, pipeline)}": value for key, value in _weights(pipeline.unet)}
    for key, value in _weights(pipeline.vae):
        linear = ".attentions." in key and value.ndim == 2  # 1 x 1 convolutions in the file
        state[f"first_stage_model.{_of_vae(key, pipeline)}"] = value[:, :, None, None] if linear else value
    state |= _texts(pipeline, base)
    state = {key: value.contiguous().clone() for key, value in state.items()}
    save_file(state, path)
    return state


def _texts(pipeline: Any, base: str) -> State:
    first = {key.removeprefix("text_model."): value for key, value in _weights(pipeline.text_encoder)}
    if base == "stable-diffusion-2.1":
        return {f"cond_stage_model.model.{key}": value for key, value in _open_clip(first).items()}
    prefix = "conditioner.embedders.0" if base == "sdxl" else "cond_stage_model"
    state = {f"{prefix}.transformer.text_model.{key}": value for key, value in first.items()}
    if base == "sdxl":
        second = _open_clip(dict(_weights(pipeline.text_encoder_2)))
        state |= {f"conditioner.embedders.1.model.{key}": value for key, value in second.items()}
    return state


def _weights(part: Any) -> list[tuple[str, Tensor]]:
    return list(part.state_dict().items())


def unet_key(key: str, pipeline: Any) -> str:
    """The name that the published checkpoints have for a tensor of the UNet."""
    layers = pipeline.unet.config.layers_per_block
    for ours, theirs in UNET.items():
        if key.startswith(f"{ours}."):
            return theirs + key.removeprefix(ours)
    side, block, kind, place, rest = re.fullmatch(r"(down|up|mid)_block(?:s\.(\d+))?\.(\w+)\.(\d+)\.(.+)", key).groups()  # type: ignore[union-attr]
    j = int(place)
    if kind == "resnets":
        name, _, last = rest.rpartition(".")
        rest = f"{RESNET[name]}.{last}"
    if side == "mid":
        return f"middle_block.{2 * j if kind == 'resnets' else 1}.{rest}"
    at = (layers + 1) * int(block)
    if kind == "downsamplers":
        return f"input_blocks.{at + layers + 1}.0.{rest.replace('conv', 'op', 1)}"
    if kind == "upsamplers":
        crosses = "CrossAttn" in pipeline.unet.config.up_block_types[int(block)]
        return f"output_blocks.{at + layers}.{2 if crosses else 1}.{rest}"
    where = f"input_blocks.{at + j + 1}" if side == "down" else f"output_blocks.{at + j}"
    return f"{where}.{1 if kind == 'attentions' else 0}.{rest}"


def _of_vae(key: str, pipeline: Any) -> str:
    top = len(pipeline.vae.config.block_out_channels) - 1
    key = key.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    key = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", key)
    key = key.replace("mid_block.attentions.0", "mid.attn_1")
    if ".attn_1." in key:
        for ours, theirs in ATTENTION.items():
            key = key.replace(f".{ours}.", f".{theirs}.")
    key = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", key)
    key = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", key)
    key = re.sub(r"up_blocks\.(\d)\.resnets", lambda m: f"up.{top - int(m[1])}.block", key)
    return re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{top - int(m[1])}.upsample", key)


def _open_clip(state: State) -> State:
    """SDXL's second text encoder is stored as OpenCLIP names it: queries, keys and values in one matrix."""
    named = {}
    names = {
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "embeddings.position_embedding.weight": "positional_embedding",
        "final_layer_norm": "ln_final",
        "encoder.layers.": "transformer.resblocks.",
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
        "self_attn.out_proj": "attn.out_proj",
    }
    for key, value in state.items():
        if ".q_proj." in key:
            joined = torch.cat([state[key.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")])
            key, value = key.replace("self_attn.q_proj.", "attn.in_proj_"), joined
        elif ".k_proj." in key or ".v_proj." in key:
            continue
        elif key == "text_projection.weight":
            key, value = "text_projection", value.T
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        named[key.removeprefix("text_model.")] = value
    return named
