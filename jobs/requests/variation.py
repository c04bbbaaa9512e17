"""Variations of an image: a mode of generations by models of image embeddings."""

from typing import Annotated, Literal

from pydantic import Field

from jobs.requests.base import ImageRef
from jobs.requests.generation_base import DefaultModelRequest
from jobs.requests.upscale import UpscaledRequest


class Variation(UpscaledRequest, DefaultModelRequest):
    """Images of the embedding of an image (Ramesh et al. 2022, section 3.1): what it leaves open differs."""

    mode: Literal["vary"] = "vary"
    image: Annotated[ImageRef, Field(description="The image to vary; its center square is encoded.")]
    n: Annotated[int, Field(ge=1, le=16, description="How many; variation k has the seed `seed` + k.")] = 4
    noise_level: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="Noise that is added to the embedding, relative to its size: how far variations are from the "
            "image; 0: they differ in what the embedding leaves open.",
        ),
    ] = 0.3

    @property
    def queue(self) -> str:
        """Its models denoise."""
        return "gpu"
