"""What all generations share: the model must exist and support the mode, and fills in its own defaults."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field

from jobs.errors import BadInput
from jobs.requests.architectures import capabilities
from jobs.requests.base import ModelId, ModelRequest, unknown_model
from jobs.requests.facts import Card, Facts


class GenerationRequest(ModelRequest):
    """A request of images by a generative model; each mode is a subclass with a field `mode`."""

    kind: ClassVar[str] = "generation"

    mode: str

    @property
    def queue(self) -> str:
        """Only what a diffusion model makes has a number of steps once it is resolved."""
        return "gpu" if getattr(self, "num_inference_steps", None) else "fast"

    def resolved(self, facts: Facts) -> "GenerationRequest":
        """Fills in the defaults of the model; raises BadInput where the model cannot run the request."""
        cards, named = facts.cards(), self.named(facts)
        return named.fitted(named.card(cards)["architecture"])

    def named(self, facts: Facts) -> Self:
        """The request with its model named."""
        return self

    def fitted(self, architecture: Mapping[str, Any]) -> Self:
        """Fills in the defaults of a model, by the `architecture` of its card; raises BadInput, naming the field."""
        return self

    def card(self, cards: Mapping[str, Card]) -> Card:
        """The card of the model; raises BadInput where there is none, or the model does not support the mode."""
        modes = {name: capabilities(card["architecture"]).modes for name, card in cards.items()}
        usable = [name for name, known in modes.items() if known]
        if self.model not in usable:
            raise unknown_model("model", f"No model that generates is called {self.model!r}", usable)
        if self.mode not in modes[self.model]:
            able = [name for name in usable if self.mode in modes[name]]
            message = f"mode: Model {self.model} cannot do {self.mode!r}; {', '.join(able) or 'none here'} can."
            raise BadInput("mode_not_supported", message, field="mode", models=able, allowed=modes[self.model])
        return cards[self.model]

    def check_encoder(self, architecture: Mapping[str, Any]) -> None:
        """Raises BadInput for a request with images of a model without an encoder."""
        for field in {} if capabilities(architecture).encoder else self.image_refs():
            raise self.mismatch(field, "has no encoder: it takes seeds, not images")


class DefaultModelRequest(GenerationRequest):
    """A generation that may leave the choice of its model to the service."""

    model: Annotated[
        ModelId | None,
        Field(description="The model to run; `GET /v1/models` lists them. When absent, the default model of the mode."),
    ] = None  # type: ignore[assignment]  # `named` fills it in

    def named(self, facts: Facts) -> Self:
        """The request with the default model of its mode where it names none."""
        return self if self.model else self.model_copy(update={"model": facts.default_model(self.mode)})
