"""The card of a model of one's own: in a TOML file of an operator, or in the body of a request."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from cards.schedulers import EARLIER, SCHEDULERS, known_scheduler

# Whose parts in one file can be read: their configurations are shipped.
CHECKPOINTS = ("sdxl", "stable-diffusion-1.5", "stable-diffusion-2.1")
PICKLES = (".ckpt", ".pt", ".pth", ".bin")
MAX_FILES = 100
WEIGHTS = ".safetensors"
UPSCALING = "upscaling"
ONE_FILE = ("lora", "textual-inversion", UPSCALING)  # tasks of models in one file
_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
_Scheduler = Annotated[str, AfterValidator(known_scheduler), Field(json_schema_extra={"enum": [*SCHEDULERS, *EARLIER]})]
_FILE = r"^([\w-][\w.-]*/){0,3}[\w-][\w.-]*\.(safetensors|json|txt|model)$"
_File = Annotated[str, Field(pattern=_FILE, max_length=200)]


def whole(value: Any) -> Any:
    """Converts whole floats to int: in JSON 64.0 is an integer; "64" and true are not."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _each_to_itself(files: Any) -> Any:
    is_list = isinstance(files, list) and all(isinstance(name, str) for name in files)
    return dict(zip(files, files, strict=True)) if is_list else files


class Defaults(BaseModel):
    """What a text-to-image model uses where a request says nothing."""

    model_config = _STRICT
    num_inference_steps: Annotated[int, Field(ge=1, le=200), BeforeValidator(whole)] = 25
    guided: Annotated[bool, Field(description="Whether the model uses guidance.")] = True
    guidance_scale: Annotated[float, Field(ge=0, le=30)] = 7.5
    scheduler: Annotated[_Scheduler | None, Field(description="By default `ddim`.")] = None
    schedulers: Annotated[
        list[_Scheduler], Field(max_length=MAX_FILES, description="Those that requests may name; by default any.")
    ] = []

    @field_validator("schedulers")
    @classmethod
    def _with_the_default(cls, names: list[str], info: Any) -> list[str]:
        default = info.data.get("scheduler")
        if default and default not in names:
            raise ValueError(f"must have the default scheduler, {default!r}")
        return names


class CardFields(BaseModel):
    """The fields that cards in files and in requests share."""

    model_config = _STRICT
    id: Annotated[
        str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,63}$", description="The name by which requests name the model.")
    ]
    title: Annotated[str, Field(min_length=1, max_length=200)]
    description: Annotated[str, Field(max_length=2000)] = ""
    license: Annotated[str, Field(min_length=1, max_length=200, validation_alias=AliasChoices("license", "licence"))]
    task: Literal["text-to-image", "lora", "textual-inversion", "controlnet", "ip-adapter", "upscaling"]
    base: Annotated[
        str | None,
        Field(max_length=100, description="The family of the model: LoRAs of the same base fit. Default: its own id."),
    ] = None
    token: Annotated[
        str | None,
        Field(
            pattern=r"^[^\s()\[\]\\:,]+$",
            max_length=64,
            description="Of a textual inversion: the word that stands for it in prompts. Default: its id.",
        ),
    ] = None
    url: Annotated[
        str | None,
        Field(
            pattern=r"^https://[!-\[\]-~]+$",
            max_length=2048,
            description="A public https URL of one .safetensors file.",
            json_schema_extra={"format": "weights-url"},
        ),
    ] = None
    sha256: Annotated[str | None, Field(pattern="^[0-9a-f]{64}$", description="Of the file at `url`.")] = None
    repository: Annotated[
        str | None,
        Field(pattern=r"^[\w-][\w.-]*/[\w-][\w.-]*$", max_length=200, description="Of the Hugging Face hub."),
    ] = None
    gated: Annotated[bool, Field(description="Whether the hub needs the `HF_TOKEN` of the workers.")] = False
    revision: Annotated[str | None, Field(pattern="^[0-9a-f]{40}$", description="The commit of `repository`.")] = None
    prediction_type: Annotated[
        Literal["epsilon", "v_prediction"] | None, Field(description="Of a checkpoint that differs from its base.")
    ] = None
    image_size: Annotated[
        int | None,
        Field(ge=64, le=2048, multiple_of=8, description="Side of the images of the training."),
        BeforeValidator(whole),
    ] = None
    files: Annotated[
        dict[_File, _File],
        BeforeValidator(_each_to_itself),
        Field(
            max_length=MAX_FILES,
            description="Names of the files here and in `repository`; a list if they agree. Default: those of `base`.",
        ),
    ] = {}
    defaults: Defaults | None = None

    @property
    def is_file(self) -> bool:
        """Whether the source is one safetensors file."""
        return self.url is not None

    @property
    def sources(self) -> list[str]:
        """The fields that say where the files are, of which a card has one."""
        return [name for name in ("path", "url", "archive", "repository") if getattr(self, name, None) is not None]

    @property
    def is_checkpoint(self) -> bool:
        """Whether one file holds all parts of a text-to-image model."""
        return self.is_file and self.task == "text-to-image"

    @property
    def needs_base(self) -> bool:
        """Whether the model changes or guides others, those of its base."""
        return self.task not in ("text-to-image", UPSCALING)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name, message in self._problems():
            raise PydanticCustomError("request", message, {"field": name})
        return self

    def _problems(self) -> Iterator[tuple[str, str]]:
        """The fields that do not go together, and why; the first is reported."""
        source = next(iter(self.sources), "")
        if len(self.sources) > 1:
            yield self.sources[1], f"must be left out: the card has a {source}"
        if (self.revision is None) != (self.repository is None):
            yield "revision", "goes with repository: the commit, 40 hex digits"
        if self.sha256 and not self.url:
            yield "sha256", "goes with url"
        if self.prediction_type and not self.is_checkpoint:
            yield "prediction_type", "goes with one .safetensors file of a text-to-image model"
        if self.files and self.is_file:
            yield "files", f"must be left out: the {source} is one file"
        if self.token and self.task != "textual-inversion":
            yield "token", "goes with task 'textual-inversion'"
        is_model = self.task == "text-to-image"
        yield from self._problems_of_a_model(source) if is_model else self._problems_of_an_addition()

    def _problems_of_an_addition(self) -> Iterator[tuple[str, str]]:
        reason = ": it is that of the base" if self.needs_base else ""
        for name in ("image_size", "defaults"):
            if getattr(self, name) is not None:
                yield name, f"must be left out for task {self.task!r}{reason}"
        if self.needs_base and self.base is None:
            yield "base", f"is needed for task {self.task!r}"
        if self.base and self.task == UPSCALING:
            yield "base", f"must be left out for task {self.task!r}"
        if self.task == "controlnet" and self.is_file and self.base not in CHECKPOINTS:
            yield "base", f"must name the layout of the file: {', '.join(CHECKPOINTS)}"
        if self.task == "ip-adapter" and self.is_file:
            yield "repository", "is needed: an IP-Adapter has an image encoder beside its own file"
        if self.task in ONE_FILE and not self.is_file and [each.endswith(WEIGHTS) for each in self.files] != [True]:
            yield "files", f"must be one .safetensors file for task {self.task!r}"

    def _problems_of_a_model(self, source: str) -> Iterator[tuple[str, str]]:
        if not source:
            yield "repository", f"or another source is needed for task {self.task!r}"
        if self.image_size is None:
            yield "image_size", f"is needed for task {self.task!r}"
        if self.is_checkpoint and self.base not in CHECKPOINTS:
            yield "base", f"must name the layout of the file: {', '.join(CHECKPOINTS)}"


class CardFile(CardFields):
    """A TOML file of an operator.

    `path` is a source on this machine: a folder in the layout of diffusers, or one safetensors file. `configuration` is
    a folder with the configuration of the parts of a checkpoint; by default it is that of `base`. `vae` is a
    safetensors file with an autoencoder to use instead of theirs.
    """

    path: Annotated[str | None, Field(pattern="^/")] = None
    vae: Annotated[str | None, Field(pattern=r"^/.*\.safetensors$")] = None
    configuration: Annotated[str | None, Field(pattern="^/")] = None

    @property
    def is_file(self) -> bool:
        """Whether the source is one safetensors file."""
        return super().is_file or (self.path or "").endswith(".safetensors")

    def _problems(self) -> Iterator[tuple[str, str]]:
        if (self.path or "").endswith(PICKLES):
            yield "path", "must be a folder or a .safetensors file: a pickle is never read"
        if self.path and self.task in ONE_FILE and not self.is_file:
            yield "path", f"must be a .safetensors file for task {self.task!r}"
        if self.vae and not (self.path or self.url):
            yield "vae", "goes with a path"
        if self.configuration and not (self.is_checkpoint or (self.is_file and self.task == "controlnet")):
            yield "configuration", "goes with one .safetensors file of a text-to-image model or a ControlNet"
        if self.configuration and self.prediction_type:
            yield "prediction_type", "must be left out: the card has a configuration"
        yield from super()._problems()
