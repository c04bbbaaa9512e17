"""The convolutional trunk of VGG-16 and VGG-19, whose features style transfer compares.

Simonyan and Zisserman 2015, "Very deep convolutional networks for large-scale image recognition", table 1 (D and E).
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from models.catalogue import WEIGHTS_DIR, WeightsError, card, checked_file
from models.tensors import fast_dtype

DEPTHS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}  # convolutions per block
WIDTHS = (64, 128, 256, 512, 512)  # channels per block


class VGG(nn.Module):
    """The frozen trunk of VGG-16 or VGG-19; its input is RGB in [0, 1], normalised inside.

    The convolutions are named `conv1_1` … `conv5_4` after the papers' layers, and the ReLU that follows `conv4_2` is
    `relu4_2`. Two departures from the paper make better pictures: blocks are joined by average instead of max pooling
    (Gatys, Ecker and Bethge 2016, section 2), and the borders are continued with their own pixels instead of zeros,
    whose edge an optimiser would otherwise answer with a frame.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, depth: int) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise ValueError(f"depth must be one of {', '.join(map(str, DEPTHS))}, not {depth}")
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("std", torch.ones(3))
        channels = 3
        for name in conv_names(depth):
            width = WIDTHS[int(name[4]) - 1]
            self.add_module(name, nn.Conv2d(channels, width, 3))
            channels = width
        self.compute_dtype = torch.float32
        self.requires_grad_(False)

    @property
    def layers(self) -> tuple[str, ...]:
        """The names `forward` knows, from shallow to deep."""
        return tuple(name.replace("conv", "relu") for name, _ in self.named_children())

    def forward(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """The features of `images` at `layers`; nothing deeper than the deepest of them is computed.

        images: (n, 3, h, w) in [0, 1], h and w at least 16 for a layer of block 5. Returns {layer: (n, c, h', w')} in
        the order of depth and in `compute_dtype`. Raises ValueError for an unknown layer.
        """
        unknown = set(layers) - set(self.layers)
        if unknown or not layers:
            raise ValueError(f"layers must be some of {', '.join(self.layers)}, not {sorted(unknown)}")
        x = (images - self.mean.view(3, 1, 1)) / self.std.view(3, 1, 1)
        x = x.to(self.compute_dtype, memory_format=torch.channels_last)
        features: dict[str, Tensor] = {}
        for name, conv in self.named_children():
            if name.endswith("_1") and name != "conv1_1":
                x = F.avg_pool2d(x, 2)
            x = F.relu(conv(_edge_padded(x)))
            layer = name.replace("conv", "relu")
            if layer in layers:
                features[layer] = x
                if len(features) == len(layers):
                    break
        return features


def conv_names(depth: int) -> tuple[str, ...]:
    """`conv1_1` … `conv5_3` (or `conv5_4`): the convolutions of the trunk from shallow to deep."""
    return tuple(f"conv{block}_{i}" for block, count in enumerate(DEPTHS[depth], 1) for i in range(1, count + 1))


def _edge_padded(x: Tensor) -> Tensor:
    """One more pixel on every side. Not F.pad, whose gradient on CUDA differs from run to run."""
    x = torch.cat([x[:, :, :1], x, x[:, :, -1:]], dim=2)
    return torch.cat([x[..., :1], x, x[..., -1:]], dim=3)


def load_vgg(
    model_id: str,
    weights_dir: Path = WEIGHTS_DIR,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> VGG:
    """The network of card `vgg16` or `vgg19` with its weights, on `device` and computing in `dtype`.

    Without `dtype`, `fast_dtype` chooses. Raises WeightsError when the weights are missing or are not the card's.
    """
    device = torch.device(device)
    path = checked_file(card(model_id), f"{model_id}.safetensors", weights_dir)
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise WeightsError(model_id, f"{path.name} of model {model_id} is no safetensors file: {error}.") from error
    vgg = VGG(int(model_id.removeprefix("vgg")))
    vgg.load_state_dict(state)
    vgg.compute_dtype = dtype or fast_dtype(device)
    for conv in vgg.children():  # the mean and std stay float32
        conv.to(device, vgg.compute_dtype)
    return vgg.to(device)
