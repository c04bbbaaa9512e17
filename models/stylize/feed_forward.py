"""The feed-forward network of one style, and its training loss.

Johnson, Alahi and Fei-Fei 2016, "Perceptual losses for real-time style transfer and super-resolution". The network is
that of card `fast-multistyle` (Dumoulin, Shlens and Kudlur 2017), with the normalization of one style instead of 26, so
that the same graph of onnxruntime runs it.
"""

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

Array = np.ndarray[Any, np.dtype[np.float32]]
EPSILON = 1e-5  # of the normalizations
RESIDUAL_BLOCKS = 6


class StyleNorm(nn.Module):
    """Instance normalization with the scale and shift of the style (Dumoulin et al. 2017, eq. 5)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalizes each channel of each image over its pixels."""
        return F.instance_norm(x, weight=self.gamma, bias=self.beta, eps=EPSILON)


class ConvNorm(nn.Module):
    """A convolution with borders padded by reflection, without bias, and a normalization."""

    def __init__(self, inputs: int, outputs: int, side: int, stride: int = 1) -> None:
        super().__init__()
        self.w = nn.Parameter(nn.init.kaiming_normal_(torch.empty(outputs, inputs, side, side)))
        self.norm = StyleNorm(outputs)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        half = self.w.shape[2] // 2
        normed: Tensor = self.norm(F.conv2d(F.pad(x, (half,) * 4, mode="reflect"), self.w, stride=self.stride))
        return normed


class StyleNet(nn.Module):
    """Stylizes images in one pass; its weights have the names of those in the graph of `fast-multistyle`."""

    def __init__(self) -> None:
        super().__init__()
        self.contract = nn.ModuleList([ConvNorm(3, 32, 9), ConvNorm(32, 32, 3, 2), ConvNorm(32, 32, 3, 2)])
        blocks = [nn.ModuleList([ConvNorm(32, 32, 3), ConvNorm(32, 32, 3)]) for _ in range(RESIDUAL_BLOCKS)]
        self.res = nn.ModuleList(blocks)
        self.expand = nn.ModuleList([ConvNorm(32, 8, 3), ConvNorm(8, 4, 3), ConvNorm(4, 3, 9)])

    def forward(self, images: Tensor) -> Tensor:
        """Stylizes images (n, 3, h, w) in [0, 1], h and w multiples of 4; returns the same shape and range."""
        x = images
        for layer in self.contract:
            x = F.relu(layer(x))
        for block in self.res:
            first, second = cast(nn.ModuleList, block)
            x = x + second(F.relu(first(x)))
        for layer in self.expand[:2]:
            x = F.relu(layer(F.interpolate(x, scale_factor=2.0, mode="nearest")))
        return torch.sigmoid(self.expand[2](x))


def style_net(channels: int = 3) -> StyleNet:
    """Builds the untrained network; raises ValueError for other images than of 3 channels."""
    if channels != 3:
        raise ValueError(f"channels must be 3, not {channels}")
    return StyleNet()


def of_builtin(weights: dict[str, Array], number: int) -> dict[str, Tensor]:
    """The state of a `StyleNet` from the weights of `fast-multistyle`, in the built-in style `number`."""
    return {
        name: torch.from_numpy(np.array(value[number] if ".norm." in name else value))
        for name, value in weights.items()
    }
