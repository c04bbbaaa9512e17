"""Words and phrases for the attributes of an avatar, by the place that they can have in a text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import numpy as np

from models.data.avatars import Face

Option = TypeVar("Option")

WOMEN = ("woman", "woman", "woman", "lady", "girl", "female")
MEN = ("man", "man", "man", "guy", "gentleman", "male", "dude", "boy")
ANYONE = ("person", "someone", "face", "character")
SIZES = {
    "long": ("long", "long", "long", "shoulder-length", "very long"),
    "short": ("short", "short", "short", "cropped"),
}
HAIR_WORDS = {
    "black": ("black", "black", "jet black"),
    "brown": ("brown", "brown", "brunette", "chestnut"),
    "blond": ("blond", "blonde", "blonde", "fair", "golden"),
    "red": ("red", "red", "ginger", "auburn"),
    "grey": ("grey", "gray", "gray", "silver", "white"),
}
SKIN_WORDS = {
    "pale": ("pale", "pale", "light", "fair"),
    "tan": ("tan", "tanned", "olive"),
    "brown": ("brown", "brown", "medium brown"),
    "dark": ("dark", "dark", "very dark", "black"),
}
HAT_WORDS = {
    "red": ("red", "red", "bright red"),
    "blue": ("blue", "blue", "dark blue", "navy"),
    "green": ("green", "green", "dark green"),
    "yellow": ("yellow", "yellow", "bright yellow"),
    "purple": ("purple", "purple", "violet"),
}
BACKGROUND_WORDS = {
    "white": ("white", "white", "plain white"),
    "blue": ("blue", "blue", "light blue", "sky blue"),
    "green": ("green", "green", "light green", "pale green"),
    "pink": ("pink", "pink", "light pink"),
    "grey": ("grey", "gray", "gray", "dark grey"),
}
HATS = ("hat", "hat", "cap", "beanie")
GLASSES = ("glasses", "glasses", "glasses", "spectacles", "specs")
MUSTACHES = ("mustache", "mustache", "moustache", "moustache")
SETTINGS = ("background", "background", "backdrop", "wall")
EXPRESSION_WORDS = {
    "neutral": ("neutral", "calm", "serious", "expressionless"),
    "smiling": ("smiling", "happy", "cheerful", "grinning"),
    "frowning": ("frowning", "sad", "unhappy", "angry", "grumpy"),
    "surprised": ("surprised", "shocked", "astonished", "amazed"),
}
LOOKS = {
    "neutral": ("a neutral expression", "a straight face", "a neutral face"),
    "smiling": ("a smile", "a big smile", "a happy face", "a grin"),
    "frowning": ("a frown", "a sad face", "a sad expression"),
    "surprised": ("a surprised look", "an open mouth", "a surprised face"),
}
# Synonyms that are never used for training, by the word that they replace.
HELD_OUT_WORDS = {
    "glasses": ("eyeglasses",),
    "mustache": ("mustachio",),
    "hat": ("headgear",),
    "smiling": ("smiley",),
    "cheerful": ("cheery",),
    "sad": ("saddened",),
    "surprised": ("surprized",),
    "gray": ("greyish",),
    "blonde": ("blondish",),
    "background": ("backround",),
    "wearing": ("sporting",),
    "man": ("fellow",),
}


@dataclass(frozen=True)
class Mention:
    """Ways to say one thing; `share` is how often it is said.

    named: the attributes it names and whether the image has them. adjectives: before the noun. things: after "with".
    worn: after "wearing". places: at the end. tags: alone. clauses: sentences with {he} and {his}.
    """

    share: float
    named: dict[str, bool]
    tags: Sequence[str]
    clauses: Sequence[str]
    adjectives: Sequence[str] = ()
    things: Sequence[str] = ()
    worn: Sequence[str] = ()
    places: Sequence[str] = ()
    negates: bool = False


def pick(rng: np.random.Generator, options: Sequence[Option]) -> Option:
    """Draws one of several options."""
    return options[int(rng.integers(len(options)))]


def noun_of(face: Face, rng: np.random.Generator) -> tuple[str, dict[str, bool]]:
    """Draws a noun for a face, and the attribute that it names, if one."""
    if rng.random() < 0.08:
        return pick(rng, ANYONE), {}
    return pick(rng, WOMEN if face.woman else MEN), {"woman": face.woman}


def mentions_of(face: Face, rng: np.random.Generator) -> list[Mention]:
    """Draws the words for each attribute of a face that a text can mention or negate."""
    return [mention for write in _WRITERS if (mention := write(face, rng))]


def _hair(face: Face, rng: np.random.Generator) -> Mention:
    color, size = pick(rng, HAIR_WORDS[face.hair]), pick(rng, SIZES[face.hair_length])
    of_color, of_size = {f"{face.hair}_hair": True}, {"long_hair": face.hair_length == "long"}
    if face.hair in ("black", "brown") and rng.random() < 0.12:
        color, of_color = "dark", {}  # either
    part = rng.random()
    if part < 0.15:
        whole = [f"{size} hair"]
        return _said_of_hair(of_size, whole, [size], [f"{size}-haired"] if " " not in size else [])
    if part < 0.45:
        adjectives = [f"{color}-haired"] + [color] * (color in ("blonde", "blond", "ginger", "brunette"))
        adjectives += ["red-headed"] * (face.hair == "red")
        return _said_of_hair(of_color, [f"{color} hair", f"{color} hair", f"hair that is {color}"], [color], adjectives)
    whole = [f"{size} {color} hair", f"{size} {color} hair", f"{color} {size} hair", f"{size}, {color} hair"]
    return _said_of_hair(of_color | of_size, whole, [f"{size} and {color}"], [])


def _said_of_hair(named: dict[str, bool], whole: list[str], alone: list[str], adjectives: list[str]) -> Mention:
    clauses = [f"{{he}} has {pick_}" for pick_ in whole] + [f"{{his}} hair is {each}" for each in alone]
    return Mention(0.65, named, [*whole, *adjectives], clauses, adjectives, whole)


def _skin(face: Face, rng: np.random.Generator) -> Mention:
    color = pick(rng, SKIN_WORDS[face.skin])
    things = [f"{color} skin", f"{color} skin", f"a {color} complexion"]
    clauses = [f"{{his}} skin is {color}", f"{{he}} has {color} skin"]
    adjectives = [f"{color}-skinned"] + [color] * (color in ("pale", "tanned"))
    return Mention(0.4, {f"{face.skin}_skin": True}, [f"{color} skin", f"{color}-skinned"], clauses, adjectives, things)


def _expression(face: Face, rng: np.random.Generator) -> Mention:
    if face.expression != "smiling" and rng.random() < 0.15:
        clauses = ["{he} is not smiling", "{he} isn't smiling", "{he} does not smile"]
        tags = ["not smiling", "no smile", "unsmiling", "without a smile"]
        return Mention(0.6, {"smiling": False}, tags, clauses, ["unsmiling"], ["no smile"], negates=True)
    word, look = pick(rng, EXPRESSION_WORDS[face.expression]), pick(rng, LOOKS[face.expression])
    verbs = {"smiling": ["{he} smiles"], "frowning": ["{he} frowns"]}.get(face.expression, [])
    clauses = [f"{{he}} is {word}", f"{{he}} looks {word}", f"{{he}} has {look}", *verbs]
    return Mention(0.6, {face.expression: True}, [word, word, look.split(" ", 1)[1]], clauses, [word], [look])


def _glasses(face: Face, rng: np.random.Generator) -> Mention:
    word = pick(rng, GLASSES)
    if not face.glasses:
        return _absent(rng, "glasses", word, word, 0.35, [])
    things = [word, word, f"a pair of {word}"]
    clauses = [f"{{he}} wears {word}", f"{{he}} has {word}", f"{{he}} is wearing {word}", f"{{he}} has {word} on"]
    tags = [word, word, f"with {word}", f"wearing {word}"]
    return Mention(0.85, {"glasses": True}, tags, clauses, ["bespectacled"], things, things)


def _mustache(face: Face, rng: np.random.Generator) -> Mention | None:
    if face.woman:
        return None
    word = pick(rng, MUSTACHES)
    if not face.mustache:
        more = ["clean-shaven", "clean shaven"]
        return _absent(rng, "mustache", word, f"a {word}", 0.3, more)
    clauses = [f"{{he}} has a {word}", f"{{he}} wears a {word}"]
    return Mention(
        0.85, {"mustache": True}, [word, f"a {word}", f"with a {word}"], clauses, [f"{word}d"], [f"a {word}"]
    )


def _hat(face: Face, rng: np.random.Generator) -> Mention:
    word = pick(rng, HATS)
    if not face.hat:
        return _absent(rng, "hat", word, f"a {word}", 0.3, ["bareheaded", "hatless"])
    color = pick(rng, HAT_WORDS[face.hat])
    if rng.random() < 0.08:
        whole, named = [f"a {word}"], {"hat": True}
    else:
        whole = [f"a {color} {word}"] * 3 + [f"a {word} that is {color}", f"a {word} in {color}"]
        whole += [f"a {color}-{colored} {word}" for colored in ("colored", "coloured")] if " " not in color else []
        named = {"hat": True, f"{face.hat}_hat": True}
    verbs = ("wears", "has", "is wearing")
    clauses = [f"{{he}} {verb} {each}" for verb, each in product(verbs, whole)]
    clauses += [f"{{his}} {word} is {color}"] * 2 * (len(named) > 1)
    tags = [each.removeprefix("a ") for each in whole] + [f"with {whole[0]}", f"wearing {whole[0]}"]
    return Mention(0.9, named, tags, clauses, (), whole, whole)


def _background(face: Face, rng: np.random.Generator) -> Mention:
    color, word = pick(rng, BACKGROUND_WORDS[face.background]), pick(rng, SETTINGS)
    before = ("on", "against", "in front of", "before", "with") if word != "wall" else ("against", "in front of")
    places = [f"{each} a {color} {word}" for each in before]
    clauses = [f"the {word} is {color}", f"the {word} behind is {color}", f"there is a {color} {word}"]
    tags = [f"{color} {word}", f"{color} {word}", f"{word} {color}", f"{word}: {color}"]
    return Mention(0.6, {f"{face.background}_background": True}, tags, clauses, places=places)


def _absent(rng: np.random.Generator, name: str, word: str, one: str, share: float, adjectives: list[str]) -> Mention:
    """Ways to say that something is not there."""
    without = [f"without {one}", f"without {one}", f"without any {word}", f"w/o {word}", f"not wearing {one}"]
    tags = [f"no {word}", f"no {word}", f"without {word}", *without, *adjectives]
    verbs = [f"does not have {one}", f"doesn't have {one}", f"does not wear {one}", f"isn't wearing {one}"]
    clauses = [f"{{he}} has no {word}", f"no {word}", *(f"{{he}} {each}" for each in verbs)]
    places = [*without, f"but no {word}", f"and no {word}"]
    no = [f"no {word}"] if rng.random() < 0.4 else []
    return Mention(share, {name: False}, tags, clauses, adjectives, no, (), [] if no else places, negates=True)


_WRITERS: tuple[Callable[[Face, np.random.Generator], Mention | None], ...] = (
    *(_hair, _skin, _expression, _glasses, _mustache, _hat, _background),
)
