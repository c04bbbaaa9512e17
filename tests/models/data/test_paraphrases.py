"""Texts for avatars: what they say is so, and is what they are said to say."""

import re

import numpy as np
import pytest

from models.data.avatars import ATTRIBUTES, Face, attributes_of, random_face
from models.data.paraphrases import (
    HELD_OUT,
    TEMPLATES,
    Paraphrase,
    caption_of,
    face_of,
    known_words,
    mistyped,
    paraphrase,
    said,
)
from models.data.phrases import GLASSES, HATS, HELD_OUT_WORDS
from models.diffusion.prompt_syntax import meant_word
from models.errors import DataError

MAN = Face(
    woman=False,
    glasses=True,
    mustache=False,
    hat="red",
    expression="smiling",
    hair_length="short",
    hair="black",
    skin="tan",
    background="blue",
)
NEW_WORDS = [word for words in HELD_OUT_WORDS.values() for word in words]


def texts(template: str, n: int = 150) -> list[tuple[Face, Paraphrase]]:
    rng = np.random.default_rng(3)
    faces = [random_face(rng) for _ in range(n)]
    return [(face, paraphrase(face, rng, template=template)) for face in faces]


@pytest.mark.parametrize("template", [*TEMPLATES, *HELD_OUT])
def test_what_a_text_names_is_so(template: str) -> None:
    for face, text in texts(template):
        truth = dict(zip(ATTRIBUTES, attributes_of(face), strict=True))
        assert text.named == {name: bool(truth[name]) for name in text.named}, text
        assert all(text.named[name] is False for name in text.negated), text
        assert re.fullmatch(r"[a-z1][a-z0-9 ,.;:/&'-]*", text.text), text


@pytest.mark.parametrize("template", [*TEMPLATES, *HELD_OUT])
def test_a_text_says_what_it_is_said_to_name(template: str) -> None:
    denied, either = r"(\bno\b|without|w/o|not|n't|free)", "|".join((*GLASSES, "bespectacled"))
    for _, text in texts(template):
        assert bool(re.search(either, text.text)) == ("glasses" in text.named), text
        assert bool(re.search(rf"{denied}.*\b({either})", text.text)) or "glasses" not in text.negated, text
        if text.named.get("purple_hat"):
            colored = rf"(purple|violet)(-colou?red)? ({'|'.join(HATS)})"
            after = rf"({'|'.join(HATS)}) (that is|in|is) (purple|violet)"
            assert re.search(f"{colored}|{after}", text.text), text


def test_each_attribute_can_be_omitted_and_each_absence_said() -> None:
    named = [text for template in TEMPLATES for _, text in texts(template)]
    for name in ("woman", "glasses", "hat", "long_hair", "smiling"):
        share = np.mean([name in text.named for text in named])
        assert 0.05 < share < 0.97, name
    assert {name for text in named for name in text.negated} == {"glasses", "hat", "mustache", "smiling"}


def test_the_caption_that_says_the_same() -> None:
    text = Paraphrase("a guy in a cap, black hair", {"woman": False, "hat": True, "black_hair": True})
    assert caption_of(text, MAN) == "a man with short black hair, glasses and a red hat"
    denied = Paraphrase("not frowning", {"frowning": False}, frozenset({"frowning"}))
    assert caption_of(denied, MAN) == "a smiling man with glasses and a red hat"
    assert caption_of(Paraphrase("", {"blue_background": True, "tan_skin": True}), MAN) == (
        "a man with tan skin, glasses and a red hat on a blue background"
    )


def test_a_typing_error_is_one_slip_in_one_word() -> None:
    rng = np.random.default_rng(0)
    found = {mistyped("a hat, glasses", rng) for _ in range(300)}
    assert all(text.startswith("a hat, g") and meant_word(text.removeprefix("a hat, "), ["glasses"]) for text in found)
    assert {"a hat, galsses", "a hat, glases", "a hat, glaasses"} <= found
    assert mistyped("a hat, a cap", rng) == "a hat, a cap", "no letter of short words is lost"


def test_held_out_words_and_templates_are_not_used_for_training() -> None:
    known = known_words()
    assert not {*NEW_WORDS} & {*known} and not {*HELD_OUT} & {*TEMPLATES}
    assert {"spectacles", "moustache", "grinning", "beanie", "without", "isn't", "coloured"} <= {*known}
    rng = np.random.default_rng(1)
    used = [paraphrase(MAN, rng, new_words=True).text for _ in range(60)]
    assert sum(any(word in text for word in NEW_WORDS) for text in used) > 30


def test_faces_are_read_from_their_attributes() -> None:
    rng = np.random.default_rng(2)
    for face in (random_face(rng) for _ in range(50)):
        assert face_of(attributes_of(face)) == face


def test_rows_of_avatars_get_a_text_and_a_caption_each() -> None:
    rows = np.stack([attributes_of(MAN)] * 3)
    pairs = said(rows, ATTRIBUTES, np.random.default_rng(0))
    assert pairs == said(rows, ATTRIBUTES, np.random.default_rng(0))
    assert len({text for text, _ in pairs}) == 3 and all("man" in caption for _, caption in pairs)
    with pytest.raises(DataError, match="the set avatars alone"):
        said(rows, ("wings",), np.random.default_rng(0))
