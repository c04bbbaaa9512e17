"""What the vectors of a collection mean: how pictures become vectors, and vectors pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from models.generative.dcgan import Dcgan
from models.generative.vae import Vae


class Space(Protocol):
    """Pictures (n, channels, h, w) in [0, 1], all of one size, to vectors (n, dim) and back.

    `seeds`, one for each vector, are for decoders that draw noise: the same vector and seed give the same picture.
    """

    @property
    def dim(self) -> int:
        """The length of a vector."""

    def encode(self, images: Tensor) -> Tensor:
        """Pictures to vectors."""

    def decode(self, vectors: Tensor, *, seeds: Sequence[int]) -> Tensor:
        """Vectors to pictures."""


@dataclass(frozen=True)
class Pixels:
    """The pictures themselves: a vector is every value of every pixel, and PCA's inverse is what draws."""

    image_size: int
    channels: int

    @property
    def dim(self) -> int:
        """channels * image_size^2."""
        return self.channels * self.image_size**2

    def encode(self, images: Tensor) -> Tensor:
        """Flattened."""
        return images.flatten(1)

    def decode(self, vectors: Tensor, *, seeds: Sequence[int]) -> Tensor:
        """Back in rows and columns, cut to [0, 1]."""
        return vectors.view(-1, self.channels, self.image_size, self.image_size).clamp(0, 1)


@dataclass(frozen=True)
class Latents:
    """The latent codes of a VAE, or of a DCGAN with its encoder."""

    model: Vae | Dcgan

    @property
    def dim(self) -> int:
        """The length of z."""
        return self.model.latent_dim

    def encode(self, images: Tensor) -> Tensor:
        """The mean of q(z|x), or the encoder's z."""
        return self.model.encode(images)

    def decode(self, vectors: Tensor, *, seeds: Sequence[int]) -> Tensor:
        """The decoder's or generator's pictures."""
        return self.model.decode(vectors)


def space_of(model: nn.Module) -> Space:
    """The space of a model that has an encoder and a decoder."""
    assert isinstance(model, Vae | Dcgan)
    return Latents(model)
