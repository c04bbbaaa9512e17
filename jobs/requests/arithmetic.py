"""Latent arithmetic: sums and differences of the latent codes of images, seeds, vectors and attributes."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from jobs.errors import BadInput
from jobs.requests.base import STRICT, ImageRef, ModelId, Uses, check_attribute, distinct
from jobs.requests.facts import Card, Facts
from jobs.requests.generation_base import GenerationRequest
from jobs.requests.latents import AttributeNames, Seed
from jobs.requests.upscale import UpscaledRequest

Questions = Sequence[Sequence[str]]  # each question's possible answers
NOTHING = 1e-9  # a sum of weights that is rounding error


class _Term(BaseModel):
    model_config = STRICT
    sign: Annotated[Literal["+", "-"], Field(description="Added or subtracted.")]
    weight: Annotated[float, Field(ge=0.01, le=10, description="How many times.")] = 1.0


class ImageTerm(_Term):
    """The z of an image."""

    image: ImageRef


class SeedTerm(_Term):
    """The z of a seed."""

    seed: Seed


class VectorTerm(_Term):
    """A z by its values."""

    z: Annotated[list[Annotated[float, Field(ge=-100, le=100)]], Field(min_length=1, max_length=256)]


class AttributeTerm(_Term):
    """The mean z of samples in which the classifier sees all of `with` and none of `without`."""

    model_config = ConfigDict(
        **STRICT,
        serialize_by_alias=True,
        json_schema_extra={
            "anyOf": [{"required": [name], "properties": {name: {"minItems": 1}}} for name in ("with", "without")]
        },
    )
    with_: Annotated[AttributeNames, Field(alias="with")] = []
    without: AttributeNames = []

    _each_once = field_validator("with_", "without")(distinct)

    @model_validator(mode="after")
    def _can_be_met(self) -> "AttributeTerm":
        if not self.with_ and not self.without:
            raise ValueError("At least one attribute is needed in `with` or `without`")
        if both := set(self.with_) & set(self.without):
            raise ValueError(f"{min(both)!r} cannot be both in `with` and in `without`")
        return self


class DirectionTerm(_Term):
    """The direction in which an attribute appears, one standard deviation long.

    Fitted linearly to samples with and without it; Shen et al. 2020, "Interpreting the latent space of GANs for
    semantic face editing", section 3.1.
    """

    attribute: Annotated[str, Field(min_length=1, max_length=64, description="One that the classifier recognizes.")]


def _term_type(term: Any) -> str | None:
    """The tag of the sort of term that a value is meant to be, by the field it has."""
    given = term if isinstance(term, dict) else vars(term) if isinstance(term, _Term) else {}
    tags = {"image": "<image>", "seed": "<seed>", "z": "<z>", "attribute": "<attribute>"}
    tags |= dict.fromkeys(("with", "with_", "without"), "<attributes>")
    return next((tag for name, tag in tags.items() if name in given), None)


Term = Annotated[
    Annotated[ImageTerm, Tag("<image>")]
    | Annotated[SeedTerm, Tag("<seed>")]
    | Annotated[VectorTerm, Tag("<z>")]
    | Annotated[AttributeTerm, Tag("<attributes>")]
    | Annotated[DirectionTerm, Tag("<attribute>")],
    Discriminator(
        _term_type,
        custom_error_type="term",
        custom_error_message="Input should be an object with a `sign` and one of `image`, `seed`, `z`, "
        "`attribute`, or `with` and `without`",
    ),
]


class Arithmetic(UpscaledRequest, GenerationRequest):
    """Sums and differences of latent vectors (Radford et al. 2016, section 6.3.2)."""

    mode: Literal["arithmetic"]
    terms: Annotated[list[Term], Field(min_length=1, max_length=8)]
    n: Annotated[
        int | None,
        Field(ge=1, le=16, description="Draws; each takes other samples for its attribute terms. 8 with such terms."),
    ] = None
    averaged: Annotated[
        int | None, Field(ge=1, le=4096, description="Samples averaged for each attribute term; 64 when absent.")
    ] = None
    classifier: Annotated[
        ModelId | None,
        Field(description="The classifier of attributes; the one trained on the model's own data when absent."),
    ] = None

    @property
    def attribute_terms(self) -> dict[int, AttributeTerm]:
        """The terms that name attributes, by their index."""
        return {i: term for i, term in enumerate(self.terms) if isinstance(term, AttributeTerm)}

    @property
    def direction_terms(self) -> dict[int, DirectionTerm]:
        """The terms that are the direction of an attribute, by their index."""
        return {i: term for i, term in enumerate(self.terms) if isinstance(term, DirectionTerm)}

    @field_validator("n", "averaged")
    @classmethod
    def _for_attributes(cls, value: int | None, info: ValidationInfo) -> int | None:
        terms = info.data.get("terms", [])
        if value and terms and not any(isinstance(term, AttributeTerm) for term in terms):
            raise ValueError("Draws differ by the samples of attribute terms, and there is no such term")
        return value

    def uses(self) -> Uses:
        """The model and its classifier."""
        return Uses(models=(self.model, self.classifier) if self.classifier else (self.model,))

    def resolved(self, facts: Facts) -> GenerationRequest:
        """Chooses the classifier and fills in the defaults of the model."""
        cards = facts.cards()
        model = self.card(cards)
        classifier = _classifier(cards, self, model)
        chosen = self.model_copy(update={"classifier": classifier["id"] if classifier else None})
        return chosen.fitted(model["architecture"], classifier["architecture"]["questions"] if classifier else ())

    def fitted(self, architecture: Mapping[str, Any], questions: Questions = ()) -> Self:
        """Fills in `n` and `averaged` where there are attribute terms; raises BadInput, naming the field.

        questions: of the classifier of the model's images, none where there is no classifier.
        """
        self.check_encoder(architecture)
        self._check_terms(architecture["latent_dim"], attribute_names(questions))
        return self.with_defaults(n=8, averaged=64) if self.attribute_terms else self

    def _check_terms(self, latent_dim: int, known: Sequence[str]) -> None:
        if _cancel(self.terms):
            raise BadInput("terms_cancel", "terms: Each is subtracted again, so nothing is left.", field="terms")
        for i, term in enumerate(self.terms):
            if isinstance(term, VectorTerm) and len(term.z) != latent_dim:
                raise self.mismatch(f"terms.{i}.z", f"has a z of {latent_dim} values, not {len(term.z)}")
        for i in self.attribute_terms | self.direction_terms:
            if not known:
                raise self.mismatch(f"terms.{i}", "has no classifier of its images, so attributes cannot be recognized")
        for i, direction in self.direction_terms.items():
            check_attribute(f"terms.{i}.attribute", direction.attribute, known)
        for i, attributes in self.attribute_terms.items():
            for field, names in (("with", attributes.with_), ("without", attributes.without)):
                for name in names:
                    check_attribute(f"terms.{i}.{field}", name, known)


def _cancel(terms: Sequence[Term]) -> bool:
    """Whether each term is subtracted as much as it is added."""
    sums: dict[str, float] = {}
    for term in terms:
        content = term.model_dump_json(exclude={"sign", "weight"})
        sums[content] = sums.get(content, 0) + signed(term)
    return not any(abs(weight) > NOTHING for weight in sums.values())


def signed(term: Term) -> float:
    """The weight of a term, below 0 where it is subtracted."""
    return term.weight if term.sign == "+" else -term.weight


def attribute_names(questions: Questions) -> list[str]:
    """The attributes a classifier recognizes: its answers, except the "no glasses" of "no glasses" or "glasses"."""
    yes_or_no = [len(answers) == 2 and answers[0] == f"no {answers[1]}" for answers in questions]
    return [name for answers, skip in zip(questions, yes_or_no, strict=True) for name in answers[skip:]]


def _classifier(cards: Mapping[str, Card], params: Arithmetic, model: Card) -> Card | None:
    """The classifier asked for, or the one of the model's own data; None where there is none."""
    of_its_data = {
        name: card
        for name, card in cards.items()
        if card["task"] == "classification" and card["source"]["data"] == model["source"]["data"]
    }
    fitting = {name: card for name, card in of_its_data.items() if _shape(card, model) == _shape(model, card)}
    if params.classifier in of_its_data and params.classifier not in fitting:
        other = of_its_data[params.classifier]
        message = f"{other['id']} was trained on images of {_shape(other)}, and {model['id']} makes {_shape(model)}"
        raise BadInput("model_mismatch", f"classifier: {message}; they must agree.", field="classifier")
    if params.classifier and params.classifier not in fitting:
        allowed = list(fitting)
        message = f"classifier: For {params.model} there are {', '.join(allowed) or 'none'}."
        raise BadInput("unknown_model", message, field="classifier", allowed=allowed)
    name = params.classifier or next(iter(fitting), None)
    return fitting[name] if name else None


def _shape(card: Card, other: Card | None = None) -> str:
    """The shape of a model's images, such as "64 x 64 pixels, 3 channels"; without a size that `other` lacks."""

    def size(of: Card) -> int | None:
        # The architecture of a classifier has no size; cards from before it was noted have none at all.
        noted: int | None = of["architecture"].get("image_size") or of.get("training", {}).get("image_size")
        return noted

    known = size(card) and (other is None or size(other))
    return (f"{size(card)} x {size(card)} pixels, " if known else "") + f"{card['architecture']['channels']} channels"
