"""CycleGAN: translates images of one kind to another, trained on unpaired examples.

Zhu, Park, Isola and Efros 2017, "Unpaired image-to-image translation using cycle-consistent adversarial networks".
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Direction = Literal["a-to-b", "b-to-a"]


class Translator(nn.Module):
    """A ResNet generator over images (n, channels, h, w) in [-1, 1], sides multiples of four.

    Departure from Zhu et al., whose generator outputs the whole image: this one outputs a change that is added to its
    input, so that what should stay the same does so from the first step.
    """

    def __init__(self, channels: int, base_channels: int, n_blocks: int) -> None:
        super().__init__()
        c = base_channels
        self.layers = nn.Sequential(
            *(nn.Conv2d(channels, c, 7, padding=3, padding_mode="replicate"), *_normed(c)),
            *(nn.Conv2d(c, 2 * c, 3, 2, 1), *_normed(2 * c), nn.Conv2d(2 * c, 4 * c, 3, 2, 1), *_normed(4 * c)),
            *(_Residual(4 * c) for _ in range(n_blocks)),
            *(nn.ConvTranspose2d(4 * c, 2 * c, 4, 2, 1), *_normed(2 * c)),
            *(nn.ConvTranspose2d(2 * c, c, 4, 2, 1), *_normed(c)),
            nn.Conv2d(c, channels, 7, padding=3, padding_mode="replicate"),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Returns the translated images, which may slightly exceed [-1, 1], so that the gradient never vanishes."""
        changed: Tensor = images + self.layers(images).float()
        return changed


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(channels, channels, 3, padding=1), *_normed(channels)),
            *(nn.Conv2d(channels, channels, 3, padding=1), nn.InstanceNorm2d(channels, affine=True)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)  # type: ignore[no-any-return]


def _normed(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.InstanceNorm2d(channels, affine=True), nn.ReLU(inplace=True)


class CycleGan(nn.Module):
    """The two generators, `a_to_b` and `b_to_a`, for images of `image_size`; `kinds` names a and b."""

    def __init__(
        self, image_size: int, channels: int, base_channels: int, n_blocks: int, kinds: Sequence[str] = ("a", "b")
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.kinds = tuple(kinds)
        self.a_to_b = Translator(channels, base_channels, n_blocks)
        self.b_to_a = Translator(channels, base_channels, n_blocks)

    def translate(self, images: Tensor, direction: Direction) -> Tensor:
        """Translates images (n, channels, h, w) in [0, 1] to images in [0, 1]."""
        generator = self.a_to_b if direction == "a-to-b" else self.b_to_a
        translated: Tensor = generator(images * 2 - 1)
        return ((translated + 1) / 2).clamp(0, 1)


def patch_discriminator(channels: int, base_channels: int, n_layers: int = 2) -> nn.Sequential:
    """Builds a discriminator from images in [-1, 1] to one score per patch, (n, 1, h / 2^n_layers, w / 2^n_layers).

    Patches are 26 pixels wide with two halving layers and 54 with three; Zhu et al.'s are 70 of 256.
    """
    c = base_channels
    layers: list[nn.Module] = [nn.Conv2d(channels, c, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
    for _ in range(n_layers - 1):
        layers += [nn.Conv2d(c, 2 * c, 4, 2, 1), *_judged(2 * c)]
        c *= 2
    last = 4 * base_channels
    return nn.Sequential(*layers, nn.Conv2d(c, last, 3, 1, 1), *_judged(last), nn.Conv2d(last, 1, 3, 1, 1))


def _judged(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.InstanceNorm2d(channels, affine=True), nn.LeakyReLU(0.2, inplace=True)


def pooled(pool: dict[str, Tensor], name: str, fakes: Tensor, pool_size: int) -> Tensor:
    """Replaces a random half of the fakes by older ones from the pool (Shrivastava et al. 2017).

    pool: the stored images by name, (pool_size, ...); updated in place.
    """
    kept = pool.get(name, fakes[:0])
    if len(kept) < pool_size:
        pool[name] = torch.cat([kept, fakes])[:pool_size].clone()
        return fakes
    places = torch.randperm(pool_size, device=fakes.device)[: len(fakes)]
    old = torch.rand(len(fakes), device=fakes.device) < 0.5
    shown = torch.where(old[:, None, None, None], kept[places[: len(fakes)]], fakes)
    kept[places[old]] = fakes[old]
    return shown
