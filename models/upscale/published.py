"""Networks that upscale by 4 in one safetensors file, with the names of tensors that ESRGAN and Real-ESRGAN publish.

Wang et al. 2018, "ESRGAN: enhanced super-resolution generative adversarial networks"; Wang et al. 2021, "Real-ESRGAN".
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from models.tensors import fit_state
from models.upscale.real_esrgan import SCALE, RRDBNet, SRVGGNetCompact, Upscaler

CHANNELS = 3
# Layers of an RRDBNet by their names in ESRGAN's first code and in its second; Real-ESRGAN's are those of `RRDBNet`.
LAYERS = {
    **{"model.0": "conv_first", "model.3": "conv_up1", "model.6": "conv_up2", "model.8": "conv_hr"},
    **{"model.10": "conv_last", "trunk_conv": "conv_body", "upconv1": "conv_up1", "upconv2": "conv_up2"},
    "HRconv": "conv_hr",
}
IN_A_BLOCK = re.compile(r"(?:model\.1\.sub|RRDB_trunk|body)\.(\d+)\.(?:RDB|rdb)([1-3])\.conv([1-5])(?:\.0)?")
COMPACT = re.compile(r"body\.(\d+)\.weight")
AFTER_THE_BLOCKS = re.compile(r"model\.1\.sub\.\d+")


def load_upscaler(folder: Path, dtype: torch.dtype) -> Upscaler:
    """Loads the network in the one safetensors file of a folder, in float32; raises ValueError for another network.

    dtype: unused; mixed precision is that of `upscale`.
    """
    [path] = folder.glob("*.safetensors")
    state = {_renamed(name): tensor for name, tensor in load_file(path).items()}
    network = _residual(state) if "conv_first.weight" in state else _compact(state)
    fit_state(network, state, path.name)
    return network


def _renamed(name: str) -> str:
    """Returns the name of a tensor in an RRDBNet or SRVGGNetCompact."""
    layer, _, kind = name.removeprefix("params_ema.").removeprefix("params.").rpartition(".")
    if found := IN_A_BLOCK.fullmatch(layer):
        block, dense, conv = map(int, found.groups())
        layer = f"body.{block}.{dense - 1}.convs.{conv - 1}"
    elif AFTER_THE_BLOCKS.fullmatch(layer):
        layer = "conv_body"
    return f"{LAYERS.get(layer, layer)}.{kind}"


def _residual(state: Mapping[str, Tensor]) -> RRDBNet:
    first, growth = state["conv_first.weight"], state.get("body.0.0.convs.0.weight")
    if growth is None or "conv_up2.weight" not in state or first.shape[1] != CHANNELS:
        raise ValueError(f"it is not an ESRGAN that upscales RGB images by {SCALE}")
    blocks = {name.split(".")[1] for name in state if name.startswith("body.")}
    return RRDBNet(num_feat=len(first), num_block=len(blocks), num_grow_ch=len(growth))


def _compact(state: Mapping[str, Tensor]) -> SRVGGNetCompact:
    convs = {
        int(name.split(".")[1]): each for name, each in state.items() if COMPACT.fullmatch(name) and each.ndim == 4
    }
    if not convs or convs[min(convs)].shape[1] != CHANNELS:
        raise ValueError("its tensors are not those of an ESRGAN or Real-ESRGAN of RGB images")
    if len(convs[max(convs)]) != CHANNELS * SCALE**2:
        scale = math.isqrt(len(convs[max(convs)]) // CHANNELS)
        raise ValueError(f"it upscales by {scale}; a network that upscales by {SCALE} is needed")
    return SRVGGNetCompact(num_feat=len(convs[min(convs)]), num_conv=len(convs) - 2)
