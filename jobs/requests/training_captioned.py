"""Trainings on images with captions."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from jobs.errors import BadInput
from jobs.requests.architectures import capabilities, part_of
from jobs.requests.base import ModelId, Uses, invalid, unknown_model, whole
from jobs.requests.datasets import SETS
from jobs.requests.facts import Card, Facts
from jobs.requests.text_to_image import Prompt
from jobs.requests.training_base import (
    Batch,
    Channels,
    Decay,
    Every,
    ModelTraining,
    Rate,
    Steps,
    TrainingRequest,
    Weight,
)

CAPTIONED = [name for name, known in SETS.items() if known.attributes]  # those that are drawn here
LevelWidth = Annotated[int, Field(ge=32, le=256, multiple_of=32), BeforeValidator(whole)]
Levels = Annotated[list[LevelWidth], Field(min_length=1, max_length=5, description="Channels of each level.")]
Blocks = Annotated[int, Field(ge=1, le=4, description="Residual blocks of each level.")]
Share = Annotated[float, Field(ge=0, le=1)]
ClipId = Annotated[ModelId | None, Field(description="A CLIP, or a model that has one; that of the start when absent.")]
AutoencoderId = Annotated[
    ModelId | None, Field(description="An autoencoder, or a model that has one; that of the start when absent.")
]


def check_captioned(request: TrainingRequest) -> None:
    """Raises a validation error for a named set without captions; those of an archive are known to the job alone."""
    if request.data in SETS and request.data not in CAPTIONED:
        allowed = f"{', '.join(CAPTIONED)} or an archive"
        raise invalid("data", f"{request.data} has no captions; recipe {request.recipe} takes {allowed}")


class LoraTraining(TrainingRequest):
    """A LoRA, a small change of a text-to-image model that teaches it what a captioned set shows.

    Hu et al. 2022, "LoRA: low-rank adaptation of large language models".
    """

    max_side: ClassVar[int] = 1024

    recipe: Literal["lora"]
    model: Annotated[
        ModelId, Field(description="The text-to-image model that the LoRA changes; it stays as it is itself.")
    ]
    image_size: Annotated[
        int | None,
        Field(
            ge=32,
            le=1024,
            multiple_of=8,
            description="Side in pixels that the images of an archive are resized to, by default the model's own; a "
            "named set has its own.",
        ),
    ] = None
    num_steps: Steps = 400
    batch_size: Batch = 4
    sample_every: Every = 100
    checkpoint_every: Every = 100
    rank: Annotated[int, Field(ge=1, le=128, description="Rank of the change of each layer.")] = 8
    alpha: Annotated[
        float | None, Field(gt=0, le=1024, description="The change is scaled by alpha / rank; the rank when absent.")
    ] = None
    train_text_encoder: Annotated[
        bool, Field(description="Whether the text encoders change too; new words are learned faster.")
    ] = False
    prompts: Annotated[
        list[Prompt],
        Field(max_length=8, description="Of the samples, two each, always of the same seeds; else captions."),
    ] = []
    learning_rate: Rate = 1e-3
    snr_gamma: Annotated[
        float | None,
        Field(gt=0, le=100, description="Of Min-SNR weighting, usually 5; all timesteps count the same when absent."),
    ] = None
    ema_decay: Decay = 0.99

    @model_validator(mode="after")
    def _has_captions(self) -> Self:
        check_captioned(self)
        return self

    @property
    def begins_with(self) -> str:
        """The model that the LoRA changes."""
        return self.model

    def resolved(self, facts: Facts) -> TrainingRequest:
        """Fills in the size of an archive's images, by default the model's own; raises BadInput for other models."""
        side = trainable_side(facts.cards(), self.model)
        size = self.image_size or min(side, self.max_side)
        return super().resolved(facts).model_copy(update={"image_size": size if self.archive else None})


def trainable_side(cards: Mapping[str, Card], model: str) -> int:
    """Returns the side of a model's images; raises BadInput for one of which no LoRA can be trained."""
    prompted = {name: card["architecture"] for name, card in cards.items() if _has_unet(card)}
    if model in prompted:
        side: int = prompted[model]["image_size"]
        return side
    allowed = ", ".join(prompted) or "none here"
    if model not in cards:
        raise unknown_model("model", f"No model is called {model!r}", list(prompted))
    what = f"No LoRA can be trained of {model}, which is no text-to-image model with a UNet and CLIP"
    raise BadInput("model_mismatch", f"model: {what}; of these: {allowed}.", field="model", allowed=list(prompted))


def _has_unet(card: Card) -> bool:
    architecture = card["architecture"]
    return capabilities(architecture).is_prompted and bool(architecture.get("clip", True))


class ClipTraining(ModelTraining):
    """A CLIP: image and text encoders of one space, from captions.

    Radford et al. 2021, "Learning transferable visual models from natural language supervision".
    """

    shape: ClassVar[tuple[str, ...]] = (
        "base_channels",
        "hidden_size",
        "text_layers",
        "projection_dim",
        "context_length",
    )
    part: ClassVar[str] = "clip"

    recipe: Literal["clip"]
    num_steps: Steps = 800
    batch_size: Batch = 128
    sample_every: Every = 1000
    checkpoint_every: Every = 500
    base_channels: Channels = 32
    hidden_size: Annotated[int, Field(ge=32, le=512, multiple_of=32, description="Width of the text encoder.")] = 128
    text_layers: Annotated[int, Field(ge=1, le=12, description="Layers of the text encoder.")] = 2
    projection_dim: Annotated[int, Field(ge=8, le=1024, description="Values of an embedding.")] = 128
    context_length: Annotated[int, Field(ge=8, le=256, description="Tokens of a text that are read.")] = 32
    n_merges: Annotated[
        int, Field(ge=0, le=10_000, description="Tokens learned from the captions; those of the start if there is one.")
    ] = 110
    learning_rate: Rate = 2e-3
    weight_decay: Annotated[float, Field(ge=0, le=10, description="Weight decay of AdamW.")] = 0.1
    alike: Annotated[int, Field(ge=1, le=64, description="Images of similar colors in a group of a batch.")] = 16
    word_weight: Weight = 10.0
    noise: Annotated[float, Field(ge=0, le=1, description="Standard deviation of the noise added to images.")] = 0.03

    @model_validator(mode="after")
    def _has_captions(self) -> Self:
        check_captioned(self)
        check_side(self, 16)
        return self


class AutoencoderTraining(ModelTraining):
    """An autoencoder for latent diffusion: with a codebook (`movq`) or a KL divergence (`autoencoder-kl`).

    Zheng et al. 2022, "MoVQ"; Rombach et al. 2022, section 3.1. It needs no captions.
    """

    part: ClassVar[str] = "autoencoder"

    recipe: Literal["autoencoder"]
    num_steps: Steps = 1800
    batch_size: Batch = 16
    sample_every: Every = 500
    checkpoint_every: Every = 500
    architecture: Annotated[
        Literal["movq", "autoencoder-kl"],
        Field(description="`movq` for a decoder of CLIP's embeddings, `autoencoder-kl` for text to image."),
    ] = "movq"
    block_out_channels: Levels = [32, 64, 64]
    layers_per_block: Blocks = 1
    latent_channels: Annotated[int, Field(ge=1, le=64, description="Channels of the latents.")] = 4
    num_vq_embeddings: Annotated[int, Field(ge=2, le=16_384, description="Vectors of a MoVQ's codebook.")] = 1024
    patch_size: Annotated[Literal[1, 2, 4, 8], Field(description="Side of a MoVQ's patches in pixels.")] = 1
    learning_rate: Rate = 1e-3
    commitment_weight: Weight = 0.25
    latent_noise: Annotated[
        float, Field(ge=0, le=10, description="Noise on a MoVQ's latents; above 0 no codes are used.")
    ] = 0.0
    kl_weight: Weight = 1e-4
    perceptual_weight: Weight = 0.0
    sharpness_weight: Weight = 0.0
    learned: Annotated[
        Literal["all", "decoder"],
        Field(description="`decoder` keeps the latents of the start, which other models use."),
    ] = "all"

    def shape_of(self, architecture: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that are arguments of an autoencoder."""
        names = ("block_out_channels", "layers_per_block", "latent_channels", "num_vq_embeddings", "patch_size")
        values = {name: architecture[name] for name in names if name in architecture}
        return {"architecture": architecture["name"], **values}

    def side_of(self, card: Card) -> None:
        """None: an autoencoder takes images of any side."""

    @model_validator(mode="after")
    def _has_levels(self) -> Self:
        patch = self.patch_size if self.architecture == "movq" else 1
        check_side(self, patch * 2 ** (len(self.block_out_channels) - 1))
        if self.learned == "decoder" and self.start is None:
            raise invalid("learned", "A decoder alone is trained from a start, whose latents it decodes")
        return self


class _LatentTraining(ModelTraining):
    """What trainings of diffusion models of latents share."""

    part_kinds: ClassVar[dict[str, tuple[str, ...]]]  # the architectures of the models that the fields may name

    clip: ClipId = None
    autoencoder: AutoencoderId = None
    learning_rate: Rate = 5e-4
    dropped: Annotated[Share, Field(description="Share of images without their condition, for guidance.")] = 0.1
    ema_decay: Decay = 0.999

    @model_validator(mode="after")
    def _has_parts(self) -> Self:
        check_captioned(self)
        if self.start is None and not (self.clip and self.autoencoder):
            raise invalid("start", "Field required; only a training with clip and autoencoder goes without")
        return self

    def uses(self) -> Uses:
        """The archive, the start and the parts."""
        used = super().uses()
        return used._replace(models=(*used.models, *(name for name in (self.clip, self.autoencoder) if name)))

    def resolved(self, facts: Facts) -> TrainingRequest:
        """Fills in the shape of the start; raises BadInput for parts that are none, or of another size."""
        cards, resolved = facts.cards(), super().resolved(facts)
        for field, kinds in self.part_kinds.items():
            if name := getattr(self, field):
                self._check_part(cards, field, name, kinds, resolved.size)
        return resolved

    def _check_part(self, cards: Mapping[str, Card], field: str, name: str, kinds: tuple[str, ...], side: int) -> None:
        parts = {each: part_of(card["architecture"], field) for each, card in cards.items()}
        usable = [each for each, part in parts.items() if part.get("name") in kinds]
        if name not in usable:
            code = "model_mismatch" if name in cards else "unknown_model"
            what = (
                f"{name} has none that recipe {self.recipe} can use"
                if name in cards
                else f"No model is called {name!r}"
            )
            raise BadInput(
                code, f"{field}: {what}; there are {', '.join(usable) or 'none'}.", field=field, allowed=usable
            )
        if parts[name].get("image_size", side) != side and self.recipe == "kandinsky":
            what = f"{name} is of {parts[name]['image_size']} pixels a side, and the images have {side}"
            raise BadInput("model_mismatch", f"{field}: {what}; they must agree.", field=field)


class StableDiffusionTraining(_LatentTraining):
    """A text-to-image model, a latent diffusion model with the classes of Stable Diffusion.

    Rombach et al. 2022, "High-resolution image synthesis with latent diffusion models".
    """

    shape: ClassVar[tuple[str, ...]] = ("block_out_channels", "layers_per_block")
    part_kinds: ClassVar[dict[str, tuple[str, ...]]] = {"clip": ("clip",), "autoencoder": ("autoencoder-kl",)}

    recipe: Literal["stable-diffusion"]
    num_steps: Steps = 6000
    batch_size: Batch = 32
    sample_every: Every = 500
    checkpoint_every: Every = 500
    block_out_channels: Levels = [64, 128, 192]
    layers_per_block: Blocks = 1
    paraphrased: Annotated[
        Share, Field(description="Share of captions written in other words, anew each time; of the set avatars only.")
    ] = 0.0
    timestep_location: Annotated[
        float | None, Field(ge=-3, le=3, description="Location of logit-normal timesteps; uniform when absent.")
    ] = None

    @model_validator(mode="after")
    def _has_words(self) -> Self:
        if self.paraphrased and self.data != "avatars":
            raise invalid("paraphrased", "Only captions of the set avatars can be written in other words")
        if self.start and self.clip:
            raise invalid("clip", "The start has its own text encoder")
        check_side(self, 16)
        return self


class KandinskyTraining(_LatentTraining):
    """A decoder of CLIP's embeddings with the classes of Kandinsky 2.2, and a linear prior of texts: a space.

    Razzhigaev et al. 2023, "Kandinsky: an improved text-to-image synthesis with image prior and latent diffusion".
    """

    shape: ClassVar[tuple[str, ...]] = ("block_out_channels", "layers_per_block")
    inherited: ClassVar[tuple[str, ...]] = ("guidance_scale", "num_inference_steps", "last_timestep")
    part_kinds: ClassVar[dict[str, tuple[str, ...]]] = {"clip": ("clip",), "autoencoder": ("movq",)}

    recipe: Literal["kandinsky"]
    num_steps: Steps = 8000
    batch_size: Batch = 32
    sample_every: Every = 500
    checkpoint_every: Every = 500
    block_out_channels: Levels = [64, 96, 160]
    layers_per_block: Blocks = 1
    ridge: Annotated[float, Field(ge=0, le=1e6, description="Weight of the L2 penalty on the prior's weights.")] = 1.0
    guidance_scale: Annotated[float, Field(ge=0, le=30, description="Of samplings.")] = 2.0
    num_inference_steps: Annotated[int, Field(ge=1, le=1000, description="Of samplings.")] = 25
    last_timestep: Annotated[int, Field(ge=0, le=998, description="At which samplings end.")] = 0

    def side_of(self, card: Card) -> int:
        """The side of the images of the CLIP."""
        side: int = part_of(card["architecture"], "clip")["image_size"]
        return side

    @model_validator(mode="after")
    def _has_side(self) -> Self:
        check_side(self, 16)
        return self


def check_side(request: TrainingRequest, factor: int) -> None:
    """Raises a validation error for images whose side the recipe cannot halve as often as it needs to."""
    if request.size % factor:
        field = "image_size" if request.archive else "data"
        raise invalid(field, f"Input should have a side that is a multiple of {factor}, not {request.size}")
