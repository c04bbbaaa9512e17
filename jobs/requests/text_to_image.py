"""Generations from a prompt: what they share, and text-to-image."""

import json
import re
from collections.abc import Mapping
from math import ceil
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, field_validator

from cards.schedulers import ETA_SCHEDULERS, SCHEDULERS, Scheduler, canonical
from cards.tokens import word
from jobs.errors import BadInput
from jobs.requests.additions import Control, ImagePrompt, Lora, check_addition
from jobs.requests.base import ImageSize, ModelId, Steps, Uses, distinct, filled, unknown_model
from jobs.requests.facts import Card, Facts
from jobs.requests.generation_base import DefaultModelRequest, GenerationRequest
from jobs.requests.upscale import UPSCALER, UpscaledRequest

MAX_CLIP_SKIP = 10  # CLIP ViT-L, the smallest encoder of the published models, has 12 layers
HIRES_STRENGTH = 0.5
SMALL_STRENGTH, SMALL = 0.06, 256  # pixels: with more, models of smaller images repeat what they show
MAX_SIDES = 4  # times the side a model was trained at: larger images repeat themselves, and memory ends

NOT_BLANK = r"\S"
LORA_TAG = re.compile(r"\s*<lora:([\w.-]+)(?::([+-]?\d*\.?\d+))?>")  # as in AUTOMATIC1111's web UI
Prompt = Annotated[str, Field(min_length=1, max_length=2000, pattern=NOT_BLANK)]
Side = Annotated[int, Field(ge=32, le=2048, multiple_of=8)]


class PromptedRequest(UpscaledRequest, DefaultModelRequest):
    """The fields of every generation from a prompt."""

    prompt: Annotated[
        Prompt,
        Field(
            description="What to show; `(words)1.3` or `(words:1.3)` count for more where CLIP reads them, and "
            "`<lora:ink:0.8>` is the same as an entry of `loras`."
        ),
    ]
    negative_prompt: Annotated[
        str | None, Field(max_length=2000, description="What guidance leads away from; blank is the same as absent.")
    ] = None
    num_images_per_prompt: Annotated[int, Field(ge=1, le=16, description="Image k has the seed `seed` + k.")] = 1
    width: Annotated[Side | None, Field(description="A multiple of 8; the model's own when absent.")] = None
    height: Annotated[Side | None, Field(description="A multiple of 8; the model's own when absent.")] = None
    num_inference_steps: Annotated[Steps | None, Field(description="The model's own number when absent.")] = None
    guidance_scale: Annotated[
        float | None,
        Field(
            ge=0,
            le=30,
            description="How far to exaggerate what the prompt changes; 0 to 1: not at all. The model's own when "
            "absent.",
        ),
    ] = None
    scheduler: Annotated[
        Scheduler | None,
        Field(
            description="How noise is removed; the model's own way when absent. The names of web UIs and diffusers, in "
            "any case, are read too: `Euler a`, `DPM++ 2M Karras`, `dpmpp_2m_karras`."
        ),
    ] = None
    eta: Annotated[
        float | None,
        Field(
            ge=0,
            le=1,
            description="Share of DDPM's noise that each step adds; 0, the default, adds none. Only of the schedulers "
            "`ddim` and `tcd`.",
        ),
    ] = None
    clip_skip: Annotated[
        int | None,
        Field(
            ge=0,
            le=MAX_CLIP_SKIP,
            description="How many of CLIP's last layers are left out when prompts are encoded, as diffusers counts: 0, "
            "the default, leaves out none. AUTOMATIC1111's web UI counts one more, so its 2 is 1 here. Only of models "
            "whose text encoders are CLIP.",
        ),
    ] = None
    loras: Annotated[list[Lora], Field(max_length=4, description="Added to the model for this job; each once.")] = []

    @field_validator("negative_prompt")
    @classmethod
    def _blank_is_none(cls, prompt: str | None) -> str | None:
        return prompt if prompt and prompt.strip() else None

    textual_inversions: Annotated[
        list[ModelId],
        AfterValidator(distinct),
        Field(
            max_length=8,
            description="Textual inversions of the model's own base; a prompt names each by the `token` on its card.",
        ),
    ] = []

    @field_validator("loras")
    @classmethod
    def _each_once(cls, loras: list[Lora]) -> list[Lora]:
        if len({lora.model for lora in loras}) < len(loras):
            raise ValueError("Each may be named once")
        return loras

    @property
    def size(self) -> ImageSize:
        """The width and the height of a resolved request's images."""
        return filled(self.width), filled(self.height)

    @property
    def steps(self) -> int:
        """How many steps are taken of a resolved request."""
        return filled(self.num_inference_steps)

    def uses(self) -> Uses:
        """The model and what is added to it."""
        return Uses(models=(filled(self.model), *(lora.model for lora in self.loras), *self.textual_inversions))

    def compatibility(self) -> str:
        """Everything but prompts, images and seeds."""
        size_and_steps = ("mode", "model", "width", "height", "num_inference_steps", "strength")
        shared = (*size_and_steps, "guidance_scale", "scheduler", "eta", "clip_skip", "upscale", "upscaler")
        loras = [lora.model_dump(mode="json") for lora in self.loras]
        return json.dumps([*(getattr(self, name, None) for name in shared), loras, self.textual_inversions])

    def resolved(self, facts: Facts) -> GenerationRequest:
        """Fills in the model's own values; raises BadInput for a model, a LoRA or the like that cannot be used."""
        cards, named = facts.cards(), self.named(facts)
        model = named.card(cards)
        untagged = named._untagged()
        untagged._check_additions(cards, model, given=len(self.loras))
        if untagged.width or untagged.height:
            untagged = untagged.with_defaults(upscale=1)
        return untagged.fitted(model["architecture"])

    def _untagged(self) -> Self:
        """Moves the LoRAs that the prompt names as <lora:ink:0.8> to `loras`; raises BadInput where they do not fit."""
        tags = [{"model": name, "scale": float(scale or 1)} for name, scale in LORA_TAG.findall(self.prompt)]
        if not tags:
            return self
        asked = self.model_dump(mode="json", exclude_unset=True)
        asked |= {"prompt": LORA_TAG.sub("", self.prompt).strip(), "loras": [*asked.get("loras", []), *tags]}
        try:
            return type(self).model_validate(asked)
        except ValidationError as error:
            first = error.errors()[0]
            where, allowed = ".".join(map(str, first["loc"])), "up to four LoRAs, each once, of scale -2 to 2"
            message = f"prompt: With its <lora:…> as entries of loras, {where}: {first['msg']}; {allowed} may be named."
            raise BadInput("invalid_request", message, field="prompt") from error

    def fitted(self, architecture: Mapping[str, Any]) -> Self:
        """Fills in the model's own values; raises BadInput, naming the field, for what the model cannot use."""
        side, guided = architecture["image_size"], architecture.get("guided", True)
        schedulers = [canonical(name) for name in architecture.get("schedulers", SCHEDULERS)]
        self._check_model(side, guided, schedulers)
        self._check_clip_skip(architecture)
        filled = self.with_defaults(
            width=side,
            height=side,
            num_inference_steps=self.default_steps(architecture.get("num_inference_steps", 25)),
            guidance_scale=architecture.get("guidance_scale", 4.0) if guided else 0.0,
            scheduler=canonical(architecture.get("scheduler") or next(iter(schedulers), None)),
        )
        if filled.eta is not None and filled.scheduler not in ETA_SCHEDULERS:
            raise self.mismatch("eta", f"uses it with {' and '.join(ETA_SCHEDULERS)}, not with {filled.scheduler}")
        return filled if guided else filled.model_copy(update={"guidance_scale": 0.0})

    def default_steps(self, steps: int) -> int:
        """The number of steps where none is given; `steps` is the model's own."""
        return steps

    def _check_model(self, side: int, guided: bool, schedulers: list[str]) -> None:
        if self.scheduler and self.scheduler not in schedulers:
            works = f"works with {', '.join(schedulers)}" if schedulers else "has its own way to remove noise"
            raise self.mismatch("scheduler", works)
        if not guided and self.negative_prompt:
            raise self.mismatch("negative_prompt", "works without guidance and does not use it")
        if not guided and (self.guidance_scale or 0) > 1:
            raise self.mismatch("guidance_scale", "works without guidance: 0 to 1 are allowed, and mean none")
        for field in ("width", "height"):
            if (getattr(self, field) or 0) > MAX_SIDES * side:
                raise self.mismatch(field, f"makes images of at most {MAX_SIDES * side} pixels a side")

    def _check_clip_skip(self, architecture: Mapping[str, Any]) -> None:
        """Raises BadInput for more layers than a text encoder has, or for one that is not CLIP."""
        layers = architecture["text"]["text_layers"] if "text" in architecture else MAX_CLIP_SKIP + 1
        if self.clip_skip and not architecture.get("clip", True):
            raise self.mismatch("clip_skip", "has a text encoder that is not CLIP, and reads all its layers")
        if (self.clip_skip or 0) >= layers:
            raise self.mismatch("clip_skip", f"has a text encoder of {layers} layers: 0 to {layers - 1} are allowed")

    def _check_additions(self, cards: Mapping[str, Card], model: Card, given: int) -> None:
        """Raises BadInput for a LoRA or a textual inversion that the model cannot use, or whose token is not written.

        given: how many LoRAs were in `loras`; the others were named in the prompt.
        """
        for i, lora in enumerate(self.loras):
            check_addition(cards, model, "lora", lora.model, f"loras.{i}.model" if i < given else "prompt")
        tokens: dict[str, str] = {}
        for i, name in enumerate(self.textual_inversions):
            field = f"textual_inversions.{i}"
            check_addition(cards, model, "textual-inversion", name, field)
            token = cards[name]["architecture"]["token"]
            if not word(token).search(f"{self.prompt}\n{self.negative_prompt or ''}"):
                message = f"{field}: Neither prompt nor negative_prompt has the token of {name}, which is {token}."
                raise BadInput("invalid_request", message, field=field, allowed=token)
            if other := tokens.get(token.lower()):
                message = f"{field}: {name} has the token of {other}, {token}: use one of the two."
                raise BadInput("invalid_request", message, field=field)
            tokens[token.lower()] = name


class ConditionedRequest(PromptedRequest):
    """The fields of generations of whole images from a prompt."""

    control: Annotated[Control | None, Field(description="An image that the result follows, by a ControlNet.")] = None
    image_prompt: Annotated[
        ImagePrompt | None, Field(description="An image that counts as the prompt does, by an IP-Adapter.")
    ] = None

    def uses(self) -> Uses:
        """As other generations from a prompt, and the ControlNet and the IP-Adapter."""
        more = (each.model for each in (self.control, self.image_prompt) if each)
        return Uses(models=(*super().uses().models, *more))

    def compatibility(self) -> str:
        """As other generations from a prompt; images may differ under control, and not as prompts."""
        control = self.control and self.control.model_dump(mode="json", include={"model", "scale", "start", "end"})
        image_prompt = self.image_prompt and self.image_prompt.model_dump(mode="json")
        return json.dumps([super().compatibility(), control, image_prompt])

    def _check_additions(self, cards: Mapping[str, Card], model: Card, given: int) -> None:
        super()._check_additions(cards, model, given)
        if self.control:
            check_addition(cards, model, "controlnet", self.control.model, "control.model")
        if self.image_prompt:
            check_addition(cards, model, "ip-adapter", self.image_prompt.model, "image_prompt.model")


class TextToImage(ConditionedRequest):
    """Images of a text (Rombach et al. 2022)."""

    mode: Literal["text-to-image"] = "text-to-image"
    hires_strength: Annotated[
        float | None,
        Field(
            ge=0.05,
            le=1,
            description="Of a size above the model's own: an image of its own size is generated and upscaled, and this "
            "share of the steps then changes it; 1: the result is generated at once, where models repeat what they "
            f"show. When absent, for twice the model's own area and more, {HIRES_STRENGTH}, or {SMALL_STRENGTH} by a "
            f"model of less than {SMALL} px; else 1.",
        ),
    ] = None
    hires_upscaler: Annotated[
        ModelId | None, Field(description="The model that upscales in between; when absent, as `upscaler`.")
    ] = None

    @property
    def is_hires(self) -> bool:
        """Whether a resolved request is generated in two sizes; not in records of earlier releases."""
        return (self.hires_strength or 1) < 1

    @property
    def second_steps(self) -> int:
        """How many steps change the upscaled image."""
        return int(super().steps * (self.hires_strength or 1)) if self.is_hires else 0

    @property
    def steps(self) -> int:
        """How many steps are taken of a resolved request, in both sizes."""
        return super().steps + self.second_steps

    def first_size(self, side: int) -> ImageSize:
        """The size of the first image: as large as the model's own, `side` squared, in the shape of the result."""
        shrink = side / (self.size[0] * self.size[1]) ** 0.5
        width, height = (max(32, 8 * round(shrink * length / 8)) for length in self.size)
        return width, height

    def uses(self) -> Uses:
        """As other generations from a prompt, and the model that upscales in between."""
        return Uses(models=(*super().uses().models, *([self.hires_upscaler] if self.hires_upscaler else [])))

    def compatibility(self) -> str:
        """As other generations from a prompt, and both sizes."""
        return json.dumps([super().compatibility(), self.hires_strength, self.hires_upscaler])

    def resolved(self, facts: Facts) -> GenerationRequest:
        """As other generations from a prompt; fills in the model that upscales in between."""
        made = super().resolved(facts)
        if not isinstance(made, TextToImage) or not made.is_hires:
            return made
        cards = facts.cards()
        known = [name for name, card in cards.items() if card["task"] == "upscaling"]
        if made.hires_upscaler and made.hires_upscaler not in known:
            raise unknown_model("hires_upscaler", f"No model that upscales is called {made.hires_upscaler!r}", known)
        likely = [name for name in (cards[filled(made.model)].get("upscaler"), UPSCALER) if name in known]
        return made.with_defaults(hires_upscaler=next(iter(likely), None))

    def fitted(self, architecture: Mapping[str, Any]) -> Self:
        """As other generations from a prompt; raises BadInput for a first size where there is one only."""
        fitted, own = super().fitted(architecture), architecture["image_size"] ** 2
        area = fitted.size[0] * fitted.size[1]
        for field in ("hires_strength", "hires_upscaler"):
            if getattr(fitted, field) is not None and getattr(fitted, field) != 1 and area <= own:
                raise self.mismatch(field, f"uses it for more pixels than its own {own:,}; the result has {area:,}")
        whole_only = fitted.scheduler == "pndm"
        if whole_only and (fitted.hires_strength or 1) < 1:
            raise self.mismatch("scheduler", "uses pndm for whole images, as it is one step behind in a part of them")
        strength = HIRES_STRENGTH if architecture["image_size"] >= SMALL else SMALL_STRENGTH
        strength = max(strength, ceil(100 / filled(fitted.num_inference_steps)) / 100)  # leaves one step at least
        made = fitted.with_defaults(hires_strength=strength if area >= 2 * own and not whole_only else 1.0)
        if made.is_hires and not made.second_steps:
            left = f"leaves none of {made.num_inference_steps} steps; use more steps or a larger one"
            raise BadInput("too_few_steps", f"hires_strength: {made.hires_strength} {left}.", field="hires_strength")
        if made.hires_upscaler and not made.is_hires:
            raise self.mismatch("hires_upscaler", "makes images of this size at once, by `hires_strength`")
        return made
