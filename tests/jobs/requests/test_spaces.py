"""The table of spaces, for named spaces and for those of models."""

from types import SimpleNamespace
from typing import Any

import pytest

from jobs.errors import BadInput
from jobs.requests.architectures import capabilities, dim_of
from jobs.requests.collection import CollectionParams
from jobs.requests.spaces import NAMED_SPACES, Space, check_decodes, check_encodes, named_space, space_of
from models.catalogue import cards
from models.perceptual.efficientnet import FEATURES
from models.stylize.fast import STYLE_DIM

ARCHITECTURES = {"vae-smileys": "conv-vae", "gan-digits-8": "mlp-gan", "kandinsky-avatars": "kandinsky"}
FACTS: Any = SimpleNamespace(
    cards=lambda: {name: {"id": name, "architecture": {"name": known}} for name, known in ARCHITECTURES.items()}
)


def test_a_named_space_needs_no_cards() -> None:
    style = space_of(SimpleNamespace(cards=None), "style")  # type: ignore[arg-type]
    assert style == named_space("style") == NAMED_SPACES["style"]
    assert (style.encodes, style.decodes, style.takes_content, style.embeds_text) == (True, True, True, False)


def test_the_space_of_a_model_is_that_of_its_architecture() -> None:
    assert space_of(FACTS, "vae-smileys") == Space("vae-smileys")
    assert space_of(FACTS, "kandinsky-avatars") == Space("kandinsky-avatars", embeds_text=True)
    for name in ("gan-digits-8", "gone"):
        assert space_of(FACTS, name) == Space(name, encodes=False, decodes=False)


def test_every_card_of_a_named_space_exists() -> None:
    assert {space.model for space in NAMED_SPACES.values() if space.model} <= cards().keys()


def test_the_values_of_a_vector_are_known_without_the_models() -> None:
    assert NAMED_SPACES["style"].dim == STYLE_DIM
    assert NAMED_SPACES["photo"].dim == FEATURES
    known = {name: dim_of(cards()[name].architecture) for name in ARCHITECTURES}
    assert known == {"vae-smileys": 16, "gan-digits-8": None, "kandinsky-avatars": 128}
    for name, dim in (("kandinsky-2.2", 1280), ("stable-unclip", 768), ("ip-adapter", 1024)):
        assert dim_of(cards()[name].architecture) == dim
        assert f"({dim:,} values)" in cards()[name].description
    assert all(dim_of(card.architecture) for card in cards().values() if capabilities(card.architecture).encoder)


@pytest.mark.parametrize("name", [*NAMED_SPACES, "vae-smileys"])
def test_a_collection_needs_an_encoder(name: str) -> None:
    check_encodes(FACTS, name)


def test_other_spaces_are_refused_with_those_that_encode() -> None:
    with pytest.raises(BadInput) as caught:
        check_encodes(FACTS, "gan-digits-8")
    assert caught.value.details["allowed"] == ["pixels", "style", "photo", "vae-smileys", "kandinsky-avatars"]


def test_nothing_is_steered_in_a_space_without_a_decoder() -> None:
    check_decodes(FACTS, "collection", "vae-smileys")
    for name in ("photo", "clip-vit-l-14"):
        with pytest.raises(BadInput, match=f"collection: The space {name} has no decoder"):
            check_decodes(FACTS, "collection", name)


@pytest.mark.parametrize(
    ("space", "models"), [("pixels", ()), ("style", ("fast-arbitrary",)), ("vae-smileys", ("vae-smileys",))]
)
def test_a_collection_uses_the_model_of_its_space(space: str, models: tuple[str, ...]) -> None:
    assert CollectionParams(name="Any", space=space, data="smileys").uses().models == models
