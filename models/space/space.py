"""Spaces: what the vectors of a collection mean, with an encoder from images and a decoder to images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from models.diffusion.embedding import Kandinsky
from models.diffusion.pretrained import Pretrained
from models.errors import ArchitectureError
from models.generative.base import LatentAutoencoder
from models.generative.dcgan import Dcgan

OnStep = Callable[[], None]


def _ignore() -> None:
    pass


class EncodingSpace(Protocol):
    """Encodes images (n, channels, h, w) in [0, 1], all of one size, as vectors (n, dim)."""

    @property
    def image_size(self) -> int:
        """Side of the images in pixels."""

    @property
    def channels(self) -> int:
        """1 for gray, 3 for color."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    def encode(self, images: Tensor) -> Tensor:
        """Encodes images (n, channels, h, w) as vectors (n, dim)."""


@runtime_checkable
class Space(EncodingSpace, Protocol):
    """A space that decodes vectors too.

    seeds: one for each vector, for decoders that draw noise; the same vector and seed give the same image. `on_step` is
    called after each step of an iterative decoder and may raise to stop.
    """

    def decode(self, vectors: Tensor, *, seeds: Sequence[int], on_step: OnStep = _ignore) -> Tensor:
        """Decodes vectors (n, dim) to images (n, channels, h, w)."""


@dataclass(frozen=True)
class PixelSpace:
    """The space of pixel values: a vector is a flattened image."""

    image_size: int
    channels: int

    @property
    def dim(self) -> int:
        """channels * image_size^2."""
        return self.channels * self.image_size**2

    def encode(self, images: Tensor) -> Tensor:
        """Flattens images (n, channels, h, w) to vectors (n, dim)."""
        return images.flatten(1)

    def decode(self, vectors: Tensor, *, seeds: Sequence[int], on_step: OnStep = _ignore) -> Tensor:
        """Reshapes vectors to images, clipped to [0, 1]."""
        return vectors.view(-1, self.channels, self.image_size, self.image_size).clamp(0, 1)


@dataclass(frozen=True)
class LatentSpace:
    """The latent space of a model with an encoder, such as a VAE or a DCGAN."""

    model: LatentAutoencoder
    image_size: int
    channels: int

    @property
    def dim(self) -> int:
        """Length of z."""
        return self.model.latent_dim

    def encode(self, images: Tensor) -> Tensor:
        """Returns the mean of q(z|x) of a VAE, or the z of a DCGAN's encoder."""
        return self.model.encode(images)

    def decode(self, vectors: Tensor, *, seeds: Sequence[int], on_step: OnStep = _ignore) -> Tensor:
        """Decodes z by the decoder or the generator.

        A DCGAN is trained on z of length about sqrt(dim) (White 2016, "Sampling generative networks") and decodes
        averaged codes poorly. Codes shorter than sqrt(dim / 2), about the length of its encoder's, are scaled to that.
        """
        if isinstance(self.model, Dcgan):
            vectors = vectors * ((self.dim / 2) ** 0.5 / vectors.norm(dim=1, keepdim=True).clamp(min=1e-6)).clamp(min=1)
        return self.model.decode(vectors)


class ImageEncoder(Protocol):
    """A model that encodes images (n, 3, h, h) in [0, 1] as vectors (n, dim)."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    @property
    def image_size(self) -> int:
        """Side in pixels of images to encode, and of those that it decodes."""

    def encode_images(self, images: Tensor) -> Tensor:
        """Encodes images as vectors."""


class EmbeddingModel(ImageEncoder, Protocol):
    """A model with image embeddings, of images of any size, that decodes these.

    `encode_texts` needs a text prior, or a CLIP whose texts and images share a space.
    """

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Encodes texts as image_embeds."""

    def decode(self, image_embeds: Tensor, *, seeds: Sequence[int], on_step: OnStep = ...) -> Tensor:
        """Decodes image_embeds to images."""


@dataclass(frozen=True)
class EncoderSpace:
    """The space of what a model encodes images as."""

    model: ImageEncoder
    channels: int = 3

    @property
    def image_size(self) -> int:
        """Side in pixels of images to encode, and of decoded ones."""
        return self.model.image_size

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.model.dim

    def encode(self, images: Tensor) -> Tensor:
        """Encodes images by the model, whose vectors are not normalized."""
        return self.model.encode_images(images)


@dataclass(frozen=True)
class EmbeddingSpace(EncoderSpace):
    """The space of a CLIP's image embeddings, decoded by a diffusion model, which was trained on them unnormalized."""

    model: EmbeddingModel

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Encodes texts as embeddings (n, dim); raises TextTooLongError."""
        return self.model.encode_texts(texts)

    def decode(self, vectors: Tensor, *, seeds: Sequence[int], on_step: OnStep = _ignore) -> Tensor:
        """Decodes embeddings by diffusion."""
        return self.model.decode(vectors, seeds=seeds, on_step=on_step)


@runtime_checkable
class TextSpace(EncodingSpace, Protocol):
    """A space that also encodes texts."""

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Encodes texts as vectors (n, dim)."""


def decoding_space(space: EncodingSpace | None) -> Space:
    """The same space, typed; raises ArchitectureError for one that does not decode vectors."""
    if not isinstance(space, Space):
        raise ArchitectureError(f"a {type(space).__name__} does not decode vectors")
    return space


def text_space(space: EncodingSpace | None) -> TextSpace:
    """The same space, typed; raises ArchitectureError for one that does not encode texts."""
    if not isinstance(space, TextSpace):
        raise ArchitectureError(f"a {type(space).__name__} does not encode texts")
    return space


def space_of(model: nn.Module, architecture: Mapping[str, Any]) -> Space:
    """Returns the space of a model that has an encoder and a decoder; raises ArchitectureError for others."""
    if isinstance(model, LatentAutoencoder):
        return LatentSpace(model, architecture["image_size"], architecture["channels"])
    if isinstance(model, Kandinsky | Pretrained):
        return EmbeddingSpace(model)
    raise ArchitectureError(f"a {type(model).__name__} does not encode images into a space that it decodes")
