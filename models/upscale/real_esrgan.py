"""The networks of Real-ESRGAN, which upscale images by 4.

Wang et al. 2021, "Real-ESRGAN: training real-world blind super-resolution with pure synthetic data".
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SCALE = 4
SLOPE = 0.2  # of the leaky ReLUs
RESIDUAL = 0.2  # share of a residual that is added (Wang et al. 2018, "ESRGAN", section 3.1)


class Upscaler(nn.Module):
    """A network from images (n, 3, h, w) in [0, 1] to images SCALE times as large.

    overlap: how many pixels around a tile its result depends on, or beyond which what it sees makes no difference.
    """

    overlap: int


class SRVGGNetCompact(Upscaler):
    """Convolutions at the input's size alone, which add to the nearest pixels of the input: small and quick."""

    def __init__(self, num_feat: int, num_conv: int, channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for k in range(num_conv + 1):
            layers += [nn.Conv2d(num_feat if k else channels, num_feat, 3, padding=1), nn.PReLU(num_feat)]
        self.body = nn.Sequential(*layers, nn.Conv2d(num_feat, channels * SCALE**2, 3, padding=1))
        self.overlap = num_conv + 2  # a pixel for each convolution: beyond it nothing has an influence

    def forward(self, images: Tensor) -> Tensor:
        """Upscales images (n, 3, h, w) to (n, 3, 4h, 4w)."""
        return F.pixel_shuffle(self.body(images), SCALE) + F.interpolate(images, scale_factor=SCALE, mode="nearest")


class RRDBNet(Upscaler):
    """ESRGAN's generator: residual blocks of dense blocks, then two upsamplings (Wang et al. 2018, figure 4)."""

    overlap = 24  # `python -m bench.upscale` prints what remains of a seam

    def __init__(self, num_feat: int, num_block: int, num_grow_ch: int, channels: int = 3) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(channels, num_feat, 3, padding=1)
        self.body = nn.Sequential(*(_ResidualInResidual(num_feat, num_grow_ch) for _ in range(num_block)))
        self.conv_body = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_up1 = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_up2 = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_hr = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_last = nn.Conv2d(num_feat, channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Upscales images (n, 3, h, w) to (n, 3, 4h, 4w)."""
        features = self.conv_first(images)
        features = features + self.conv_body(self.body(features))
        for conv in (self.conv_up1, self.conv_up2):
            features = F.leaky_relu(conv(F.interpolate(features, scale_factor=2.0, mode="nearest")), SLOPE)
        result: Tensor = self.conv_last(F.leaky_relu(self.conv_hr(features), SLOPE))
        return result


class _ResidualInResidual(nn.Sequential):
    def __init__(self, num_feat: int, num_grow_ch: int) -> None:
        super().__init__(*(_DenseBlock(num_feat, num_grow_ch) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return x + RESIDUAL * inner


class _DenseBlock(nn.Module):
    """Five convolutions, each of which takes what all before it made."""

    def __init__(self, num_feat: int, num_grow_ch: int) -> None:
        super().__init__()
        widths = [*[num_grow_ch] * 4, num_feat]
        self.convs = nn.ModuleList(
            nn.Conv2d(num_feat + k * num_grow_ch, width, 3, padding=1) for k, width in enumerate(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        made = [x]
        for conv in self.convs[:-1]:
            made.append(F.leaky_relu(conv(torch.cat(made, 1)), SLOPE))
        last: Tensor = self.convs[-1](torch.cat(made, 1))
        return x + RESIDUAL * last
