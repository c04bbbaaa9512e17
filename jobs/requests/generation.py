"""The parameters of a generation, one model per mode, and what each architecture can do."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from jobs.errors import BadInput
from jobs.requests.text_to_image import MODES as TEXT_MODES
from jobs.requests.text_to_image import ImageToImage, Inpainting, TextToImage, fitted_prompted
from jobs.schemas import MAX_SEED, STRICT, ImageRef, ModelId, ModelRequest, Steps, chosen_by, whole

KIND = "generation"
_LATENT = ("sample", "reconstruct", "interpolate", "traverse", "arithmetic")
MODES: dict[str, tuple[str, ...]] = {  # by the name of a model's architecture
    "mlp-vae": _LATENT,
    "conv-vae": _LATENT,
    "mlp-gan": ("sample", "interpolate", "traverse", "arithmetic"),
    "dcgan": _LATENT,
    "ddpm": ("sample", "interpolate", "denoise-steps"),
    "cyclegan": ("translate",),
    "stable-diffusion": TEXT_MODES,
    "diffusers": TEXT_MODES,
}
ALL_MODES = (*_LATENT, "translate", "denoise-steps", *TEXT_MODES)
Questions = Sequence[Sequence[str]]  # each question's possible answers

_DISTINCT = {"uniqueItems": True}
Seed = Annotated[int, Field(ge=0, le=MAX_SEED), BeforeValidator(whole)]
Images = Annotated[list[ImageRef], Field(min_length=1, max_length=16, description="The pictures to start from.")]
Scheduler = Literal["ddpm", "ddim", "dpm-solver++"]
DeterministicScheduler = Literal["ddim", "dpm-solver++"]
AttributeNames = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=64)]],
    Field(max_length=16, json_schema_extra=_DISTINCT),
]
GuidanceScale = Annotated[
    float | None,
    Field(
        ge=0,
        le=30,
        description="How far a diffusion model that is told attributes exaggerates what they change, 1.25 when absent; "
        "at 1 it does not, and takes half as long.",
    ),
]
Item = TypeVar("Item")


def _distinct(items: list[Item] | None) -> list[Item] | None:
    if items and len(set(items)) < len(items):
        raise ValueError("Each may be named once")
    return items


class Sample(ModelRequest):
    """New pictures, each from a seed of its own: picture k of n is the one its seed gives alone."""

    mode: Annotated[Literal["sample"], Field(description="What to make.")] = "sample"
    n: Annotated[
        int | None,
        Field(ge=1, le=64, description="How many; picture k has the seed `seed` + k. 4 where no `seeds` are given."),
    ] = None
    seeds: Annotated[
        list[Seed] | None,
        Field(min_length=1, max_length=64, description="The seed of each picture.", json_schema_extra=_DISTINCT),
    ] = None
    num_inference_steps: Annotated[Steps | None, Field(description="Of a diffusion model, 50 when absent.")] = None
    scheduler: Annotated[Scheduler | None, Field(description="Of a diffusion model, `ddim` when absent.")] = None
    guidance_scale: GuidanceScale = None
    attributes: Annotated[
        AttributeNames | None,
        Field(
            description="What every picture has, of the model's `architecture.attributes`; all else is as in its data."
        ),
    ] = None

    _each_once = field_validator("attributes")(_distinct)

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
        return _distinct(seeds)


class Reconstruction(ModelRequest):
    """Each picture through the model's encoder and back."""

    mode: Literal["reconstruct"]
    images: Images


def _place(value: Any) -> str | None:
    """Which sort of place in latent space this is meant to be; its tag looks like <seed>."""
    if isinstance(value, str) and not value.startswith(("img_", "data:", "http")):
        return "<mean>" if value == "mean" else None
    if isinstance(value, str):
        return "<image>"
    return "<seed>" if isinstance(value, int | float) and not isinstance(value, bool) else None


End = Annotated[
    Annotated[ImageRef, Tag("<image>")] | Annotated[Seed, Tag("<seed>")],
    Discriminator(
        lambda value: "<image>" if isinstance(value, str) else _place(value),
        custom_error_type="end",
        custom_error_message="Input should be an image or an integer seed",
    ),
]
Start = Annotated[
    Annotated[Literal["mean"], Tag("<mean>")] | Annotated[ImageRef, Tag("<image>")] | Annotated[Seed, Tag("<seed>")],
    Discriminator(
        _place,
        custom_error_type="start",
        custom_error_message="Input should be 'mean', an image or an integer seed",
    ),
]


class Interpolation(ModelRequest):
    """Along the great circle from each picture to the next (Shoemake 1985, slerp)."""

    mode: Literal["interpolate"]
    between: Annotated[
        list[End], Field(min_length=2, max_length=8, description="Images or seeds; a diffusion model takes seeds.")
    ]
    steps: Annotated[int, Field(ge=2, le=32, description="Pictures of each segment, its ends among them.")] = 8
    num_inference_steps: Annotated[Steps | None, Field(description="Of a diffusion model, 50 when absent.")] = None
    scheduler: Annotated[
        DeterministicScheduler | None, Field(description="Of a diffusion model, `ddim` when absent.")
    ] = None
    guidance_scale: GuidanceScale = None


class Traversal(ModelRequest):
    """One latent dimension at a time from end to end, the others held; of two dimensions the whole manifold."""

    mode: Literal["traverse"]
    start: Annotated[Start, Field(description="What the dimensions not traversed are held at.")] = "mean"
    dimensions: Annotated[
        list[Annotated[int, Field(ge=0), BeforeValidator(whole)]] | None,
        Field(
            min_length=1,
            max_length=32,
            description="Counted from 0, each a row; the first eight when absent.",
            json_schema_extra=_DISTINCT,
        ),
    ] = None
    steps: Annotated[int, Field(ge=3, le=21, description="Pictures of each dimension.")] = 9
    extent: Annotated[float, Field(ge=0.5, le=4, description="From minus to plus so many standard deviations.")] = 2.5

    _each_once = field_validator("dimensions")(_distinct)


class _Term(BaseModel):
    model_config = STRICT
    sign: Annotated[Literal["+", "-"], Field(description="Added or taken away.")]


class ImageTerm(_Term):
    """The z of a picture."""

    image: ImageRef


class SeedTerm(_Term):
    """The z of a seed."""

    seed: Seed


class VectorTerm(_Term):
    """A z by its values."""

    z: Annotated[list[Annotated[float, Field(ge=-100, le=100)]], Field(min_length=1, max_length=256)]


class AttributeTerm(_Term):
    """The mean z of generated pictures in which the classifier sees all of `with` and none of `without`."""

    model_config = ConfigDict(
        **STRICT,
        serialize_by_alias=True,
        json_schema_extra={
            "anyOf": [{"required": [name], "properties": {name: {"minItems": 1}}} for name in ("with", "without")]
        },
    )
    with_: Annotated[AttributeNames, Field(alias="with")] = []
    without: AttributeNames = []

    _each_once = field_validator("with_", "without")(_distinct)

    @model_validator(mode="after")
    def _can_be_met(self) -> "AttributeTerm":
        if not self.with_ and not self.without:
            raise ValueError("At least one attribute is needed in `with` or `without`")
        if both := set(self.with_) & set(self.without):
            raise ValueError(f"{min(both)!r} cannot be both in `with` and in `without`")
        return self


def _sort(term: Any) -> str | None:
    """Which sort of term this is meant to be, by the field it has."""
    given = term if isinstance(term, dict) else vars(term) if isinstance(term, _Term) else {}
    sorts = {"image": "<image>", "seed": "<seed>", "z": "<z>"}
    sorts |= dict.fromkeys(("with", "with_", "without"), "<attributes>")
    return next((tag for name, tag in sorts.items() if name in given), None)


Term = Annotated[
    Annotated[ImageTerm, Tag("<image>")]
    | Annotated[SeedTerm, Tag("<seed>")]
    | Annotated[VectorTerm, Tag("<z>")]
    | Annotated[AttributeTerm, Tag("<attributes>")],
    Discriminator(
        _sort,
        custom_error_type="term",
        custom_error_message="Input should be an object with a `sign` and one of `image`, `seed`, `z`, "
        "or `with` and `without`",
    ),
]


class Arithmetic(ModelRequest):
    """Sums and differences of latent vectors (Radford et al. 2016, section 6.3.2)."""

    mode: Literal["arithmetic"]
    terms: Annotated[list[Term], Field(min_length=1, max_length=8)]
    n: Annotated[
        int | None,
        Field(ge=1, le=16, description="Draws; each takes other samples for its attribute terms. 8 with such terms."),
    ] = None
    averaged: Annotated[
        int | None, Field(ge=1, le=64, description="Samples averaged for each attribute term, 64 when absent.")
    ] = None
    classifier: Annotated[
        ModelId | None,
        Field(description="What tells attributes; the one trained on the model's own pictures when absent."),
    ] = None

    @property
    def attribute_terms(self) -> dict[int, AttributeTerm]:
        """The terms that name attributes, by their place."""
        return {i: term for i, term in enumerate(self.terms) if isinstance(term, AttributeTerm)}

    @field_validator("n", "averaged")
    @classmethod
    def _for_attributes(cls, value: int | None, info: ValidationInfo) -> int | None:
        terms = info.data.get("terms", [])
        if value and terms and not any(isinstance(term, AttributeTerm) for term in terms):
            raise ValueError("Draws differ by the samples of attribute terms, and there is no such term")
        return value


class Translation(ModelRequest):
    """Pictures of one kind into the other (Zhu et al. 2017, CycleGAN)."""

    mode: Literal["translate"]
    images: Images
    direction: Annotated[
        Literal["a-to-b", "b-to-a"], Field(description="The model's `architecture.kinds` says what a and b are.")
    ] = "a-to-b"


class DenoisingSteps(ModelRequest):
    """How one picture comes out of noise: what the model sees at a step, and the picture it foresees."""

    mode: Literal["denoise-steps"]
    num_inference_steps: Steps = 50
    scheduler: Scheduler = "ddim"
    guidance_scale: GuidanceScale = None
    shown: Annotated[
        int, Field(ge=2, le=16, description="Steps to show, evenly spaced; all where there are fewer.")
    ] = 8


Denoised = Sample | Interpolation | DenoisingSteps
Generation = (
    Sample
    | Reconstruction
    | Interpolation
    | Traversal
    | Arithmetic
    | Translation
    | DenoisingSteps
    | TextToImage
    | ImageToImage
    | Inpainting
)


GenerationParams = Annotated[
    Annotated[Sample, Tag("<sample>")]
    | Annotated[Reconstruction, Tag("<reconstruct>")]
    | Annotated[Interpolation, Tag("<interpolate>")]
    | Annotated[Traversal, Tag("<traverse>")]
    | Annotated[Arithmetic, Tag("<arithmetic>")]
    | Annotated[Translation, Tag("<translate>")]
    | Annotated[DenoisingSteps, Tag("<denoise-steps>")]
    | Annotated[TextToImage, Tag("<text-to-image>")]
    | Annotated[ImageToImage, Tag("<image-to-image>")]
    | Annotated[Inpainting, Tag("<inpaint>")],
    chosen_by("mode", ALL_MODES, "sample"),
]


def is_diffusion(architecture: Mapping[str, Any]) -> bool:
    """Whether its pictures come out of noise step by step."""
    return "denoise-steps" in MODES[architecture["name"]]


def attribute_names(questions: Questions) -> list[str]:
    """What a classifier can say of a picture: its answers, but for the "no glasses" of "no glasses" or "glasses"."""
    yes_or_no = [len(answers) == 2 and answers[0] == f"no {answers[1]}" for answers in questions]
    return [name for answers, skip in zip(questions, yes_or_no, strict=True) for name in answers[skip:]]


def images_of(params: Generation) -> dict[str, str]:
    """Each field that holds an image, and the image."""
    match params:
        case Reconstruction() | Translation():
            return {f"images.{i}": image for i, image in enumerate(params.images)}
        case Interpolation():
            return {f"between.{i}": end for i, end in enumerate(params.between) if isinstance(end, str)}
        case Traversal(start=str(start)) if start != "mean":
            return {"start": start}
        case Arithmetic():
            return {
                f"terms.{i}.image": term.image for i, term in enumerate(params.terms) if isinstance(term, ImageTerm)
            }
        case ImageToImage():
            return {"image": params.image}
        case Inpainting():
            return {"image": params.image, "mask": params.mask}
    return {}


def with_images(params: Generation, images: Mapping[str, str]) -> Generation:
    """The parameters with other images in the fields that hold some."""
    changed: dict[str, Any] = {}
    match params:
        case Reconstruction() | Translation():
            changed["images"] = [images[f"images.{i}"] for i in range(len(params.images))]
        case Interpolation():
            changed["between"] = [images.get(f"between.{i}", end) for i, end in enumerate(params.between)]
        case Traversal():
            changed["start"] = images.get("start", params.start)
        case Arithmetic():
            fields = [f"terms.{i}.image" for i in range(len(params.terms))]
            changed["terms"] = [
                term.model_copy(update={"image": images[field]}) if field in images else term
                for field, term in zip(fields, params.terms, strict=True)
            ]
        case ImageToImage() | Inpainting():
            changed |= images
    return params.model_copy(update=changed)


def fitted(params: Generation, architecture: Mapping[str, Any], questions: Questions = ()) -> Generation:
    """The parameters with the defaults that depend on the model filled in.

    architecture: of the model. questions: of the classifier of its pictures, none where there is no classifier.
    Raises BadInput, naming the field, for what this model cannot use.
    """
    if isinstance(params, TextToImage | ImageToImage | Inpainting):
        return fitted_prompted(params, architecture)
    if "reconstruct" not in MODES[architecture["name"]] and not isinstance(params, Translation):
        for field in images_of(params):
            raise _mismatch(params, field, "has no encoder: it takes seeds, no pictures")
    match params:
        case Sample():
            _check_told(params, architecture.get("attributes", ()))
            params = _with_defaults(params, n=None if params.seeds else 4)
            return _with_scheduler(params, architecture)
        case Interpolation() | DenoisingSteps():
            return _with_scheduler(params, architecture)
        case Traversal():
            _check_dimensions(params, architecture["latent_dim"])
        case Arithmetic():
            _check_terms(params, architecture["latent_dim"], questions)
            return _with_defaults(params, n=8, averaged=64) if params.attribute_terms else params
    return params


Params = TypeVar("Params", bound=ModelRequest)


def _with_defaults(params: Params, **defaults: Any) -> Params:
    absent = {name: value for name, value in defaults.items() if getattr(params, name) is None}
    return params.model_copy(update=absent)


def _with_scheduler(params: Denoised, architecture: Mapping[str, Any]) -> Denoised:
    if is_diffusion(architecture):
        if architecture.get("attributes"):
            params = _with_defaults(params, guidance_scale=1.25)
        elif params.guidance_scale is not None:
            raise _mismatch(params, "guidance_scale", "is told no attributes and does not use it")
        return _with_defaults(params, num_inference_steps=50, scheduler="ddim")
    for field in ("num_inference_steps", "scheduler", "guidance_scale"):
        if getattr(params, field) is not None:
            raise _mismatch(params, field, "is no diffusion model and does not use it")
    return params


def _check_told(params: Sample, known: Sequence[str]) -> None:
    if params.attributes and not known:
        raise _mismatch(params, "attributes", "is told no attributes")
    for name in params.attributes or ():
        _check_attribute("attributes", name, known)


def _check_dimensions(params: Traversal, latent_dim: int) -> None:
    for i, dimension in enumerate(params.dimensions or ()):
        if dimension >= latent_dim:
            has = f"has {latent_dim} dimensions, 0 to {latent_dim - 1}" if latent_dim > 1 else "has one dimension, 0"
            raise _mismatch(params, f"dimensions.{i}", has)


def _check_terms(params: Arithmetic, latent_dim: int, questions: Questions) -> None:
    known = attribute_names(questions)
    left: dict[str, int] = {}  # of each term, how often it is added
    for term in params.terms:
        what = term.model_dump_json(exclude={"sign"})
        left[what] = left.get(what, 0) + (1 if term.sign == "+" else -1)
    if not any(left.values()):
        raise BadInput("terms_cancel", "terms: Each is taken away again, so nothing is left.", field="terms")
    for i, term in enumerate(params.terms):
        if isinstance(term, VectorTerm) and len(term.z) != latent_dim:
            raise _mismatch(params, f"terms.{i}.z", f"has a z of {latent_dim} values, not {len(term.z)}")
    for i, attributes in params.attribute_terms.items():
        if not known:
            raise _mismatch(params, f"terms.{i}", "has no classifier of its pictures, so that none can tell attributes")
        for field, names in (("with", attributes.with_), ("without", attributes.without)):
            for name in names:
                _check_attribute(f"terms.{i}.{field}", name, known)


def _check_attribute(field: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        message = f"{field}: There is no attribute {name!r}; there are {', '.join(known)}."
        raise BadInput("unknown_attribute", message, field=field, allowed=list(known))


def _mismatch(params: ModelRequest, field: str, what: str) -> BadInput:
    return BadInput("model_mismatch", f"{field}: Model {params.model} {what}.", field=field, model=params.model)
