"""What every request declares about itself, and the fields that all requests share.

A request is the body of a submit route and, once resolved, the `params` of a job. It says which kind of job it is and
which queue runs it, which images it holds, what it needs until the job has ended, and which jobs may share its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, Self, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, Discriminator, Field, field_validator
from pydantic_core import PydanticCustomError

from cards.schema import whole as whole
from jobs.errors import BadInput
from jobs.schemas import ImageFormat

if TYPE_CHECKING:
    from jobs.requests.facts import Facts

ImageSize = tuple[int, int]  # width, height

HTTPS_URL = r"^https://([A-Za-z0-9-]+\.)+[A-Za-z][A-Za-z0-9-]*(:(443|[2-9][0-9]{3}|[1-5][0-9]{4}))?(/[!-\[\]-~]*)?$"
IMAGE_REF = r"^(img_[0-9a-f]{64}|col_[0-9a-f]{24}/[0-9]{1,9}|data:image/[^,]+,.+|https://.+)$"
_IMAGE_PREFIXES = ("img_", "col_", "data:", "https:")
MODEL_ID = r"^[a-z0-9][a-z0-9.-]{1,79}$"
MAX_PIXELS = 64 * 1024**2  # of all images of a job
MAX_SEED = 2**53 - 1  # the largest integer that every JSON parser reads exactly
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)

_IMAGE = object()  # marks the type of fields that hold images
ImageRef = Annotated[
    str,
    Field(
        pattern=IMAGE_REF,
        description=(
            "An image: the id of an upload (`img_…`), a member of a collection (`col_…/17`, its id and that of the "
            "member), a `data:` URL in base64, or an `https:` URL."
        ),
        json_schema_extra={"format": "image-ref"},
    ),
    _IMAGE,
]
ModelId = Annotated[str, Field(pattern=MODEL_ID, examples=["vae-smileys"], json_schema_extra={"format": "model-id"})]
WebhookUrl = Annotated[
    str,
    Field(
        pattern=HTTPS_URL,
        max_length=2048,
        examples=["https://example.com/hooks/atelier"],
        json_schema_extra={"format": "webhook-url"},
    ),
]
Steps = Annotated[int, Field(ge=1, le=1000, description="Denoising steps.")]


class UnresolvedError(Exception):
    """A request was used before `resolved` filled in its defaults."""


class Uses(NamedTuple):
    """What a job needs until it has ended; none of it can be deleted before.

    archives: sha256 of zip files. builds: the collection whose next version the job makes, or `registry.NEW`.
    """

    models: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()
    archives: tuple[str, ...] = ()
    builds: str | None = None


class Request(BaseModel):
    """The fields every job request shares; unknown fields and wrong types (`"512"` for 512) are refused."""

    model_config = STRICT
    kind: ClassVar[str]

    seed: Annotated[
        int | None, Field(ge=0, le=MAX_SEED, description="Random state; chosen and reported when absent.")
    ] = None
    format: Annotated[ImageFormat, Field(description="File format of the outputs.")] = "png"
    priority: Annotated[
        int,
        Field(
            ge=-10, le=10, description="Higher runs first within its queue; a step counts as ten minutes of waiting."
        ),
    ] = 0
    expires_in: Annotated[
        int | None,
        Field(ge=1, le=7 * 86400, description="Seconds after which a job still queued becomes `expired`."),
    ] = None
    webhook_url: Annotated[
        WebhookUrl | None,
        Field(description="A public https URL that gets a POST when the job has ended; retried for a day."),
    ] = None

    _whole = field_validator("*", mode="before")(whole)

    @property
    def queue(self) -> str:
        """The queue of a resolved request: `fast`, `search`, `gpu`, `collect` or `train`."""
        return "gpu"

    def resolved(self, facts: Facts) -> Request:
        """The request with every default that depends on a model or a collection filled in; its images stay as given.

        Raises BadInput, naming the field, for what cannot be used.
        """
        return self

    def uses(self) -> Uses:
        """What a resolved request needs until its job has ended."""
        return Uses()

    def compatibility(self) -> str:
        """What resolved requests must have in common to run in one batch; "" for those that run alone."""
        return ""

    def image_refs(self) -> dict[str, str]:
        """Each field that holds an image, such as `terms.0.image`, and the image."""
        return {field: _get(holder, key) for field, holder, key in _image_places(self)}

    def with_images(self, images: Mapping[str, str]) -> Self:
        """A copy with other images, by their fields."""
        changed = self.model_copy(deep=True)
        for field, holder, key in list(_image_places(changed)):
            _set(holder, key, images[field])
        return changed

    def masks(self) -> dict[str, ImageSize | None]:
        """The image fields that hold masks; each with the size of the result whose shape is cut out of it, if any."""
        return {}

    def check_sizes(self, sizes: Mapping[str, ImageSize]) -> None:
        """Raises BadInput for images whose sizes cannot be used; `sizes` has the size of each image field."""

    def stored(self) -> dict[str, Any]:
        """The `params` of the job's record."""
        return self.model_dump(mode="json", exclude={"priority", "expires_in", "webhook_url"})


class ModelRequest(Request):
    """A request that names the model that runs it."""

    model: Annotated[ModelId, Field(description="The model to run; `GET /v1/models` lists them.")]

    def uses(self) -> Uses:
        """The model."""
        return Uses(models=(self.model,))

    def with_defaults(self, **defaults: Any) -> Self:
        """A copy with these values in the fields that are absent."""
        absent = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return self.model_copy(update=absent)

    def mismatch(self, field: str, what: str) -> BadInput:
        """The refusal of a field that the model cannot use."""
        return BadInput("model_mismatch", f"{field}: Model {self.model} {what}.", field=field, model=self.model)


# --- images ----------------------------------------------------------------------------------------------------------


def _image_places(
    holder: BaseModel | list[Any], field: str = "", may_hold: bool = False
) -> Iterator[tuple[str, Any, Any]]:
    """Each image in a model and in the models inside it: its field, what holds it, and its name or index there."""
    named = isinstance(holder, BaseModel)
    names: Any = type(holder).model_fields if isinstance(holder, BaseModel) else range(len(holder))
    for key in names:
        value = _get(holder, key)
        path, holds = f"{field}{key}", key in image_fields(type(holder)) if named else may_hold
        if isinstance(value, str) and holds and value.startswith(_IMAGE_PREFIXES):
            yield path, holder, key
        elif isinstance(value, BaseModel | list):
            yield from _image_places(value, f"{path}.", holds)


@cache
def image_fields(model: type[BaseModel]) -> frozenset[str]:
    """The fields of a model whose type has `ImageRef` in it, at any depth."""
    hints = get_type_hints(model, include_extras=True)
    return frozenset(name for name in model.model_fields if _has_image(hints[name]))


def _has_image(annotation: Any) -> bool:
    return any(part is _IMAGE or _has_image(part) for part in get_args(annotation))


def _get(holder: Any, key: Any) -> Any:
    return holder[key] if isinstance(holder, list) else getattr(holder, key)


def _set(holder: Any, key: Any, value: str) -> None:
    if isinstance(holder, list):
        holder[key] = value
    else:
        setattr(holder, key, value)


# --- rules that several requests share -------------------------------------------------------------------------------


def request_classes(union: Any) -> Iterator[type[Request]]:
    """Yields the classes of requests in a union, or the one class."""
    if isinstance(union, type) and issubclass(union, Request):
        yield union
    for part in get_args(getattr(union, "__value__", union)):
        yield from request_classes(part)


def seeds_from(seed: int, n: int) -> list[int]:
    """The seeds of n images: `seed` + k, from 0 again after the largest one."""
    return [(seed + k) % (MAX_SEED + 1) for k in range(n)]


def made_pixels(params: Request) -> int:
    """Pixels of all images that a resolved request makes, before they are upscaled, as far as it names their size."""
    size: Any = getattr(params, "size", None)
    width, height = (getattr(params, name, None) or size or 0 for name in ("width", "height"))
    numbers = [getattr(params, name, None) for name in ("n", "num_images_per_prompt", "n_frames")]
    return int(width * height * next((number for number in numbers if number), 1))


Item = TypeVar("Item")


def filled(value: Item | None) -> Item:
    """The value of a field that is never absent in a resolved request; raises UnresolvedError where it is."""
    if value is None:
        raise UnresolvedError("a field of the request is absent: the request was not resolved")
    return value


def distinct(items: list[Item] | None) -> list[Item] | None:
    """Validates that no item is repeated."""
    if items and len(set(items)) < len(items):
        raise ValueError("Each may be named once")
    return items


def chosen_by(
    field: str, names: Sequence[str], default: str | Callable[[Mapping[str, Any]], str] | None = None
) -> Discriminator:
    """Tells the branches of a union, whose tags look like <name>, apart by a field that is one of `names`.

    default: the name where the field is absent, or a function of the other fields that returns it.
    """

    def tag(value: Any) -> str:
        if not isinstance(value, dict):
            return f"<{getattr(value, field, default)}>"
        absent = default(value) if callable(default) else default
        return f"<{value.get(field, absent)}>"

    return Discriminator(
        tag,
        custom_error_type=field,
        custom_error_message=f"Input should be {', '.join(map(repr, names[:-1]))} or {names[-1]!r}",
        custom_error_context={"field": field},
    )


def invalid(field: str, message: str) -> PydanticCustomError:
    """The validation error of one field, for validators of a whole request."""
    return PydanticCustomError("request", message, {"field": field})


def check_attribute(field: str, name: str, known: Sequence[str]) -> None:
    """Raises BadInput for an attribute that is not one of `known`."""
    if name not in known:
        message = f"{field}: There is no attribute {name!r}; there are {', '.join(known) or 'none'}."
        raise BadInput("unknown_attribute", message, field=field, allowed=list(known))


def unknown_model(field: str, what: str, allowed: Sequence[str]) -> BadInput:
    """The refusal of a model's id; `what` says that there is no such model, `allowed` has those there are."""
    message = f"{field}: {what}; there are {', '.join(allowed) or 'none'}."
    return BadInput("unknown_model", message, field=field, allowed=list(allowed))
