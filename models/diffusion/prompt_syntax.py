"""The syntax of prompts: weights as compel and as AUTOMATIC1111's web UI write them, BREAK, and what is plain text."""

import re
from collections.abc import Collection

STEP = 1.1  # the weight of one parenthesis of ((word)) in AUTOMATIC1111's web UI; [word] divides by it
MAX_WEIGHT = 5.0
SHORTEST = 4  # letters of a word in which a slip is recognized
EMPTY_WORDS = frozenset(  # which say nothing of an image by themselves
    word
    for words in (
        "a an any some the that this there i it its he she him her his me my who is has have having",
        "and or but no not without with at behind by for from in of on to very please",
        "show draw drawing picture photo portrait cartoon face",
    )
    for word in words.split(" ")
)
_TEXT = r"((?:\\.|[^()\[\]\\])*?[^\s()\[\]\\](?:\\.|[^()\[\]\\])*?)"  # without brackets that are not escaped
_NUMBER = r"(\d*\.?\d+)"
# Found brackets become other characters, so that the brackets around them can be found next.
_INSIDE, _OUTSIDE = str.maketrans("()", "\ue000\ue001"), str.maketrans("\ue000\ue001", "()")
_READ = re.compile(rf"(?<!\\)\({_TEXT}\)(?=\.?\d|[+-])")  # (word)1.5, which stays
_NUMBERED = re.compile(rf"(?<!\\)\({_TEXT}:\s*{_NUMBER}\s*\)")  # (word:1.5)
_STRONGER = re.compile(rf"(?<!\\)(\({{2,}}){_TEXT}(\){{2,}})")  # ((word))
_WEAKER = re.compile(r"(?<!\\)\[((?:\\.|[^()\[\]\\:|])*?[^\s:|](?:\\.|[^()\[\]\\:|])*?)\]")  # [word]
_PLAIN = re.compile(rf"(?<!\\)\({_TEXT}\)")  # (word)
_BREAK = re.compile(r"\s*\bBREAK\b\s*")
_TAG = re.compile(r"<[\w-]+:[^<>]*>")  # <hypernet:name:0.8>
# Syntax of other programs that is plain text here, once weights and BREAK have been read.
_SYNTAX = [
    _TAG,
    *(
        re.compile(pattern)
        for pattern in (
            r"\([^()]*:\s*\d*\.?\d+\s*\)",  # (word:9), where weights end at 5
            r"\(\([^()]*\)\)",
            r"\[[^\[\]]*\]",  # [from:to:0.5], [one|other]
            r"\{[^{}]*\|[^{}]*\}",  # {red|green}
            r"\b__[\w/-]+__\b",  # __colors__
            r"\)\.(?:and|blend|swap)\(",  # ("a", "b").blend(1, 1)
            r"(?<!\w)\w+(?:\++|--+)(?!\S)",  # word++
            r"\bAND\b",
        )
    ),
]
_UNREAD = [_BREAK, re.compile(r"\([^()]*\)(?:\d*\.?\d+|[+-]+)")]  # where a model reads no weights
# A closing parenthesis with its weight; all other prompts, including those with plain parentheses, are not parsed.
_WEIGHTED = re.compile(r"(?<!\\)\)(?:\.?\d|[+-])")


def translated(prompt: str) -> str:
    """Writes the weights of AUTOMATIC1111's web UI as compel's: (red:1.5) as (red)1.5, ((red)) as (red)1.21.

    [red] becomes (red)0.91. A single pair of parentheses without a number stays text.
    """
    before = ""
    while prompt != before:  # from the inside to the outside
        before = prompt
        prompt = _READ.sub(_kept, prompt)
        prompt = _NUMBERED.sub(_numbered, prompt)
        prompt = _STRONGER.sub(_stronger, prompt)
        prompt = _WEAKER.sub(lambda found: _written(found[1], 1 / STEP), prompt)
        prompt = _PLAIN.sub(_kept, prompt) if prompt == before else prompt
    return prompt.translate(_OUTSIDE)


def _kept(found: re.Match[str]) -> str:
    return found[0].translate(_INSIDE)


def _numbered(found: re.Match[str]) -> str:
    weight = float(found[2])
    return _written(found[1], weight) if weight <= MAX_WEIGHT else found[0]


def _stronger(found: re.Match[str]) -> str:
    opened, text, closed = found.groups()
    n = min(len(opened), len(closed))
    return opened[n:] + _written(text, STEP**n) + closed[n:]


def _written(text: str, weight: float) -> str:
    return f"({text.strip()}){round(weight, 2):g}".translate(_INSIDE)


def parts_of(prompt: str) -> list[str]:
    """Divides a prompt at each BREAK; every part is encoded by itself."""
    return [part for part in _BREAK.split(prompt) if part] or [""]


def is_weighted(prompt: str) -> bool:
    """Returns whether a prompt has weights."""
    return bool(_WEIGHTED.search(translated(prompt)))


def plain_syntax(prompt: str, *, weights: bool = False) -> list[str]:
    """Returns the parts of a prompt, in order, that are syntax in other programs and plain text here.

    weights: whether weights such as (red)1.4 and BREAK are plain text too, for models that do not support them.
    """
    text = prompt if weights else translated(prompt)
    matches = [match for pattern in [*_SYNTAX, *(_UNREAD if weights else [])] for match in pattern.finditer(text)]
    return [match[0].strip() for match in sorted(matches, key=lambda match: match.start())]


def unknown_words(prompt: str, known: Collection[str]) -> list[str]:
    """Returns the words of a prompt that are not `known`, in lower case and in order, each once."""
    for pattern in (_TAG, _BREAK, _SYNTAX[-1]):
        prompt = pattern.sub(" ", prompt)
    return [word for word in dict.fromkeys(words_of(prompt)) if word not in known]


def words_of(text: str) -> list[str]:
    """Returns the words of a text in lower case: letters, and apostrophes between them."""
    return re.findall(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*", text.lower())


def meant_word(word: str, known: Collection[str]) -> str | None:
    """Returns the known word that a word is one slip of the hand away from: letters swapped, omitted or doubled."""
    likely = (
        each for each in known if len(each) >= SHORTEST and each[0] == word[0] and abs(len(each) - len(word)) <= 1
    )
    return next((each for each in likely if word in _slips(each)), None)


def _slips(word: str) -> set[str]:
    places = range(1, len(word))
    swapped = {word[: i - 1] + word[i] + word[i - 1] + word[i + 1 :] for i in places[1:]}
    return (
        swapped
        | {word[:i] + word[i + 1 :] for i in places}
        | {word[:i] + word[i - 1 :] for i in range(1, len(word) + 1)}
    )
