"""The parameters of pictures made from a text, and what depends on the model."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator

from jobs.errors import BadInput
from jobs.schemas import STRICT, ImageRef, ModelId, ModelRequest, Steps

MODES = ("text-to-image", "image-to-image", "inpaint")
SCHEDULERS = ("ddim", "euler", "dpm-solver++", "unipc", "lcm")
MOST_SIDES = 4  # times the side a model was trained at: beyond it pictures repeat themselves, and memory ends

NOT_BLANK = r"\S"
Prompt = Annotated[str, Field(min_length=1, max_length=2000, pattern=NOT_BLANK)]
Side = Annotated[int, Field(ge=32, le=2048, multiple_of=8)]
Strength = Annotated[float, Field(ge=0.05, le=1, description="Share of the steps that change the picture; 1: all.")]


class Lora(BaseModel):
    """A small change of a model's weights (Hu et al. 2022)."""

    model_config = STRICT
    model: Annotated[ModelId, Field(description="A LoRA of the model's own base; `GET /v1/models` lists them.")]
    scale: Annotated[float, Field(ge=-2, le=2, description="How much of the change; 1: all.")] = 1.0


class _Prompted(ModelRequest):
    prompt: Annotated[Prompt, Field(description="What to show; `(words)1.3` count for more where CLIP reads them.")]
    negative_prompt: Annotated[
        str | None, Field(max_length=2000, description="What guidance leads away from; blank is as good as absent.")
    ] = None
    num_images_per_prompt: Annotated[int, Field(ge=1, le=16, description="Picture k has the seed `seed` + k.")] = 1
    width: Annotated[Side | None, Field(description="A multiple of 8; the model's own when absent.")] = None
    height: Annotated[Side | None, Field(description="A multiple of 8; the model's own when absent.")] = None
    num_inference_steps: Annotated[Steps | None, Field(description="The model's own number when absent.")] = None
    guidance_scale: Annotated[
        float | None,
        Field(
            ge=0, le=30, description="How far to exaggerate what the prompt changes; none up to 1. Absent: the model's."
        ),
    ] = None
    scheduler: Annotated[
        Literal["ddim", "euler", "dpm-solver++", "unipc", "lcm"] | None,
        Field(description="How noise is taken away; the model's own way when absent."),
    ] = None
    loras: Annotated[list[Lora], Field(max_length=4, description="Put on the model for this job; each once.")] = []

    @field_validator("negative_prompt")
    @classmethod
    def _blank_is_none(cls, prompt: str | None) -> str | None:
        return prompt if prompt and prompt.strip() else None

    @field_validator("loras")
    @classmethod
    def _each_once(cls, loras: list[Lora]) -> list[Lora]:
        if len({lora.model for lora in loras}) < len(loras):
            raise ValueError("Each may be named once")
        return loras


class TextToImage(_Prompted):
    """Pictures of a text (Rombach et al. 2022)."""

    mode: Literal["text-to-image"]


class ImageToImage(_Prompted):
    """A picture made noisy and denoised to a text (Meng et al. 2022, "SDEdit")."""

    mode: Literal["image-to-image"]
    image: Annotated[ImageRef, Field(description="Its middle is cut out in the shape of the result.")]
    strength: Strength = 0.6


class Inpainting(_Prompted):
    """A part of a picture made anew; the rest stays as it is."""

    mode: Literal["inpaint"]
    image: Annotated[ImageRef, Field(description="Its middle is cut out in the shape of the result.")]
    mask: Annotated[
        ImageRef,
        Field(
            description="As large as the image: white where it is made anew, black where it stays; or an image with a "
            "transparent hole there; or a brush on a transparent layer."
        ),
    ]
    mask_feather: Annotated[
        int,
        Field(
            ge=0, le=64, description="Pixels of the result over which the mask's edge goes over, inside it; 0: none."
        ),
    ] = 4
    strength: Strength = 1.0


Prompted = TextToImage | ImageToImage | Inpainting


def fitted_prompted(params: Prompted, architecture: Mapping[str, Any]) -> Prompted:
    """The parameters with the model's own values where they have none.

    architecture: of its card. Raises BadInput, naming the field, for what this model cannot use.
    """
    own, guided = architecture["image_size"], architecture.get("guided", True)
    schedulers = architecture.get("schedulers", list(SCHEDULERS))
    if params.scheduler and params.scheduler not in schedulers:
        has = f"works with {', '.join(schedulers)}" if schedulers else "has a way of its own to take noise away"
        raise _mismatch(params, "scheduler", has)
    if not guided and params.negative_prompt:
        raise _mismatch(params, "negative_prompt", "works without guidance and does not use it")
    if not guided and (params.guidance_scale or 0) > 1:
        raise _mismatch(params, "guidance_scale", "works without guidance: 0 to 1 are allowed, and mean none")
    for field in ("width", "height"):
        if (getattr(params, field) or 0) > MOST_SIDES * own:
            raise _mismatch(params, field, f"makes pictures of at most {MOST_SIDES * own} pixels a side")
    given = params.model_dump()
    own_steps = architecture.get("num_inference_steps", 25)
    defaults = {
        "width": own,
        "height": own,
        "num_inference_steps": own_steps if isinstance(params, TextToImage) else _enough(own_steps, params.strength),
        "guidance_scale": architecture.get("guidance_scale", 4.0) if guided else 0.0,
        "scheduler": next(iter(schedulers), None),
    }
    unused = {} if guided else {"guidance_scale": 0.0}
    absent = {name: value for name, value in defaults.items() if given[name] is None}
    params = params.model_copy(update=absent | unused)
    if steps_of(params) < 1:
        needed = f"leaves none of {params.num_inference_steps} steps; more steps or a larger strength are needed"
        raise BadInput("too_few_steps", f"strength: {given['strength']} {needed}.", field="strength")
    return params


def _enough(steps: int, strength: float) -> int:
    """So many steps, or the fewest of which `strength` leaves one: a distilled model's own number is often 1."""
    while int(steps * strength) < 1:
        steps += 1
    return steps


def steps_of(params: Prompted) -> int:
    """How many steps are taken: a picture to start from comes in where `strength` of them are left."""
    steps = params.num_inference_steps or 0
    return steps if isinstance(params, TextToImage) else min(int(steps * params.strength), steps)


def compat_of(params: Mapping[str, Any]) -> str:
    """What resolved parameters must have in common to run in one batch; "" where they run alone."""
    if params.get("mode") not in MODES:
        return ""
    shared = ("mode", "model", "width", "height", "num_inference_steps", "guidance_scale", "scheduler", "strength")
    return json.dumps([*(params.get(name) for name in shared), params.get("loras") or []])


def _mismatch(params: Prompted, field: str, what: str) -> BadInput:
    return BadInput("model_mismatch", f"{field}: Model {params.model} {what}.", field=field, model=params.model)
