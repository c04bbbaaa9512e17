"""EfficientNet-Lite: a classifier of photographs, whose pooled features describe what they show.

Tan and Le 2019, "EfficientNet: rethinking model scaling for convolutional neural networks", table 1 (B0). The Lite
variants of the same authors have no squeeze-and-excitation, ReLU6 instead of Swish, and stem and head of fixed width.
"""

import json
from functools import cache
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

# Per stage of inverted residual blocks: how many, kernel size, stride of the first, expansion, channels.
STAGES = (
    *((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80)),
    *((3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320)),
)
STEM, FEATURES, CLASSES = 32, 1280, 1000
MEAN, STD = 127 / 255, 128 / 255  # of images in [0, 1], as the weights were trained
CLASS_NAMES = Path(__file__).parent / "imagenet_classes.json"


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite0 for inference, its batch normalizations folded into the convolutions before them."""

    def __init__(self, image_size: int, channels: int = 3) -> None:
        super().__init__()
        self.image_size = image_size
        self.stem = _Conv(channels, STEM, 3, 2)
        blocks, before = [], STEM
        for count, kernel, stride, expansion, width in STAGES:
            for k in range(count):
                blocks.append(_Block(before, width, kernel, stride if k == 0 else 1, expansion))
                before = width
        self.blocks = nn.Sequential(*blocks)
        self.head = _Conv(before, FEATURES, 1)
        self.classifier = nn.Linear(FEATURES, CLASSES)

    @property
    def dim(self) -> int:
        """Number of pooled features."""
        return FEATURES

    def encode_images(self, images: Tensor) -> Tensor:
        """Pooled features (n, 1280) of images (n, 3, image_size, image_size) in [0, 1]."""
        x = F.relu6(self.stem((images - MEAN) / STD))
        return F.relu6(self.head(self.blocks(x))).mean((2, 3)).float()

    def class_probabilities(self, features: Tensor) -> Tensor:
        """Probabilities (n, 1000) of the classes of ImageNet, from pooled features (n, 1280)."""
        logits: Tensor = self.classifier(features)
        return logits.float().softmax(1)


class _Block(nn.Module):
    """An inverted residual block (Sandler et al. 2018, "MobileNetV2", figure 3b): expand, filter depthwise, project."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = expansion * channels
        self.expand = _Conv(channels, inner, 1) if expansion > 1 else None
        self.depthwise = _Conv(inner, inner, kernel, stride, groups=inner)
        self.project = _Conv(inner, width, 1)
        self.adds = stride == 1 and channels == width

    def forward(self, x: Tensor) -> Tensor:
        inner = x if self.expand is None else F.relu6(self.expand(x))
        projected: Tensor = self.project(F.relu6(self.depthwise(inner)))
        return x + projected if self.adds else projected


class _Conv(nn.Conv2d):
    """A convolution padded as TensorFlow's "same", where the weights are from: at even sides, more right and below."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels, width, kernel, stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        vertical, horizontal = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[2:])
        sides = horizontal // 2, horizontal - horizontal // 2, vertical // 2, vertical - vertical // 2
        return super().forward(F.pad(x, sides) if any(sides) else x)


@cache
def class_names() -> tuple[str, ...]:
    """Names of the 1,000 classes of ImageNet, in their order."""
    names: list[str] = json.loads(CLASS_NAMES.read_text(encoding="utf-8"))["names"]
    return tuple(names)
