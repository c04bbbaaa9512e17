"""What a generation from a prompt adds to its model for one job: LoRAs, words, control and image prompts."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from jobs.errors import BadInput
from jobs.requests.base import STRICT, ImageRef, ModelId, whole
from jobs.requests.facts import Card

TITLES = {  # by task
    "lora": "a LoRA",
    "textual-inversion": "a textual inversion",
    "controlnet": "a ControlNet",
    "ip-adapter": "an IP-Adapter",
}


class Lora(BaseModel):
    """A low-rank change of a model's weights (Hu et al. 2022)."""

    model_config = STRICT
    model: Annotated[ModelId, Field(description="A LoRA of the model's own base; `GET /v1/models` lists them.")]
    scale: Annotated[float, Field(ge=-2, le=2, description="How much of the change; 1: all.")] = 1.0


class Control(BaseModel):
    """An image that the result follows: edges, depth or a pose (Zhang et al. 2023)."""

    model_config = STRICT
    model: Annotated[ModelId, Field(description="A ControlNet of the model's own base.")]
    image: Annotated[
        ImageRef,
        Field(
            description="What the ControlNet reads, such as edges, depth or a pose; with `preprocess`, any image. Its "
            "center is cut out in the shape of the result."
        ),
    ]
    preprocess: Annotated[
        Literal["canny"] | None, Field(description="`canny`: the edges of the image, in white on black.")
    ] = None
    low_threshold: Annotated[
        int | None, Field(ge=0, le=1000, description="Of `canny`: gradient from which an edge goes on; default 100.")
    ] = None
    high_threshold: Annotated[
        int | None, Field(ge=0, le=1000, description="Of `canny`: gradient from which an edge begins; default 200.")
    ] = None
    scale: Annotated[float, Field(ge=0, le=2, description="How much it counts; 0: not at all.")] = 1.0
    start: Annotated[float, Field(ge=0, le=1, description="Share of the steps from which it counts.")] = 0.0
    end: Annotated[float, Field(ge=0, le=1, description="Share of the steps to which it counts.")] = 1.0

    _whole = field_validator("low_threshold", "high_threshold", mode="before")(whole)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.preprocess is None and not (self.low_threshold is self.high_threshold is None):
            raise ValueError("`low_threshold` and `high_threshold` are for `preprocess`: canny")
        if self.thresholds[0] > self.thresholds[1]:
            raise ValueError("`low_threshold` must be at most `high_threshold`")
        if self.start >= self.end:
            raise ValueError("`start` must be below `end`")
        return self

    @property
    def thresholds(self) -> tuple[int, int]:
        """The low and the high threshold of canny."""
        low = 100 if self.low_threshold is None else self.low_threshold
        return low, max(200, low) if self.high_threshold is None else self.high_threshold


class ImagePrompt(BaseModel):
    """An image that the model attends to as to the words of a prompt (Ye et al. 2023)."""

    model_config = STRICT
    model: Annotated[ModelId, Field(description="An IP-Adapter of the model's own base.")]
    image: Annotated[ImageRef, Field(description="Its center square is used.")]
    scale: Annotated[float, Field(ge=0, le=1, description="How much it counts beside the prompt; 0: not at all.")] = 0.6


def check_addition(cards: Mapping[str, Card], model: Card, task: str, name: str, field: str) -> None:
    """Raises BadInput, naming the field, for an addition that is unknown, or of another base than the model's."""
    bases = {other: card["architecture"]["base"] for other, card in cards.items() if card["task"] == task}
    own = model["architecture"].get("base", model["id"])
    allowed = [other for other, base in bases.items() if base == own]
    if name not in allowed:
        base = bases.get(name)
        title = TITLES[task]
        what = f"{name!r} is {title} of {base}" if base else f"No {title.partition(' ')[2]} is called {name!r}"
        takes = f"{model['id']} takes those of {own}: {', '.join(allowed) or 'there are none'}"
        code = "model_mismatch" if base else "unknown_model"
        raise BadInput(code, f"{field}: {what}; {takes}.", field=field, model=model["id"], allowed=allowed)
