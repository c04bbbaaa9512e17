"""What a generation from a prompt adds to its model for one job: LoRAs and textual inversions."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, Field

from jobs.errors import BadInput
from jobs.requests.base import STRICT, ModelId
from jobs.requests.facts import Card

TITLES = {"lora": "LoRA", "textual-inversion": "textual inversion"}  # by task


class Lora(BaseModel):
    """A low-rank change of a model's weights (Hu et al. 2022)."""

    model_config = STRICT
    model: Annotated[ModelId, Field(description="A LoRA of the model's own base; `GET /v1/models` lists them.")]
    scale: Annotated[float, Field(ge=-2, le=2, description="How much of the change; 1: all.")] = 1.0


def check_addition(cards: Mapping[str, Card], model: Card, task: str, name: str, field: str) -> None:
    """Raises BadInput, naming the field, for an addition that is unknown, or of another base than the model's."""
    bases = {other: card["architecture"]["base"] for other, card in cards.items() if card["task"] == task}
    own = model["architecture"].get("base", model["id"])
    allowed = [other for other, base in bases.items() if base == own]
    if name not in allowed:
        base = bases.get(name)
        what = f"{name!r} is a {TITLES[task]} of {base}" if base else f"No {TITLES[task]} is called {name!r}"
        takes = f"{model['id']} takes those of {own}: {', '.join(allowed) or 'there are none'}"
        code = "model_mismatch" if base else "unknown_model"
        raise BadInput(code, f"{field}: {what}; {takes}.", field=field, model=model["id"], allowed=allowed)
