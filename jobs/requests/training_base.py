"""What all trainings share: their data, the model to continue from, and the fields of a schedule."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from jobs.errors import BadInput
from jobs.requests.architectures import ARCHITECTURES, RECIPES, part_of
from jobs.requests.base import ModelId, Request, Uses, invalid, whole
from jobs.requests.datasets import SETS, Data, archive_of
from jobs.requests.facts import Card, Facts

TRAINED_ID = rf"^({'|'.join(RECIPES)})-[0-9a-f]{{12}}$"  # a trained model's: its recipe and the end of its job's id
MIN_IMAGES = 16
MAX_SIDE = 128  # of images to train a model on, in pixels

Steps = Annotated[int, Field(ge=1, le=1_000_000, description="Optimizer steps.")]
Every = Annotated[int, Field(ge=1, le=1_000_000, description="Every so many steps.")]
Batch = Annotated[int, Field(ge=1, le=1024, description="Images of one step.")]
NormedBatch = Annotated[int, Field(ge=2, le=1024, description="Images of one step.")]  # one has no variance
Rate = Annotated[float, Field(gt=0, le=1000, description="The optimizer's learning rate at its peak.")]
Decay = Annotated[float, Field(ge=0, le=0.99999, description="Of the moving average of the weights, which is stored.")]
Dim = Annotated[int, Field(ge=1, le=512, description="Values of z.")]
Channels = Annotated[int, Field(ge=8, le=256, multiple_of=8, description="Channels of the first layer.")]
LevelChannels = Annotated[int, Field(ge=32, le=256, multiple_of=8), BeforeValidator(whole)]  # attention heads have 32
Weight = Annotated[float, Field(ge=0, le=1000, description="Weight of a loss.")]
Attribute = Annotated[
    str,
    Field(
        min_length=1,
        max_length=100,
        description="An attribute: of a named set, or a column of an archive's table, or one of its classes.",
        json_schema_extra={"format": "attribute"},
    ),
]


class TrainingRequest(Request):
    """The fields of every training; each recipe is a subclass with a field `recipe`."""

    kind: ClassVar[str] = "training"
    channels: ClassVar[int] = 3  # of the images of archives
    default_size: ClassVar[int] = 64  # pixels a side that archives are read at
    max_side: ClassVar[int] = MAX_SIDE

    recipe: str
    data: Data
    title: Annotated[str | None, Field(min_length=1, max_length=100, description="The name of the model in lists.")] = (
        None
    )
    limit: Annotated[
        int | None, Field(ge=MIN_IMAGES, le=100_000, description="Use so many images at most; all when absent.")
    ] = None
    image_size: Annotated[
        int | None,
        Field(
            ge=16,
            le=MAX_SIDE,
            multiple_of=4,
            description="Side in pixels that the images of an archive are resized to; a named set has its own.",
        ),
    ] = None
    batch_size: Batch

    @property
    def queue(self) -> str:
        """The queue of trainings."""
        return "train"

    @property
    def begins_with(self) -> str | None:
        """The model that the training is given, if any."""
        return None

    @property
    def archive(self) -> str | None:
        """The sha256 of the archive it trains on; None for a named set."""
        return archive_of(self.data)

    @property
    def min_images(self) -> int:
        """How many images there must be."""
        return max(MIN_IMAGES, self.batch_size)

    @property
    def size(self) -> int:
        """The side of its images in pixels."""
        return SETS[self.data].image_size if self.data in SETS else self.image_size or self.default_size

    def uses(self) -> Uses:
        """The archive, and the model that the training is given."""
        models = (self.begins_with,) if self.begins_with else ()
        return Uses(models=models, archives=(self.archive,) if self.archive else ())

    def resolved(self, facts: Facts) -> "TrainingRequest":
        """Fills in the size of an archive's images."""
        if self.archive:
            facts.check_archive(self.archive)
        return self.model_copy(update={"image_size": self.size}) if self.archive else self

    def check_attributes(self, field: str, names: Sequence[str]) -> None:
        """Refuses attributes that a named set lacks; those of an archive are known to the job alone."""
        known = SETS[self.data].attributes if self.data in SETS else names
        if not set(names) <= set(known):
            raise invalid(field, f"{self.data} has these attributes: {', '.join(known) or 'none'}")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.data in SETS and self.image_size is not None:
            raise invalid("image_size", f"{self.data} has {self.size} x {self.size} pixels; only archives take a size")
        if self.size > self.max_side:
            raise invalid(
                "data", f"{self.data} has {self.size} x {self.size} pixels; a training takes at most {self.max_side}"
            )
        if self.limit is not None and self.limit < self.batch_size:
            raise invalid("limit", f"Input should be at least batch_size, which is {self.batch_size}")
        return self


class ModelTraining(TrainingRequest):
    """A training of a model of its own, which may continue from another."""

    shape: ClassVar[tuple[str, ...]] = ("base_channels",)  # the fields that are arguments of an architecture
    inherited: ClassVar[tuple[str, ...]] = ()  # the fields whose default is the value of the start
    part: ClassVar[str] = ""  # of other models that the recipe can start from too, see `architectures.part_of`

    start: Annotated[
        ModelId | None,
        Field(description="A model of the same architecture to continue from."),
    ] = None

    @property
    def begins_with(self) -> str | None:
        """The model to continue from."""
        return self.start

    @classmethod
    def architectures(cls) -> list[str]:
        """The architectures of the models that the recipe trains."""
        recipe = cls.model_fields["recipe"].annotation
        return [name for name, known in ARCHITECTURES.items() if known.recipe in get_args(recipe)]

    def resolved(self, facts: Facts) -> TrainingRequest:
        """Fills in the size of an archive's images, and the shape of the model to continue from."""
        continued = self._continued(self.start, facts.cards()) if self.start else self
        return TrainingRequest.resolved(continued, facts)

    def _continued(self, start: str, cards: Mapping[str, Card]) -> Self:
        if start not in cards:
            names = self.architectures()
            usable = [name for name, card in cards.items() if self.own_part(card).get("name") in names]
            message = f"start: No model is called {start!r}; recipe {self.recipe} can begin with"
            message = f"{message} {', '.join(usable) or 'none here'}."
            raise BadInput("unknown_model", message, field="start", allowed=usable)
        return self.continued_from(cards[start])

    def continued_from(self, card: Card) -> Self:
        """Fills in the shape of the model to continue from.

        Raises BadInput, naming the field and what must agree, where data or fields that were set do not fit the model.
        """
        architecture, start = self.own_part(card), self.start
        if architecture.get("name") not in self.architectures():
            what = f"{start} is of {architecture.get('name') or 'no'} architecture"
            raise _unfit("start", f"{what}; recipe {self.recipe} begins with {' or '.join(self.architectures())}")
        _check_images(self, card)
        changed: dict[str, Any] = {}
        for field, has in self.shape_of(architecture).items():
            if field == "attributes" and not has:
                continue  # a model that is conditioned on none can learn some
            if field in self.model_fields_set and getattr(self, field) != has:
                raise _unfit(field, f"{start} has {has}, and the training that begins with it must have the same")
            changed[field] = has
        absent = {*architecture} - self.model_fields_set
        changed |= {name: architecture[name] for name in self.inherited if name in absent}
        if self.archive and (side := self.side_of(card)):
            changed["image_size"] = side
        return self._checked(changed)

    def own_part(self, card: Card) -> Mapping[str, Any]:
        """The architecture of a model, or of the part of it that the recipe trains."""
        return part_of(card["architecture"], self.part)

    def shape_of(self, architecture: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that are arguments of an architecture, with their values."""
        return {field: architecture.get(field, [] if field == "attributes" else None) for field in self.shape}

    def side_of(self, card: Card) -> int | None:
        """The side of a model's images; None if it has images of any."""
        side: int | None = card["architecture"].get("image_size") or card.get("training", {}).get("image_size")
        return side

    def _checked(self, changed: Mapping[str, Any]) -> Self:
        """A validated copy with other values; raises BadInput, naming the first field that the recipe refuses."""
        try:
            return type(self).model_validate({**self.model_dump(), **changed})
        except ValidationError as error:
            first = error.errors()[0]
            field = str(first.get("ctx", {}).get("field") or first["loc"][0])
            refused = f"{self.start} cannot be trained further by recipe {self.recipe}: {first['msg']}"
            raise _unfit(field, refused) from error


def _check_images(params: ModelTraining, card: Card) -> None:
    """Raises BadInput for a model whose images have another size, or other channels, than the data."""
    architecture, start = card["architecture"], params.start
    channels = SETS[params.data].channels if params.data in SETS else params.channels
    had = architecture.get("channels", 3)
    is_converted = params.data in SETS and had == 1  # a named set becomes gray for a gray model
    if channels != had and not is_converted:
        message = f"has images of {channels} channels, and {start} of {had}; they must agree"
        raise _unfit("data", f"{params.data[:16]} {message}")
    was = card["source"].get("data")
    if params.recipe == "classifier" and params.data in SETS and was in SETS and was != params.data:
        raise _unfit("data", f"{start} answers questions about {was}, not about {params.data}; they must agree")
    size = params.side_of(card)
    is_given = params.data in SETS or params.image_size is not None
    if size and is_given and params.size != size:
        field = "data" if params.data in SETS else "image_size"
        raise _unfit(
            field, f"images of {params.size} x {params.size} pixels, and {start} of {size} x {size}; they must agree"
        )


def _unfit(field: str, message: str) -> BadInput:
    return BadInput("model_mismatch", f"{field}: {message}.", field=field)
