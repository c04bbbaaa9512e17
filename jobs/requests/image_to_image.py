"""Generations from a prompt that start from an image, and image-to-image."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from jobs.errors import BadInput
from jobs.requests.base import ImageRef, ImageSize
from jobs.requests.text_to_image import ConditionedRequest, PromptedRequest

Strength = Annotated[float, Field(ge=0.05, le=1, description="Share of the steps that change the image; 1: all.")]


class FromImage(PromptedRequest):
    """A generation that starts from an image, at the step where `strength` of the steps are left."""

    image: Annotated[ImageRef, Field(description="Its center is cut out in the shape of the result.")]
    strength: Strength

    @property
    def steps(self) -> int:
        """How many steps are taken of a resolved request."""
        return min(int(super().steps * self.strength), super().steps)

    def default_steps(self, steps: int) -> int:
        """The model's own number, or the least that leaves one step: a distilled model's own is often 1."""
        while int(steps * self.strength) < 1:
            steps += 1
        return steps

    def fitted(self, architecture: Mapping[str, Any]) -> Self:
        """As other generations from a prompt; raises BadInput where no step is left."""
        filled = super().fitted(architecture)
        if filled.steps < 1:
            left = f"leaves none of {filled.num_inference_steps} steps; use more steps or a larger strength"
            raise BadInput("too_few_steps", f"strength: {self.strength} {left}.", field="strength")
        if filled.scheduler == "pndm" and filled.steps < (filled.num_inference_steps or 0):
            raise self.mismatch("scheduler", "uses pndm for whole images, as it is one step behind in a part of them")
        return filled


class ImageToImage(FromImage, ConditionedRequest):
    """An image with noise added, denoised towards a text (Meng et al. 2022, "SDEdit")."""

    mode: Literal["image-to-image"] = "image-to-image"
    strength: Strength = 0.6


def check_mask(field: str, mask: ImageSize, image: ImageSize) -> None:
    """Raises BadInput for a mask that is not of the size of its image."""
    if mask != image:
        (width, height), (image_width, image_height) = mask, image
        message = f"{field}: The mask is {width} x {height}; it must have its image's size, {image_width} x "
        message = f"{message}{image_height}."
        raise BadInput("size_mismatch", message, field=field, allowed=f"{image_width} x {image_height}")
