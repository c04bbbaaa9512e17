"""Style transfers by a diffusion model."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator

from jobs.errors import BadInput
from jobs.requests.architectures import capabilities
from jobs.requests.base import ImageRef, ModelRequest, distinct, unknown_model
from jobs.requests.facts import Facts
from jobs.requests.styles import KIND, ImageStyle, StyleLosses, Vgg16Layers, with_vectors
from jobs.requests.text_to_image import Prompt
from jobs.requests.upscale import UpscaledRequest

StyleGuidance = Annotated[float, Field(ge=0, le=2)]


class DiffusionTransfer(UpscaledRequest, ModelRequest):
    """Samples of a diffusion model, denoised towards the style (Dhariwal and Nichol 2021, classifier guidance).

    Those of a model of less than 256 px that are upscaled get brush strokes (Gatys et al. 2016).
    """

    kind: ClassVar[str] = KIND

    mode: Annotated[Literal["transfer"], Field(description="What to make.")] = "transfer"
    method: Literal["diffusion"]
    style: Annotated[ImageStyle, Field(description="A style image, or several with weights.")]
    prompt: Annotated[Prompt | None, Field(description="What to show, for a model that is conditioned on text.")] = None
    content: Annotated[
        ImageRef | None, Field(description="An image to start from; its center is cut out in the model's shape.")
    ] = None
    strength: Annotated[
        float | None, Field(ge=0.05, le=1, description="Share of the steps that change `content`; 0.6 when absent.")
    ] = None
    style_guidance_scale: Annotated[
        Annotated[StyleGuidance, Tag("<one>")]
        | Annotated[list[StyleGuidance], Field(min_length=2, max_length=8), Tag("<several>")],
        Discriminator(lambda value: "<several>" if isinstance(value, list) else "<one>"),
        Field(
            description="How far each step moves towards the style; several make a grid, a column each. Strokes on "
            "upscaled images grow with it up to 0.1.",
        ),
    ] = 0.1
    guided_from: Annotated[float, Field(ge=0, le=1, description="Share of the steps after which guidance begins.")] = (
        0.0
    )
    guided_to: Annotated[
        float, Field(ge=0, le=1, validate_default=True, description="Share of the steps after which guidance ends.")
    ] = 0.95
    style_layers: Vgg16Layers = ["relu1_1", "relu2_1", "relu3_1"]
    style_losses: StyleLosses = {"gram": 1.0}
    guidance_scale: Annotated[
        float | None, Field(ge=0, le=30, description="How far to exaggerate what the prompt changes; 4 when absent.")
    ] = None
    num_inference_steps: Annotated[int, Field(ge=2, le=1000, description="Denoising steps.")] = 30
    num_images_per_prompt: Annotated[int, Field(ge=1, le=8, description="Image k has the seed `seed` + k.")] = 1

    _each_once = field_validator("style_layers")(distinct)

    @field_validator("strength")
    @classmethod
    def _with_content(cls, strength: float | None, info: ValidationInfo) -> float | None:
        if strength is not None and not info.data.get("content"):
            raise ValueError("It says how far `content` is changed, and there is none")
        return strength

    @field_validator("guided_to")
    @classmethod
    def _after_its_beginning(cls, guided_to: float, info: ValidationInfo) -> float:
        if guided_to <= info.data.get("guided_from", 0):
            raise ValueError("Input should be greater than `guided_from`")
        return guided_to

    @property
    def scales(self) -> list[float]:
        """Each `style_guidance_scale`."""
        scales = self.style_guidance_scale
        return scales if isinstance(scales, list) else [scales]

    def resolved(self, facts: Facts) -> "DiffusionTransfer":
        """Fills in the model's own values; raises BadInput for a model whose denoising cannot be guided."""
        cards = facts.cards()
        guided = {name: card for name, card in cards.items() if capabilities(card["architecture"]).style_guided}
        if self.model not in guided:
            what = f"No diffusion model that can be guided is called {self.model!r}"
            raise unknown_model("model", what, list(guided))
        fitted = self.fitted(guided[self.model]["architecture"])
        return fitted.model_copy(update={"style": with_vectors(facts, self.style)})

    def fitted(self, architecture: Mapping[str, Any]) -> Self:
        """Fills in the model's own values, by the `architecture` of its card; raises BadInput, naming the field."""
        is_prompted = capabilities(architecture).is_prompted
        if is_prompted and self.prompt is None:
            raise self.mismatch("prompt", "needs a text")
        for field in ("prompt", "guidance_scale"):
            if not is_prompted and getattr(self, field) is not None:
                raise self.mismatch(field, "is not conditioned on text")
        if self.content and int(self.num_inference_steps * (self.strength or 0.6)) < 1:
            message = f"strength: {self.strength} leaves none of {self.num_inference_steps} steps."
            raise BadInput("too_few_steps", message, field="strength")
        return self.with_defaults(strength=0.6 if self.content else None, guidance_scale=4.0 if is_prompted else None)
