"""Trainings, a class for each recipe; names and defaults are those of models/training."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, Tag, model_validator

from jobs.requests.architectures import RECIPES
from jobs.requests.base import ImageRef, chosen_by, invalid
from jobs.requests.datasets import SETS, Data
from jobs.requests.training_base import (
    MIN_IMAGES,
    Attribute,
    Batch,
    Channels,
    Decay,
    Dim,
    Every,
    LevelChannels,
    ModelTraining,
    NormedBatch,
    Rate,
    Steps,
    Weight,
)
from jobs.requests.training_captioned import (
    AutoencoderTraining,
    ClipTraining,
    KandinskyTraining,
    LoraTraining,
    StableDiffusionTraining,
)


class VaeTraining(ModelTraining):
    """A variational autoencoder: perceptrons for gray images, convolutions for color images.

    Kingma and Welling 2014, "Auto-encoding variational Bayes".
    """

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
    def _power_of_two(self) -> Self:
        if self.archive and self.size & (self.size - 1):
            raise invalid("image_size", "Input should be 16, 32, 64 or 128 for recipe vae")
        return self


class GanTraining(ModelTraining):
    """A generative adversarial network of perceptrons, for gray images.

    Goodfellow et al. 2014, "Generative adversarial nets".
    """

    channels: ClassVar[int] = 1
    default_size: ClassVar[int] = 28
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
    def _gray(self) -> Self:
        if self.data in SETS and SETS[self.data].channels != 1:
            raise invalid(
                "data", f"{self.data} has colors; recipe gan takes digits, mnist, fashion-mnist or an archive"
            )
        return self


class DcganTraining(ModelTraining):
    """A DCGAN of 64 x 64 pixels, then its encoder.

    Radford, Metz and Chintala 2016, "Unsupervised representation learning with deep convolutional generative
    adversarial networks".
    """

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
    def _side(self) -> Self:
        if self.size != 64:
            raise invalid(
                "image_size" if self.archive else "data", "Recipe dcgan takes 64 x 64: avatars, smileys or archives"
            )
        return self


class CycleganTraining(ModelTraining):
    """A CycleGAN: translates between two classes of images, or images without and with an attribute, unpaired.

    Zhu et al. 2017, "Unpaired image-to-image translation using cycle-consistent adversarial networks".
    """

    shape: ClassVar[tuple[str, ...]] = ("base_channels", "n_blocks")

    recipe: Literal["cyclegan"]
    attribute: Annotated[
        Attribute | None,
        Field(description="Domain b: an attribute or class. When absent, the second class of an archive that has two."),
    ] = None
    matched: Annotated[
        list[Attribute], Field(max_length=8, description="Attributes made equally frequent in both domains.")
    ] = []
    num_steps: Steps = 3000
    batch_size: Batch = 8
    sample_every: Every = 250
    checkpoint_every: Every = 250
    base_channels: Channels = 24
    n_blocks: Annotated[int, Field(ge=1, le=16, description="Residual blocks of each generator.")] = 4
    discriminator_layers: Annotated[
        Literal[2, 3],
        Field(description="Layers that halve the resolution: with 2 a patch has 26 pixels, with 3, 54."),
    ] = 2
    learning_rate: Rate = 4e-4
    lambda_cycle: Weight = 2.0
    cycle_noise: Annotated[
        float,
        Field(ge=0, le=1, description="Noise added to a translation before it is translated back."),
    ] = 0.1
    lambda_identity: Weight = 1.0
    pool_size: Annotated[
        int,
        Field(ge=1, le=1024, description="Earlier translations shown to the discriminators; at least a batch."),
    ] = 50
    ema_decay: Decay = 0.995

    @model_validator(mode="after")
    def _has_attributes(self) -> Self:
        if self.pool_size < self.batch_size:
            raise invalid("pool_size", f"Input should be at least batch_size, which is {self.batch_size}")
        if self.attribute in self.matched:
            raise invalid("matched", f"{self.attribute} is what the two domains differ in: it cannot be matched")
        if self.attribute is None and not self.archive:
            raise invalid("attribute", "Field required; only an archive with two classes goes without")
        self.check_attributes("attribute", [self.attribute] if self.attribute else [])
        self.check_attributes("matched", self.matched)
        return self


class DdpmTraining(ModelTraining):
    """A diffusion model in pixel space, without prompts.

    Ho, Jain and Abbeel 2020, "Denoising diffusion probabilistic models".
    """

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
            description="Attributes of the set that the model is conditioned on; samples can be asked for by them.",
            json_schema_extra={"uniqueItems": True},
        ),
    ] = []
    block_out_channels: Annotated[
        list[LevelChannels], Field(min_length=1, max_length=5, description="Channels of each level of the UNet.")
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
            description="Location of logit-normal timesteps: below 0 they have less noise. Uniform when absent.",
        ),
    ] = None
    ema_decay: Decay = 0.998

    @model_validator(mode="after")
    def _has_attributes(self) -> Self:
        if len(set(self.attributes)) < len(self.attributes):
            raise invalid("attributes", "Each may be named once")
        self.check_attributes("attributes", self.attributes)
        return self


class ClassifierTraining(ModelTraining):
    """A classifier of a set's labels, or of each of its attributes where it has no labels."""

    recipe: Literal["classifier"]
    num_steps: Steps = 3000
    batch_size: NormedBatch = 64
    sample_every: Every = 1000
    checkpoint_every: Every = 500
    learning_rate: Rate = 2e-3
    weight_decay: Annotated[float, Field(ge=0, le=10, description="Weight decay of AdamW.")] = 0.01
    noise: Annotated[float, Field(ge=0, le=1, description="The most noise added to an image.")] = 0.05
    base_channels: Channels = 32


class StyleTraining(ModelTraining):
    """A network that stylizes any photo in one pass, in the style of one painting; its id is then a `style` of `fast`.

    Johnson, Alahi and Fei-Fei 2016, "Perceptual losses for real-time style transfer and super-resolution".
    """

    default_size: ClassVar[int] = 256
    max_side: ClassVar[int] = 512
    shape: ClassVar[tuple[str, ...]] = ()

    recipe: Literal["style"]
    style: Annotated[ImageRef, Field(description="The painting whose style is learned.")]
    data: Data = "photos"
    limit: Annotated[int, Field(ge=MIN_IMAGES, le=100_000, description="Use so many images at most.")] = 512
    image_size: Annotated[
        int | None,
        Field(
            ge=64,
            le=512,
            multiple_of=4,
            description="Side in pixels that the images of an archive are resized to; a named set has its own.",
        ),
    ] = None
    num_steps: Steps = 400
    batch_size: Batch = 4
    sample_every: Every = 100
    checkpoint_every: Every = 50
    style_size: Annotated[
        int,
        Field(
            ge=64,
            le=2048,
            description="Longer side of the painting in pixels, which gives strokes their size: that of the outputs.",
        ),
    ] = 512
    content_weight: Weight = 1.0
    style_weight: Weight = 20.0
    tv_weight: Weight = 10.0
    learning_rate: Rate = 2e-3


Training = Annotated[
    Annotated[VaeTraining, Tag("<vae>")]
    | Annotated[GanTraining, Tag("<gan>")]
    | Annotated[DcganTraining, Tag("<dcgan>")]
    | Annotated[CycleganTraining, Tag("<cyclegan>")]
    | Annotated[DdpmTraining, Tag("<ddpm>")]
    | Annotated[ClassifierTraining, Tag("<classifier>")]
    | Annotated[StyleTraining, Tag("<style>")]
    | Annotated[StableDiffusionTraining, Tag("<stable-diffusion>")]
    | Annotated[KandinskyTraining, Tag("<kandinsky>")]
    | Annotated[LoraTraining, Tag("<lora>")]
    | Annotated[ClipTraining, Tag("<clip>")]
    | Annotated[AutoencoderTraining, Tag("<autoencoder>")],
    chosen_by("recipe", RECIPES),
]
