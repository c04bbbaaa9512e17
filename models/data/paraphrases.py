"""Texts that people might write for an avatar: other words, orders and spellings, omissions, negations and typos.

A text comes with what it says, so that a judge can check an image against it. Three templates (`HELD_OUT`) and the
synonyms of `HELD_OUT_WORDS` are never used for training, so that a model can be measured on sentences and words that it
has not seen. Each of these words shares its stem with one that is used.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from models.data.avatars import ATTRIBUTES, BACKGROUNDS, EXPRESSIONS, HAIR, HATS, SKIN, Face, random_face
from models.data.phrases import HELD_OUT_WORDS, Mention, mentions_of, noun_of, pick
from models.errors import DataError

MISTYPED = 0.25  # share of texts with typing errors
INVENTED = 0.06  # share of texts with a word that means nothing, so that unknown words are ignored
OPENINGS = (
    *("portrait of", "a portrait of", "a photo of", "picture of", "a drawing of", "cartoon of", "avatar of", "face of"),
    *("draw me", "show me", "please draw", "this is"),
)
SHORTEST = 4  # letters of a word that is mistyped: "hat" with one letter less could be anything


@dataclass(frozen=True)
class Paraphrase:
    """A text, the attributes that it `named` with whether the image has them, and which of them are `negated` by words.

    "man" names `woman` as false, "short hair" `long_hair`; neither is a negation, "no glasses" is.
    """

    text: str
    named: Mapping[str, bool] = field(default_factory=dict)
    negated: frozenset[str] = frozenset()


def paraphrase(
    face: Face, rng: np.random.Generator, *, template: str | None = None, new_words: bool = False
) -> Paraphrase:
    """Writes a text, without typing errors, for a face with some of its attributes; omitted ones are left open.

    template: of `TEMPLATES` or `HELD_OUT`; by default one of the first. new_words: whether a synonym of
    `HELD_OUT_WORDS` is used, if one fits.
    """
    mentions = [mention for mention in mentions_of(face, rng) if rng.random() < mention.share]
    rng.shuffle(mentions)
    noun, named = noun_of(face, rng)
    write = (TEMPLATES | HELD_OUT)[template or pick(rng, list(TEMPLATES))]
    text = write(_Subject(noun, face.woman), mentions, rng)
    for mention in mentions:
        named |= mention.named
    if new_words:
        text = _with_new_word(text, rng)
    negated = frozenset(name for mention in mentions if mention.negates for name in mention.named)
    return Paraphrase(text, named, negated)


def said(attributes: NDArray[np.bool_], names: Sequence[str], rng: np.random.Generator) -> list[tuple[str, str]]:
    """Writes a text, as people type, for each row of attributes (n, k) of avatars, and the caption that says the same.

    Raises DataError for another set.
    """
    if tuple(names) != ATTRIBUTES:
        raise DataError("paraphrases are written for the set avatars alone")
    pairs = []
    for row in attributes:
        face = face_of(row)
        text = paraphrase(face, rng)
        if rng.random() < INVENTED:
            text = replace(text, text=_with_invented_word(text.text, rng))
        pairs.append((typed(text.text, rng), caption_of(text, face)))
    return pairs


def caption_of(text: Paraphrase, face: Face) -> str:
    """Returns the caption of a face that mentions what a paraphrase of it names.

    What captions always mention (glasses, a hat, the sex) is that of the face where the paraphrase leaves it open.
    """
    kinds = {
        "expression": EXPRESSIONS,
        "skin": (f"{face.skin}_skin",),
        "background": (f"{face.background}_background",),
    }
    kinds |= {"hair": (f"{face.hair}_hair", "long_hair")}
    return replace(face, mentioned=frozenset(kind for kind, names in kinds.items() if {*names} & {*text.named})).caption


def known_words() -> list[str]:
    """Returns the words of the paraphrases that are used for training, without typing errors, sorted."""
    rng = np.random.default_rng(0)
    texts = [random_face(rng).caption for _ in range(500)] + [
        paraphrase(random_face(rng), rng).text for _ in range(9000)
    ]
    return sorted({word for text in texts for word in re.findall(r"[a-z]+(?:'[a-z]+)*", text)})


def face_of(attributes: NDArray[np.bool_]) -> Face:
    """Returns the face with attributes (k,) in the order of `ATTRIBUTES`."""
    has = {name for name, value in zip(ATTRIBUTES, attributes, strict=True) if value}

    def which(values: Sequence[str] | Mapping[str, object], kind: str = "") -> str:
        return next(value for value in values if f"{value}{kind}" in has)

    return Face(
        woman="woman" in has,
        glasses="glasses" in has,
        mustache="mustache" in has,
        hat=which(HATS, "_hat") if "hat" in has else None,
        expression=which(EXPRESSIONS),
        hair_length="long" if "long_hair" in has else "short",
        hair=which(HAIR, "_hair"),
        skin=which(SKIN, "_skin"),
        background=which(BACKGROUNDS, "_background"),
    )


@dataclass(frozen=True)
class _Subject:
    """Who the text is about."""

    noun: str
    woman: bool

    @property
    def he(self) -> str:
        return "she" if self.woman else "he"

    @property
    def his(self) -> str:
        return "her" if self.woman else "his"


Mentions = Sequence[Mention]
Template = Callable[[_Subject, Mentions, np.random.Generator], str]


def _phrase(subject: _Subject, mentions: Mentions, rng: np.random.Generator) -> str:
    """Writes "a cheerful lady with long hair, wearing a red cap on a blue background"."""
    adjectives, rest = _before(mentions, rng)
    start = " ".join([*[pick(rng, m.adjectives) for m in adjectives], subject.noun])
    return f"{_opening(start, rng)}{_after(rest, rng)}"


def _opening(noun: str, rng: np.random.Generator) -> str:
    article = "an" if noun[0] in "aeiou" else "a"
    start = f"{pick(rng, OPENINGS)} " if rng.random() < 0.25 else ""
    return start + (f"{article} {noun}" if rng.random() < 0.8 else noun)


def _before(
    mentions: Mentions, rng: np.random.Generator, share: float = 0.5, most: int = 2
) -> tuple[list[Mention], list[Mention]]:
    """Divides mentions into those before the noun, at most `most`, and the others."""
    able = [m for m in mentions if m.adjectives and (rng.random() < share or not m.things)][:most]
    return able, [m for m in mentions if m not in able]


def _after(mentions: Mentions, rng: np.random.Generator) -> str:
    """Writes " with glasses and a red hat on a blue background"; of a mention the form that fits."""
    places = [m for m in mentions if m.places]
    worn = [m for m in mentions if m.worn and rng.random() < 0.45]
    having = [m for m in mentions if m.things and m not in worn]
    verbs = ("with", "with", "with", "who has", "w/", "having"), ("wearing", "wearing", "in")
    ways = [(pick(rng, verbs[0]), [pick(rng, m.things) for m in having])]
    ways += [(pick(rng, verbs[1]), [pick(rng, m.worn) for m in worn])]
    parts = [f"{verb} {_listed(things, rng)}" for verb, things in ways if things]
    rng.shuffle(parts)
    text = pick(rng, (" ", " ", " and ", ", ")).join(parts)
    return (f" {text}" if text else "") + "".join(f"{pick(rng, (' ', ' ', ', '))}{pick(rng, m.places)}" for m in places)


def _listed(parts: Sequence[str], rng: np.random.Generator) -> str:
    if len(parts) == 1:
        return parts[0]
    last = pick(rng, (" and ", " and ", ", ", " & ", ", and ", " plus "))
    return ", ".join(parts[:-1]) + last + parts[-1]


def _tags(subject: _Subject, mentions: Mentions, rng: np.random.Generator) -> str:
    """Writes "lady, long blonde hair, no glasses, blue backdrop"; the noun comes first or anywhere."""
    tags = [pick(rng, m.tags) for m in mentions]
    article = pick(rng, ("", "", "a ", "1"))
    tags.insert(0 if rng.random() < 0.7 else int(rng.integers(len(tags) + 1)), article + subject.noun)
    return pick(rng, (", ", ", ", ", ", " ", "; ", " / ")).join(tags)


def _sentences(subject: _Subject, mentions: Mentions, rng: np.random.Generator) -> str:
    """Writes "a woman. She wears glasses, her hair is long. The background is blue"."""
    first, rest = _before(mentions, rng, share=0.25, most=1)
    start = " ".join([*[pick(rng, m.adjectives) for m in first], subject.noun])
    clauses = [pick(rng, m.clauses).format(he=subject.he, his=subject.his) for m in rest]
    join = pick(rng, (". ", ". ", ", ", ", ", "; ", " and "))
    return join.join([_opening(start, rng), *clauses])


def _phrase_and_clause(subject: _Subject, mentions: Mentions, rng: np.random.Generator) -> str:
    """Writes a phrase of some mentions, then a sentence or tags of the others."""
    cut = len(mentions) // 2
    rest = mentions[cut:]
    if rng.random() < 0.5:
        after = [pick(rng, m.clauses).format(he=subject.he, his=subject.his) for m in rest]
    else:
        after = [pick(rng, m.tags) for m in rest]
    return ", ".join([_phrase(subject, mentions[:cut], rng), *after])


def _bare(subject: _Subject, mentions: Mentions, rng: np.random.Generator) -> str:
    """Writes words without articles and commas: "blonde woman glasses red hat"."""
    first, rest = _before(mentions, rng, share=0.8, most=3)
    return " ".join([*[pick(rng, m.adjectives) for m in first], subject.noun, *[pick(rng, m.tags) for m in rest]])


def _place_first(subject: _Subject, mentions: Mentions, rng: np.random.Generator) -> str:
    """Writes "against a blue wall, a man with glasses"; held out."""
    places = [pick(rng, m.places) for m in mentions if m.places]
    return ", ".join([*places, _phrase(subject, [m for m in mentions if not m.places], rng)])


def _things_first(subject: _Subject, mentions: Mentions, rng: np.random.Generator) -> str:
    """Writes "glasses, a red hat and long hair on a man": what is worn before who wears it; held out."""
    things = [m for m in mentions if m.things and not m.negates]
    rest = [m for m in mentions if m not in things]
    adjectives = [m for m in rest if m.adjectives]
    after = [pick(rng, m.places or m.things) for m in rest if m not in adjectives]
    who = _opening(" ".join([*[pick(rng, m.adjectives) for m in adjectives], subject.noun]), rng)
    having = f"{_listed([pick(rng, m.things) for m in things], rng)} on " if things else ""
    return ", ".join([having + who, *after])


def _relative(subject: _Subject, mentions: Mentions, rng: np.random.Generator) -> str:
    """Writes "i would like to see a woman: her hair is long, and she wears glasses"; held out."""
    clauses = [pick(rng, m.clauses).format(he=subject.he, his=subject.his) for m in mentions]
    return f"i would like to see {_opening(subject.noun, rng)}: " + ", and ".join(clauses) if clauses else subject.noun


TEMPLATES: dict[str, Template] = {
    "phrase": _phrase,
    "tags": _tags,
    "sentences": _sentences,
    "phrase and clause": _phrase_and_clause,
    "bare": _bare,
}
HELD_OUT: dict[str, Template] = {"place first": _place_first, "things first": _things_first, "wish": _relative}


def _with_new_word(text: str, rng: np.random.Generator) -> str:
    """Replaces one word by its held-out synonym, if there is one."""
    fitting = [word for word in HELD_OUT_WORDS if re.search(rf"\b{word}\b", text)]
    if not fitting:
        return text
    word = pick(rng, fitting)
    return re.sub(rf"\b{word}\b", pick(rng, HELD_OUT_WORDS[word]), text, count=1)


def _with_invented_word(text: str, rng: np.random.Generator) -> str:
    syllables = [pick(rng, "bcdfgklmnprstvz") + pick(rng, "aeiou") for _ in range(rng.integers(1, 4))]
    words = text.split(" ")
    words.insert(int(rng.integers(len(words) + 1)), "".join(syllables) + pick(rng, "bdgklmnprstxy"))
    return " ".join(words)


def typed(text: str, rng: np.random.Generator) -> str:
    """Types a text: in some case, with or without a full stop, and at times with errors."""
    if rng.random() < MISTYPED:
        for _ in range(int(rng.integers(1, 3))):
            text = mistyped(text, rng)
    if rng.random() < 0.15:
        text = text[0].upper() + text[1:]
    return text + ("." if rng.random() < 0.12 else "")


def mistyped(text: str, rng: np.random.Generator) -> str:
    """Swaps, omits or doubles a letter of one word, not its first."""
    words = [match for match in re.finditer(r"[a-z]+", text) if len(match[0]) >= SHORTEST]
    if not words:
        return text
    word = words[int(rng.integers(len(words)))]
    at = word.start() + int(rng.integers(1, len(word[0]) - 1))
    kind = pick(rng, ("swap", "omit", "double"))
    replaced = {"swap": text[at + 1] + text[at], "omit": text[at + 1], "double": text[at] * 2 + text[at + 1]}[kind]
    return text[:at] + replaced + text[at + 2 :]
