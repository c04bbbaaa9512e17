"""What can be done in each space of collections: the one table that requests, their refusals and runners consult.

A space is named here, or it is that of a model: then its id is the space's, and `architectures.py` says what it can do.
"""

from typing import NamedTuple

from jobs.errors import BadInput
from jobs.requests.architectures import capabilities, dim_of
from jobs.requests.base import unknown_model
from jobs.requests.facts import Facts
from jobs.requests.styles import STYLE_DIM

PIXELS = "pixels"
STYLE = "style"
PHOTO = "photo"
PHOTO_DIM = 1280


class Space(NamedTuple):
    """What can be done in a space.

    model: the card whose files encode and decode, if it needs any. encodes: whether images become vectors. decodes:
    whether vectors become images. takes_content: whether decoding applies a vector to a content image. embeds_text:
    whether texts become vectors. sized: whether a request chooses the size and the channels of the images.
    standardize: whether values are scaled to variance 1 unless a request says otherwise. dim: values of a vector, where
    they are known without the model.
    """

    model: str | None = None
    encodes: bool = True
    decodes: bool = True
    takes_content: bool = False
    embeds_text: bool = False
    sized: bool = False
    standardize: bool = True
    dim: int | None = None


NAMED_SPACES = {
    PIXELS: Space(sized=True, standardize=False),
    STYLE: Space(model="fast-arbitrary", takes_content=True, standardize=False, dim=STYLE_DIM),
    PHOTO: Space(model="efficientnet-lite0", decodes=False, standardize=False, dim=PHOTO_DIM),
}


def named_space(name: str) -> Space:
    """What is known of a space without the cards of the models: all of a named one, the id of a model's own."""
    return NAMED_SPACES.get(name) or Space(model=name)


def space_of(facts: Facts, name: str) -> Space:
    """What can be done in a space; nothing in that of a model that is no longer there. Raises Unavailable."""
    if name in NAMED_SPACES:
        return NAMED_SPACES[name]
    card = facts.cards().get(name)
    known = capabilities(card["architecture"] if card else {})
    dim = dim_of(card["architecture"]) if card else None
    return Space(name, encodes=known.encoder, decodes=known.encoder, embeds_text=known.embeds_text, dim=dim)


def check_decodes(facts: Facts, field: str, name: str) -> None:
    """Raises BadInput for a space without a decoder, and says what serves there."""
    if not space_of(facts, name).decodes:
        message = f"{field}: The space {name} has no decoder: nothing is steered in it; cluster-samplings show members."
        raise BadInput("no_decoder", message, field=field, space=name)


def check_encodes(facts: Facts, name: str) -> None:
    """Raises BadInput for a space that encodes no images, with those that do."""
    if NAMED_SPACES.get(name, Space(encodes=False)).encodes:
        return
    named = [each for each, known in NAMED_SPACES.items() if known.encodes]
    models = [each for each, card in facts.cards().items() if capabilities(card["architecture"]).encoder]
    if name not in models:
        raise unknown_model("space", f"No model with an encoder is called {name!r}", [*named, *models])
