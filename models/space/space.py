"""What the vectors of a collection mean: how pictures become vectors, and vectors pictures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from models.diffusion.embedding import Kandinsky
from models.diffusion.pretrained import Pretrained
from models.generative.dcgan import Dcgan
from models.generative.vae import Vae

OnStep = Callable[[], None]


def _ignore() -> None:
    pass


class Space(Protocol):
    """Pictures (n, channels, h, w) in [0, 1], all of one size, to vectors (n, dim) and back.

    `seeds`, one for each vector, are for decoders that draw noise: the same vector and seed give the same picture.
    `on_step` is called after each step of a decoder that takes several, and may raise to stop.
    """

    @property
    def image_size(self) -> int:
        """The side of its pictures."""

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""

    @property
    def dim(self) -> int:
        """The length of a vector."""

    def encode(self, images: Tensor) -> Tensor:
        """Pictures to vectors."""

    def decode(self, vectors: Tensor, *, seeds: Sequence[int], on_step: OnStep = _ignore) -> Tensor:
        """Vectors to pictures."""


@dataclass(frozen=True)
class PixelSpace:
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

    def decode(self, vectors: Tensor, *, seeds: Sequence[int], on_step: OnStep = _ignore) -> Tensor:
        """Back in rows and columns, cut to [0, 1]."""
        return vectors.view(-1, self.channels, self.image_size, self.image_size).clamp(0, 1)


@dataclass(frozen=True)
class LatentSpace:
    """The latent codes of a VAE, or of a DCGAN with its encoder."""

    model: Vae | Dcgan
    image_size: int
    channels: int

    @property
    def dim(self) -> int:
        """The length of z."""
        return self.model.latent_dim

    def encode(self, images: Tensor) -> Tensor:
        """The mean of q(z|x), or the encoder's z."""
        return self.model.encode(images)

    def decode(self, vectors: Tensor, *, seeds: Sequence[int], on_step: OnStep = _ignore) -> Tensor:
        """The decoder's or generator's pictures.

        A DCGAN has hardly seen a z shorter than sqrt(dim) (White 2016, "Sampling generative networks"), and makes mud
        of means. Shorter ones than sqrt(dim / 2), about the length of its encoder's, are stretched to that.
        """
        if isinstance(self.model, Dcgan):
            vectors = vectors * ((self.dim / 2) ** 0.5 / vectors.norm(dim=1, keepdim=True).clamp(min=1e-6)).clamp(min=1)
        return self.model.decode(vectors)


class EmbeddingModel(Protocol):
    """What a CLIP-embedding space is made of: pictures (n, 3, h, h) in [0, 1] to image_embeds (n, dim) and back.

    One that reads texts also has `encode_texts(texts) -> image_embeds`.
    """

    @property
    def dim(self) -> int:
        """How many values an embedding has."""

    @property
    def image_size(self) -> int:
        """The side of the pictures it makes."""

    def encode_images(self, images: Tensor) -> Tensor:
        """Pictures of any size to image_embeds."""

    def decode(self, image_embeds: Tensor, *, seeds: Sequence[int], on_step: OnStep = ...) -> Tensor:
        """image_embeds to pictures."""


@dataclass(frozen=True)
class EmbeddingSpace:
    """The image embeddings of a CLIP, decoded by a diffusion model."""

    model: EmbeddingModel
    channels: int = 3

    @property
    def image_size(self) -> int:
        """Of the decoded pictures; those to encode are given at the same size."""
        return self.model.image_size

    @property
    def dim(self) -> int:
        """How many values an embedding has."""
        return self.model.dim

    def encode(self, images: Tensor) -> Tensor:
        """Not normalised: the decoder was trained on embeddings as they are."""
        return self.model.encode_images(images)

    def decode(self, vectors: Tensor, *, seeds: Sequence[int], on_step: OnStep = _ignore) -> Tensor:
        """A diffusion model's pictures of these embeddings."""
        return self.model.decode(vectors, seeds=seeds, on_step=on_step)


def space_of(model: nn.Module, architecture: Mapping[str, Any]) -> Space:
    """The space of a model that has an encoder and a decoder."""
    if isinstance(model, Vae | Dcgan):
        return LatentSpace(model, architecture["image_size"], architecture["channels"])
    assert isinstance(model, Kandinsky | Pretrained)
    return EmbeddingSpace(model)
