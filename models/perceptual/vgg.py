"""The convolutional layers of VGG-16 and VGG-19, whose features style transfer compares.

Simonyan and Zisserman 2015, "Very deep convolutional networks for large-scale image recognition", table 1 (D and E).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from models.catalogue import WEIGHTS_DIR, card, checked_file
from models.errors import WeightsError
from models.tensors import fast_dtype

DEPTHS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}  # convolutions per block
WIDTHS = (64, 128, 256, 512, 512)  # channels per block


class VGG(nn.Module):
    """The frozen convolutional layers of VGG-16 or VGG-19; the input is RGB in [0, 1], normalized inside.

    The convolutions are named `conv1_1` … `conv5_4` as in the papers; the ReLU after `conv4_2` is `relu4_2`. Two
    departures from the paper make better images: average pooling instead of max pooling (Gatys, Ecker and Bethge 2016,
    section 2), and padding by replicated borders instead of zeros, whose edges would produce a frame in the result.
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
        """Names of the layers, from shallow to deep."""
        return tuple(name.replace("conv", "relu") for name, _ in self.named_children())

    def forward(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Computes the features of `images` at `layers`, and nothing deeper than the deepest of these.

        images: (n, 3, h, w) in [0, 1], h and w at least 16 for a layer of block 5. Returns {layer: (n, c, h', w')} in
        the order of depth and in `compute_dtype`. Raises ValueError for an unknown layer.
        """
        return dict(self.in_turn(images, layers))

    def in_turn(self, images: Tensor, layers: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
        """Yields the features of `forward` layer by layer, as they are computed.

        If the loss of each layer is computed here, backpropagation frees the gradient of one layer before it computes
        the next. Losses computed after the last layer would keep all their gradients in memory at once.
        """
        unknown = set(layers) - set(self.layers)
        if unknown or not layers:
            raise ValueError(f"layers must be some of {', '.join(self.layers)}, not {sorted(unknown)}")
        x = (images - self.mean.view(3, 1, 1)) / self.std.view(3, 1, 1)
        x = x.to(self.compute_dtype, memory_format=torch.channels_last)
        deepest = max(self.layers.index(layer) for layer in layers)
        for name, conv in list(self.named_children())[: deepest + 1]:
            if name.endswith("_1") and name != "conv1_1":
                x = _HalvedFunction.apply(x)  # type: ignore[no-untyped-call]
            x = _ConvFunction.apply(x, conv.weight, conv.bias)  # type: ignore[no-untyped-call]
            layer = name.replace("conv", "relu")
            if layer in layers:
                yield layer, x


def conv_names(depth: int) -> tuple[str, ...]:
    """Names of the convolutions from shallow to deep, `conv1_1` … `conv5_3` or `conv5_4`."""
    return tuple(f"conv{block}_{i}" for block, count in enumerate(DEPTHS[depth], 1) for i in range(1, count + 1))


class _ConvFunction(torch.autograd.Function):
    """relu(conv(x)) with constant 3 x 3 filters, x padded by one replicated pixel.

    Only the result is saved for the gradient, which is 0 where the result is 0. The gradient of the borders is added to
    their neighbors in place: that of F.pad makes a copy and on CUDA differs between runs.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        y = F.relu_(F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), weight, bias))
        ctx.save_for_backward(y, weight)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        y, weight = ctx.saved_tensors
        gradient = torch.ops.aten.threshold_backward(gradients[0], y, 0)
        padded: Tensor = F.conv_transpose2d(gradient, weight)
        for border, inner in ((0, 1), (-1, -2)):
            padded[:, :, inner] += padded[:, :, border]
            padded[..., inner] += padded[..., border]
        return padded[:, :, 1:-1, 1:-1], None, None


class _HalvedFunction(torch.autograd.Function):
    """Means of 2 x 2 pixels. The gradient of F.avg_pool2d saves its input and is three times slower channels-last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        return F.avg_pool2d(x, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        back: Tensor = F.interpolate(gradients[0] / 4, scale_factor=2, mode="nearest")
        bottom, right = ctx.shape[2] - back.shape[2], ctx.shape[3] - back.shape[3]  # odd sides: the last line has none
        return F.pad(back, (0, right, 0, bottom)) if bottom or right else back


def load_vgg(
    model_id: str,
    weights_dir: Path = WEIGHTS_DIR,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> VGG:
    """Loads the network of card `vgg16` or `vgg19`, on `device` and computing in `dtype`, by default `fast_dtype`.

    Raises WeightsError if the weights are missing or are not those of the card.
    """
    device = torch.device(device)
    path = checked_file(card(model_id), f"{model_id}.safetensors", weights_dir)
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise WeightsError(model_id, f"{path.name} of model {model_id} is not a safetensors file: {error}.") from error
    vgg = VGG(int(model_id.removeprefix("vgg")))
    vgg.load_state_dict(state)
    vgg.compute_dtype = dtype or fast_dtype(device)
    for conv in vgg.children():  # the mean and std stay float32
        conv.to(device, vgg.compute_dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return vgg.to(device)
