"""The parameters of a training, one model per recipe; names and defaults are those of models/training."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import BeforeValidator, Field, Tag, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from jobs.errors import BadInput
from jobs.schemas import ModelId, Request, chosen_by, whole

KIND = "training"
RECIPES = ("vae", "gan", "dcgan", "cyclegan", "ddpm", "classifier")
MODEL_ID = rf"^({'|'.join(RECIPES)})-[0-9a-f]{{12}}$"  # of a trained model: its recipe and the end of its job's id
MIN_PICTURES = 16


class NamedSet(NamedTuple):
    """What is known of a named set before it is read."""

    image_size: int
    channels: int
    attributes: tuple[str, ...] = ()


SETS = {
    "digits": NamedSet(16, 1),
    "mnist": NamedSet(28, 1),
    "fashion-mnist": NamedSet(28, 1),
    "avatars": NamedSet(
        *(64, 3),
        (
            *("woman", "glasses", "mustache", "hat", "long_hair", "neutral", "smiling", "frowning", "surprised"),
            *("black_hair", "brown_hair", "blond_hair", "red_hair", "grey_hair"),
            *("pale_skin", "tan_skin", "brown_skin", "dark_skin"),
            *("red_hat", "blue_hat", "green_hat", "yellow_hat", "purple_hat"),
            *("white_background", "blue_background", "green_background", "pink_background", "grey_background"),
        ),
    ),
    "flowers": NamedSet(
        *(128, 3),
        (
            *("bluebell", "blossom", "dahlia", "daisy", "iris", "lily", "poppy", "rose", "sunflower", "tulip"),
            *("white", "yellow", "orange", "red", "pink", "purple", "blue"),
            *("cream_background", "green_background", "grey_background", "slate_background"),
            *("sky_background", "dusk_background", "foliage_background", "leaves", "side_view"),
        ),
    ),
    "smileys": NamedSet(
        *(64, 3),
        (
            *("smiling", "neutral", "frowning", "surprised", "winking"),
            *("yellow_face", "orange_face", "green_face", "blue_face", "pink_face"),
            *("white_background", "grey_background", "navy_background", "teal_background", "lilac_background"),
            *("open_mouth", "large", "tilted_left"),
        ),
    ),
}
DATA = rf"^({'|'.join(SETS)}|zip_[0-9a-f]{{64}})$"

Data = Annotated[
    str,
    Field(
        pattern=DATA,
        description="A named set, or the `zip_…` id of an uploaded archive.",
        json_schema_extra={"format": "training-data"},
    ),
]
Steps = Annotated[int, Field(ge=1, le=1_000_000, description="Optimiser steps.")]
Every = Annotated[int, Field(ge=1, le=1_000_000, description="Steps from one to the next.")]
Batch = Annotated[int, Field(ge=1, le=1024, description="Pictures of one step.")]
NormedBatch = Annotated[int, Field(ge=2, le=1024, description="Pictures of one step.")]  # of one there is no variance
Rate = Annotated[float, Field(gt=0, le=1000, description="The optimiser's learning rate at its peak.")]
Decay = Annotated[float, Field(ge=0, le=0.99999, description="Of the weights' average, which is what is kept.")]
Dim = Annotated[int, Field(ge=1, le=512, description="Values of z.")]
Channels = Annotated[int, Field(ge=8, le=256, multiple_of=8, description="Channels of the first layer.")]
LevelChannels = Annotated[int, Field(ge=32, le=256, multiple_of=8), BeforeValidator(whole)]  # attention's heads have 32
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


class _Training(Request):
    channels: ClassVar[int] = 3  # pictures of archives are read in so many
    default_size: ClassVar[int] = 64  # and at this size
    architectures: ClassVar[tuple[str, ...]]  # of its models
    shape: ClassVar[tuple[str, ...]] = ("base_channels",)  # the fields that are arguments of an architecture

    data: Data
    start: Annotated[
        ModelId | None,
        Field(description="A model of the same architecture whose weights the training begins with."),
    ] = None
    title: Annotated[
        str | None, Field(min_length=1, max_length=100, description="What the model is to be called in lists.")
    ] = None
    limit: Annotated[
        int | None, Field(ge=MIN_PICTURES, le=100_000, description="Use so many pictures at most; all when absent.")
    ] = None
    image_size: Annotated[
        int | None,
        Field(
            ge=16,
            le=128,
            multiple_of=4,
            description="Side the pictures of an archive are brought to; a named set has its own.",
        ),
    ] = None
    batch_size: Batch

    @property
    def archive(self) -> str | None:
        """The sha256 of the archive it trains on, if it is no named set."""
        return self.data.removeprefix("zip_") if self.data not in SETS else None

    @property
    def needed(self) -> int:
        """How many pictures there must be."""
        return max(MIN_PICTURES, self.batch_size)

    @property
    def size(self) -> int:
        """The side of its pictures."""
        return SETS[self.data].image_size if self.data in SETS else self.image_size or self.default_size

    def _check_attributes(self, field: str, names: Sequence[str]) -> None:
        """Refuse what a named set lacks; of an archive, the job will know."""
        known = SETS[self.data].attributes if self.data in SETS else names
        if not set(names) <= set(known):
            _refuse(field, f"{self.data} has these attributes: {', '.join(known) or 'none'}")

    @model_validator(mode="after")
    def _fits(self) -> "_Training":
        if self.data in SETS and self.image_size is not None:
            _refuse("image_size", f"{self.data} has {self.size} x {self.size} pixels; only archives take a size")
        if self.limit is not None and self.limit < self.batch_size:
            _refuse("limit", f"Input should be at least batch_size, which is {self.batch_size}")
        return self


class VaeTraining(_Training):
    """A variational autoencoder: perceptrons for grey pictures, convolutions for colour.

    Kingma and Welling 2014, "Auto-encoding variational Bayes".
    """

    architectures: ClassVar[tuple[str, ...]] = ("mlp-vae", "conv-vae")
    shape: ClassVar[tuple[str, ...]] = ("latent_dim",)

    recipe: Literal["vae"]
    num_steps: Steps = 8000
    batch_size: Batch = 128
    sample_every: Every = 500
    checkpoint_every: Every = 500
    latent_dim: Dim = 2
    learning_rate: Rate = 1e-3
    beta: Annotated[float, Field(ge=0, le=1000, description="Weight of the KL divergence.")] = 1.0

    @model_validator(mode="after")
    def _power_of_two(self) -> "VaeTraining":
        if self.archive and self.size & (self.size - 1):
            _refuse("image_size", "Input should be 16, 32, 64 or 128 for recipe vae")
        return self


class GanTraining(_Training):
    """A generative adversarial network of perceptrons, for grey pictures.

    Goodfellow et al. 2014, "Generative adversarial nets".
    """

    channels: ClassVar[int] = 1
    default_size: ClassVar[int] = 28
    architectures: ClassVar[tuple[str, ...]] = ("mlp-gan",)
    shape: ClassVar[tuple[str, ...]] = ("latent_dim",)

    recipe: Literal["gan"]
    num_steps: Steps = 12000
    batch_size: NormedBatch = 128
    sample_every: Every = 1000
    checkpoint_every: Every = 1000
    latent_dim: Dim = 4
    learning_rate: Rate = 2e-4
    ema_decay: Decay = 0.998

    @model_validator(mode="after")
    def _grey(self) -> "GanTraining":
        if self.data in SETS and SETS[self.data].channels != 1:
            _refuse("data", f"{self.data} is in colour; recipe gan takes digits, mnist, fashion-mnist or an archive")
        return self


class DcganTraining(_Training):
    """A DCGAN of 64 x 64 pixels, and then its encoder.

    Radford, Metz and Chintala 2016, "Unsupervised representation learning with deep convolutional generative
    adversarial networks".
    """

    architectures: ClassVar[tuple[str, ...]] = ("dcgan",)
    shape: ClassVar[tuple[str, ...]] = ("latent_dim", "base_channels", "encoder_channels")

    recipe: Literal["dcgan"]
    num_steps: Steps = 5000
    batch_size: Batch = 64
    sample_every: Every = 500
    checkpoint_every: Every = 500
    latent_dim: Dim = 64
    base_channels: Channels = 48
    encoder_channels: Channels = 32
    learning_rate: Rate = 2e-4
    encoder_learning_rate: Rate = 1e-3
    ema_decay: Decay = 0.998
    encoder_share: Annotated[
        float, Field(ge=0, le=0.9, description="Share of the steps, at the end, for the encoder.")
    ] = 0.25

    @model_validator(mode="after")
    def _side(self) -> "DcganTraining":
        if self.size != 64:
            _refuse(
                "image_size" if self.archive else "data", "Recipe dcgan takes 64 x 64: avatars, smileys or archives"
            )
        return self


class CycleganTraining(_Training):
    """A CycleGAN: translates between two classes of images, or images without and with an attribute, unpaired.

    Zhu et al. 2017, "Unpaired image-to-image translation using cycle-consistent adversarial networks".
    """

    architectures: ClassVar[tuple[str, ...]] = ("cyclegan",)
    shape: ClassVar[tuple[str, ...]] = ("base_channels", "n_blocks")

    recipe: Literal["cyclegan"]
    attribute: Annotated[
        Attribute | None,
        Field(description="Kind b: an attribute or class. Of an archive with two classes the second one when absent."),
    ] = None
    matched: Annotated[
        list[Attribute], Field(max_length=8, description="Attributes made equally frequent on both sides.")
    ] = []
    num_steps: Steps = 3000
    batch_size: Batch = 8
    sample_every: Every = 250
    checkpoint_every: Every = 250
    base_channels: Channels = 24
    n_blocks: Annotated[int, Field(ge=1, le=16, description="Residual blocks of each generator.")] = 4
    discriminator_layers: Annotated[
        Literal[2, 3], Field(description="That halve: with 2 a patch has 26 pixels, with 3 54.")
    ] = 2
    learning_rate: Rate = 4e-4
    lambda_cycle: Weight = 2.0
    cycle_noise: Annotated[
        float, Field(ge=0, le=1, description="Noise on a translation before it is taken back; of pictures in [-1, 1].")
    ] = 0.1
    lambda_identity: Weight = 1.0
    pool_size: Annotated[
        int, Field(ge=1, le=1024, description="Older fakes the discriminators are shown again; at least a batch.")
    ] = 50
    ema_decay: Decay = 0.995

    @model_validator(mode="after")
    def _has_attributes(self) -> "CycleganTraining":
        if self.pool_size < self.batch_size:
            _refuse("pool_size", f"Input should be at least batch_size, which is {self.batch_size}")
        if self.attribute in self.matched:
            _refuse("matched", f"{self.attribute} is what the two sides differ in: it cannot be matched")
        if self.attribute is None and not self.archive:
            _refuse("attribute", "Field required; only an archive with two classes goes without")
        self._check_attributes("attribute", [self.attribute] if self.attribute else [])
        self._check_attributes("matched", self.matched)
        return self


class DdpmTraining(_Training):
    """A diffusion model in pixel space, without prompts.

    Ho, Jain and Abbeel 2020, "Denoising diffusion probabilistic models".
    """

    architectures: ClassVar[tuple[str, ...]] = ("ddpm",)
    shape: ClassVar[tuple[str, ...]] = ("block_out_channels", "layers_per_block", "patch_size", "attributes")

    recipe: Literal["ddpm"]
    num_steps: Steps = 8000
    batch_size: Batch = 64
    sample_every: Every = 500
    checkpoint_every: Every = 500
    attributes: Annotated[
        list[Attribute],
        Field(
            max_length=64,
            description="Attributes of the set that the model is told, and that samples can be asked for.",
            json_schema_extra={"uniqueItems": True},
        ),
    ] = []
    block_out_channels: Annotated[
        list[LevelChannels], Field(min_length=1, max_length=5, description="Of the UNet, level by level.")
    ] = [32, 64, 64]
    layers_per_block: Annotated[int, Field(ge=1, le=4, description="Residual blocks of each level.")] = 1
    patch_size: Annotated[
        Literal[1, 2, 4, 8], Field(description="Side of the blocks of pixels that the UNet works on.")
    ] = 2
    learning_rate: Rate = 1e-3
    timestep_location: Annotated[
        float | None,
        Field(
            ge=-3,
            le=3,
            description="Of logit-normal times: at 0 most have middling noise, below it less. Uniform if absent.",
        ),
    ] = None
    ema_decay: Decay = 0.998

    @model_validator(mode="after")
    def _has_attributes(self) -> "DdpmTraining":
        if len(set(self.attributes)) < len(self.attributes):
            _refuse("attributes", "Each may be named once")
        self._check_attributes("attributes", self.attributes)
        return self


class ClassifierTraining(_Training):
    """A classifier of a set's labels, or of each of its attributes where it has no labels."""

    architectures: ClassVar[tuple[str, ...]] = ("classifier",)

    recipe: Literal["classifier"]
    num_steps: Steps = 3000
    batch_size: NormedBatch = 64
    sample_every: Every = 1000
    checkpoint_every: Every = 500
    learning_rate: Rate = 2e-3
    weight_decay: Annotated[float, Field(ge=0, le=10, description="Of AdamW.")] = 0.01
    noise: Annotated[float, Field(ge=0, le=1, description="The most noise put on a picture.")] = 0.05
    base_channels: Channels = 32


def _refuse(field: str, message: str) -> None:
    raise PydanticCustomError("training", message, {"field": field})


Training = VaeTraining | GanTraining | DcganTraining | CycleganTraining | DdpmTraining | ClassifierTraining
TrainingParams = Annotated[
    Annotated[VaeTraining, Tag("<vae>")]
    | Annotated[GanTraining, Tag("<gan>")]
    | Annotated[DcganTraining, Tag("<dcgan>")]
    | Annotated[CycleganTraining, Tag("<cyclegan>")]
    | Annotated[DdpmTraining, Tag("<ddpm>")]
    | Annotated[ClassifierTraining, Tag("<classifier>")],
    chosen_by("recipe", RECIPES),
]


def started(params: Training, card: Mapping[str, Any]) -> Training:
    """The parameters with the shape of the model that a training begins with, of which `card` is the card.

    Raises BadInput, naming the field and what must agree, where data or fields that were set do not fit the model.
    """
    architecture, start = card["architecture"], params.start
    if architecture.get("name") not in params.architectures:
        what = f"{start} is of {architecture.get('name') or 'no'} architecture"
        raise _unfit("start", f"{what}; recipe {params.recipe} begins with {' or '.join(params.architectures)}")
    _check_images(params, card)
    changed: dict[str, Any] = {}
    for field in params.shape:
        has = architecture.get(field, [] if field == "attributes" else None)
        if field == "attributes" and not has:
            continue  # a model that is conditioned on none can learn some
        if field in params.model_fields_set and getattr(params, field) != has:
            raise _unfit(field, f"{start} has {has}, and the training that begins with it must have the same")
        changed[field] = has
    if params.archive and "image_size" in architecture:
        changed["image_size"] = architecture["image_size"]
    try:
        return type(params).model_validate({**params.model_dump(), **changed})
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first.get("ctx", {}).get("field") or first["loc"][0])
        raise _unfit(field, f"{start} cannot be trained further by recipe {params.recipe}: {first['msg']}") from error


def _check_images(params: Training, card: Mapping[str, Any]) -> None:
    """Refuse a start whose images are of another size, or of other channels, than the data."""
    architecture, start = card["architecture"], params.start
    channels = SETS[params.data].channels if params.data in SETS else params.channels
    if channels != architecture["channels"]:
        message = f"has images of {channels} channels, and {start} of {architecture['channels']}; they must agree"
        raise _unfit("data", f"{params.data[:16]} {message}")
    was = card["source"].get("data")
    if params.recipe == "classifier" and params.data in SETS and was in SETS and was != params.data:
        raise _unfit("data", f"{start} answers questions about {was}, not about {params.data}; they must agree")
    size = architecture.get("image_size") or card.get("training", {}).get("image_size")
    is_given = params.data in SETS or params.image_size is not None
    if size and is_given and params.size != size:
        field = "data" if params.data in SETS else "image_size"
        raise _unfit(
            field, f"images of {params.size} x {params.size} pixels, and {start} of {size} x {size}; they must agree"
        )


def _unfit(field: str, message: str) -> BadInput:
    return BadInput("model_mismatch", f"{field}: {message}.", field=field)
