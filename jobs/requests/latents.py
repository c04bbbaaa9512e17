"""Generations by models without prompts, a class for each mode; arithmetic has a file of its own."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationInfo, field_validator

from jobs.requests.architectures import capabilities
from jobs.requests.base import MAX_SEED, ImageRef, Steps, check_attribute, distinct, whole
from jobs.requests.generation_base import GenerationRequest
from jobs.requests.upscale import UpscaledRequest

UNIQUE = {"uniqueItems": True}
MAX_SHARED = 16  # samples of a job that runs in a batch with others
Seed = Annotated[int, Field(ge=0, le=MAX_SEED), BeforeValidator(whole)]
Images = Annotated[list[ImageRef], Field(min_length=1, max_length=16, description="The images to start from.")]
Scheduler = Literal["ddpm", "ddim", "dpm-solver++"]
DeterministicScheduler = Literal["ddim", "dpm-solver++"]
DiffusionSteps = Annotated[Steps | None, Field(description="Of a diffusion model; 50 when absent.")]
AttributeNames = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=64)]],
    Field(max_length=16, json_schema_extra=UNIQUE),
]
AttributeGuidance = Annotated[
    float | None,
    Field(
        ge=0,
        le=30,
        description="How far a diffusion model that is conditioned on attributes exaggerates what they change; 1.25 "
        "when absent. At 1 it does not exaggerate, and takes half as long.",
    ),
]


class _Denoised(UpscaledRequest, GenerationRequest):
    """A mode that diffusion models can run; others refuse the fields of denoising."""

    guidance_scale: AttributeGuidance = None

    def fitted(self, architecture: Mapping[str, Any]) -> Self:
        """Fills in the schedule of a diffusion model; raises BadInput for fields that the model cannot use."""
        if capabilities(architecture).is_diffusion:
            if not architecture.get("attributes") and self.guidance_scale is not None:
                raise self.mismatch("guidance_scale", "is not conditioned on attributes and does not use it")
            guidance_scale = 1.25 if architecture.get("attributes") else None
            return self.with_defaults(num_inference_steps=50, scheduler="ddim", guidance_scale=guidance_scale)
        for field in ("num_inference_steps", "scheduler", "guidance_scale"):
            if getattr(self, field) is not None:
                raise self.mismatch(field, "is not a diffusion model and does not use it")
        return self


class Sample(_Denoised):
    """Samples, each from a seed of its own: image k of n is the one that its seed gives alone."""

    mode: Annotated[Literal["sample"], Field(description="What to make.")] = "sample"
    n: Annotated[
        int | None,
        Field(ge=1, le=64, description="How many; image k has the seed `seed` + k. 4 where no `seeds` are given."),
    ] = None
    seeds: Annotated[
        list[Seed] | None,
        Field(min_length=1, max_length=64, description="The seed of each image.", json_schema_extra=UNIQUE),
    ] = None
    num_inference_steps: DiffusionSteps = None
    scheduler: Annotated[Scheduler | None, Field(description="Of a diffusion model; `ddim` when absent.")] = None
    attributes: Annotated[
        AttributeNames | None,
        Field(
            description="What every image has, of the model's `architecture.attributes`; all others are as in its data."
        ),
    ] = None

    _each_once = field_validator("attributes")(distinct)

    model_config = ConfigDict(
        json_schema_extra={
            "not": {"required": ["n", "seeds"], "properties": {"n": {"type": "integer"}, "seeds": {"type": "array"}}}
        }
    )

    @field_validator("seeds")
    @classmethod
    def _instead_of_n(cls, seeds: list[int] | None, info: ValidationInfo) -> list[int] | None:
        if seeds and info.data.get("n"):
            raise ValueError("Give `n` or `seeds`, not both")
        return distinct(seeds)

    def fitted(self, architecture: Mapping[str, Any]) -> Self:
        """Fills in `n` and the schedule; raises BadInput for attributes that the model is not conditioned on."""
        known: Sequence[str] = architecture.get("attributes", ())
        if self.attributes and not known:
            raise self.mismatch("attributes", "is not conditioned on attributes")
        for name in self.attributes or ():
            check_attribute("attributes", name, known)
        filled = self if self.seeds else self.with_defaults(n=4)
        return _Denoised.fitted(filled, architecture)

    def compatibility(self) -> str:
        """The model, how it samples, and how its images are upscaled; "" for many samples, which are a batch alone."""
        if len(self.seeds or ()) > MAX_SHARED or (self.n or 0) > MAX_SHARED:
            return ""
        shared = ("mode", "model", "num_inference_steps", "scheduler", "guidance_scale", "upscale", "upscaler")
        return json.dumps([getattr(self, name) for name in shared])


class Reconstruction(UpscaledRequest, GenerationRequest):
    """Each image, encoded and decoded again."""

    mode: Literal["reconstruct"]
    images: Images

    def compatibility(self) -> str:
        """The model, and how its images are upscaled."""
        return json.dumps([self.mode, self.model, self.upscale, self.upscaler])


def _start_type(value: Any) -> str | None:
    """The tag, such as <seed>, of the sort of start that a value is meant to be."""
    if isinstance(value, str) and not value.startswith(("img_", "col_", "data:", "http")):
        return "<mean>" if value == "mean" else None
    if isinstance(value, str):
        return "<image>"
    return "<seed>" if isinstance(value, int | float) and not isinstance(value, bool) else None


End = Annotated[
    Annotated[ImageRef, Tag("<image>")] | Annotated[Seed, Tag("<seed>")],
    Discriminator(
        lambda value: "<image>" if isinstance(value, str) else _start_type(value),
        custom_error_type="end",
        custom_error_message="Input should be an image or an integer seed",
    ),
]
Start = Annotated[
    Annotated[Literal["mean"], Tag("<mean>")] | Annotated[ImageRef, Tag("<image>")] | Annotated[Seed, Tag("<seed>")],
    Discriminator(
        _start_type,
        custom_error_type="start",
        custom_error_message="Input should be 'mean', an image or an integer seed",
    ),
]


class Interpolation(_Denoised):
    """Along the great circle from each image to the next (Shoemake 1985, slerp)."""

    mode: Literal["interpolate"]
    between: Annotated[
        list[End], Field(min_length=2, max_length=8, description="Images or seeds; a diffusion model takes seeds.")
    ]
    steps: Annotated[int, Field(ge=2, le=32, description="Images of each segment, including its two ends.")] = 8
    num_inference_steps: DiffusionSteps = None
    scheduler: Annotated[
        DeterministicScheduler | None, Field(description="Of a diffusion model; `ddim` when absent.")
    ] = None

    def fitted(self, architecture: Mapping[str, Any]) -> Self:
        """Fills in the schedule of a diffusion model; raises BadInput for images where there is no encoder."""
        self.check_encoder(architecture)
        return super().fitted(architecture)


class Traversal(UpscaledRequest, GenerationRequest):
    """One latent dimension at a time from end to end, the others held; of two dimensions the whole manifold."""

    mode: Literal["traverse"]
    start: Annotated[Start, Field(description="What the dimensions not traversed are held at.")] = "mean"
    dimensions: Annotated[
        list[Annotated[int, Field(ge=0), BeforeValidator(whole)]] | None,
        Field(
            min_length=1,
            max_length=32,
            description="Counted from 0, each a row; the first eight when absent.",
            json_schema_extra=UNIQUE,
        ),
    ] = None
    steps: Annotated[int, Field(ge=3, le=21, description="Images of each dimension.")] = 9
    extent: Annotated[float, Field(ge=0.5, le=4, description="From minus to plus so many standard deviations.")] = 2.5

    _each_once = field_validator("dimensions")(distinct)

    def fitted(self, architecture: Mapping[str, Any]) -> Self:
        """Raises BadInput for dimensions that the model's z does not have, and for an image where no encoder is."""
        self.check_encoder(architecture)
        n: int = architecture["latent_dim"]
        for i, dimension in enumerate(self.dimensions or ()):
            if dimension >= n:
                has = f"has {n} dimensions, 0 to {n - 1}" if n > 1 else "has one dimension, 0"
                raise self.mismatch(f"dimensions.{i}", has)
        return self


class Translation(UpscaledRequest, GenerationRequest):
    """Images of one domain translated into the other (Zhu et al. 2017, CycleGAN)."""

    mode: Literal["translate"]
    images: Images
    direction: Annotated[
        Literal["a-to-b", "b-to-a"], Field(description="The model's `architecture.kinds` says what a and b are.")
    ] = "a-to-b"


class DenoisingSteps(_Denoised):
    """How one image is denoised: at each step the noisy input and the predicted x0."""

    mode: Literal["denoise-steps"]
    num_inference_steps: Steps = 50
    scheduler: Scheduler = "ddim"
    shown: Annotated[
        int, Field(ge=2, le=16, description="Steps to show, evenly spaced; all where there are fewer.")
    ] = 8


Denoised = Sample | Interpolation | DenoisingSteps
