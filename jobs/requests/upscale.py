"""Upscaling: a mode of generations, and two fields of the requests that make images."""

import json
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator

from jobs.errors import BadInput
from jobs.requests.base import MAX_PIXELS, ImageRef, ImageSize, ModelId, Request, made_pixels, unknown_model
from jobs.requests.facts import Facts
from jobs.requests.generation_base import GenerationRequest

UPSCALER = "realesr-animevideov3"
FACTOR = 4  # of every network
MAX_UPSCALED = MAX_PIXELS // FACTOR**2  # pixels of all images of a job before they are upscaled


class UpscaledRequest(Request):
    """A request whose images can be upscaled once they are made."""

    upscale: Annotated[
        int | None,
        Field(
            ge=1,
            le=FACTOR,
            description="How many times as large the finished images are made; 1: not at all. When absent, 4 for a "
            "model with an `upscaler` on its card, else 1. Grids and plots are not upscaled.",
        ),
    ] = None
    upscaler: Annotated[
        ModelId | None,
        Field(
            description="The model that upscales them; when absent, that on the card of the model that makes them, or "
            f"`{UPSCALER}`."
        ),
    ] = None

    @field_validator("upscaler")
    @classmethod
    def _with_upscale(cls, upscaler: str | None, info: ValidationInfo) -> str | None:
        if upscaler is not None and info.data.get("upscale") == 1:
            raise ValueError("It is for `upscale` above 1")
        return upscaler

    @property
    def scale_of_images(self) -> int:
        """How many times as large the images of a resolved request are made; 1 in records of earlier releases."""
        return self.upscale or 1

    def maker(self, facts: Facts) -> str | None:
        """The id of the model that makes the images of a resolved request, if one does."""
        return getattr(self, "model", None)

    def with_upscaler(self, facts: Facts) -> Self:
        """Fills in the scale and the model of a resolved request; raises BadInput for another model than there are.

        Raises BadInput also for images of too many pixels.
        """
        maker = self.maker(facts)
        if self.upscale == 1 or (maker, self.upscale, self.upscaler) == (None, None, None):
            return self.model_copy(update={"upscale": 1})  # which no worker needs to be up for
        cards = facts.cards()
        known = [name for name, card in cards.items() if card["task"] == "upscaling"]
        own = cards.get(maker or "", {}).get("upscaler")
        own = own if own in known else None
        scale = self.upscale or (FACTOR if own or self.upscaler else 1)
        if scale == 1:
            return self.model_copy(update={"upscale": scale})
        upscaler = self.upscaler or own or UPSCALER
        if upscaler not in known:
            raise unknown_model("upscaler", f"No model that upscales is called {upscaler!r}", known)
        check_pixels("upscale", made_pixels(self))
        return self.model_copy(update={"upscale": scale, "upscaler": upscaler})


class Upscaling(GenerationRequest):
    """Images made larger, with lines and edges as sharp as before (Wang et al. 2021, "Real-ESRGAN")."""

    mode: Literal["upscale"]
    model: Annotated[ModelId, Field(description="A model of the task `upscaling`.")] = UPSCALER
    images: Annotated[list[ImageRef], Field(min_length=1, max_length=16, description="The images, of any size.")]
    scale: Annotated[
        int, Field(ge=2, le=FACTOR, description="How many times as large; below 4, the result at 4 is made smaller.")
    ] = FACTOR

    @property
    def queue(self) -> str:
        """Its networks are for a GPU where there is one."""
        return "gpu"

    def compatibility(self) -> str:
        """The model and the scale."""
        return json.dumps([self.mode, self.model, self.scale])

    def check_sizes(self, sizes: Mapping[str, ImageSize]) -> None:
        """Raises BadInput for images of too many pixels together."""
        check_pixels("images", _area(sizes))

    def made_pixels(self, sizes: Mapping[str, ImageSize]) -> int:
        """Pixels of all images that it makes of images of these sizes."""
        return self.scale**2 * _area(sizes)


def _area(sizes: Mapping[str, ImageSize]) -> int:
    return sum(width * height for width, height in sizes.values())


def check_pixels(field: str, n: int) -> None:
    """Raises BadInput for more pixels than can be upscaled, all images of the job together."""
    if n > MAX_UPSCALED:
        message = f"{field}: All images together have {n:,} pixels; at most {MAX_UPSCALED:,} can be upscaled."
        raise BadInput("too_many_pixels", message, field=field, allowed=MAX_UPSCALED)
