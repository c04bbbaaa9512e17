"""Classifies columns of tables: captions, attributes (such as 0/1), one column of classes, or unused."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from models.data.dataset import listed
from models.data.layout import SMALL, is_split, is_training
from models.data.matching import MIN_SHARE, Columns
from models.data.tables import CAPTIONS
from models.errors import DataError

PLAIN_FLAGS = {"0": False, "1": True, "false": False, "true": True}
FLAGS = [  # notations of no and yes; a column uses one of them
    PLAIN_FLAGS,
    {"-1": False, "1": True},
    {"no": False, "yes": True},
    {"0.0": False, "1.0": True},
    {"-1.0": False, "1.0": True},
]
LABELS = ("label", "labels", "class", "category", "class_name", "label_name", "target")  # the first that exists is used
SPLITS = ("split", "subset", "partition", "set")
NEVER_CLASSES = {"id", "index", "width", "height", "url", "md5", "sha256", "unnamed: 0"}
CAPTION_WORDS = 3  # average number of words from which differing texts are captions


@dataclass
class Known:
    """Facts of n images, by index.

    attributes: flags by title. wrong: the images that cannot be used, with the reason. held_out: those of other splits
    than training. warnings: about columns that are not used.
    """

    labels: list[str] | None = None
    attributes: dict[str, list[bool]] = field(default_factory=dict)
    captions: list[str] | None = None
    wrong: dict[int, str] = field(default_factory=dict)
    held_out: set[int] = field(default_factory=set)
    warnings: list[dict[str, str]] = field(default_factory=list)


def understood(columns: Columns, used: Sequence[int]) -> Known:
    """Classifies columns by the cells of the `used` images; raises DataError for a mix of flags and words."""
    rowed = [index for index in used if columns.rows[index]]
    given = {title: [cells[i] for i in rowed if cells[i]] for title, cells in columns.cells.items()}
    sorts = {title: _sort(title, cells, len(rowed)) for title, cells in given.items()}
    if sum(columns.rows[index] > 1 for index in rowed) > len(rowed) / 2:  # such as several captions of each image
        sorts |= dict.fromkeys((title for title in columns.disagreeing if sorts[title] != "captions"), "ignored")
    known = Known()
    split = _first(SPLITS, sorts, "split")
    if split:
        known.held_out = {index for index in rowed if not is_training(columns.cells[split][index])}
    captions, label = _first(CAPTIONS, sorts, "captions"), _first(LABELS, sorts, "label")
    classes = [title for title, sort in sorts.items() if sort == "classes"]
    label = label or (classes[0] if len(classes) == 1 else None)
    known.captions = columns.cells[captions] if captions else None
    known.labels = columns.cells[label] if label else None
    attributes = {title: flags for title in given if sorts[title] == "attribute" and (flags := _flags(given[title]))}
    for title, flags in attributes.items():
        known.attributes[title] = [flags.get(cell.lower(), False) for cell in columns.cells[title]]
        _check(known, columns, rowed, title, flags)
    if label:
        _check(known, columns, rowed, label, None)
    if label or attributes:
        known.wrong |= {index: "no row in the table" for index in used if not columns.rows[index]}
    known.warnings = _unused(sorts, {captions, label, split}, classes)
    return known


def _sort(title: str, cells: list[str], n: int) -> str:
    """Classifies a column of n cells by its title and its cells that are not empty."""
    name, distinct = title.lower(), len(set(cells))
    sentences = distinct > len(cells) / 2 and sum(len(cell.split()) for cell in cells) >= CAPTION_WORDS * len(cells)
    if not cells or name in NEVER_CLASSES:
        return "ignored"
    if name in CAPTIONS:
        return "captions"
    if name in SPLITS and all(map(is_split, set(cells))):
        return "split"
    if name in LABELS:
        alone = distinct == len(cells) >= SMALL
        return "captions" if sentences else "nothing" if alone else "label"
    if _flags(cells) is not None:
        return "attribute"
    _refuse_mixed(title, cells)
    if sentences:
        return "captions"
    few = (distinct <= n // 2 or n < SMALL) and len(cells) >= MIN_SHARE * n
    return "classes" if few and not all(map(_is_fraction, cells)) else "nothing"


def _flags(cells: list[str]) -> dict[str, bool] | None:
    """Returns the notation of no and yes that nearly all cells use."""
    counts = Counter(map(str.lower, cells))
    best = max(FLAGS, key=lambda flags: sum(counts[cell] for cell in flags))
    return best if cells and sum(counts[cell] for cell in best) >= MIN_SHARE * len(cells) else None


def _refuse_mixed(title: str, cells: list[str]) -> None:
    others = [cell for cell in cells if cell.lower() not in PLAIN_FLAGS]
    words = [cell for cell in others if not cell.isdecimal()]
    if words and len(others) <= len(cells) / 2:
        raise DataError(f"column {title!r} mixes 0/1/true/false with {listed(words)}")


def _is_fraction(cell: str) -> bool:
    return "." in cell and cell.lstrip("+-").replace(".", "", 1).isdecimal()


def _first(titles: Sequence[str], sorts: dict[str, str], sort: str) -> str | None:
    """Returns the column of a kind whose title comes first in `titles`, or any other of that kind."""
    of_sort = [title for title, each in sorts.items() if each == sort]
    rank = {title: number for number, title in enumerate(titles)}
    return min(of_sort, key=lambda title: rank.get(title.lower(), len(titles)), default=None)


def _check(known: Known, columns: Columns, rowed: Sequence[int], title: str, flags: dict[str, bool] | None) -> None:
    """Records the images without a value in a column, with one of another kind, or with two."""
    cells, disagreeing = columns.cells[title], columns.disagreeing.get(title, set())
    for index in rowed:
        cell = cells[index]
        if not cell:
            known.wrong[index] = f"column {title!r} is empty"
        elif flags is not None and cell.lower() not in flags:
            known.wrong[index] = f"column {title!r} must be {' or '.join(flags)}, not {listed([cell])}"
        elif index in disagreeing:
            known.wrong[index] = f"more than one row, and column {title!r} differs in them"


def _unused(sorts: dict[str, str], used: set[str | None], classes: list[str]) -> list[dict[str, str]]:
    left = [title for title, sort in sorts.items() if title not in used and sort not in ("attribute", "ignored")]
    if not left:
        return []
    several = len(classes) > 1 and not used.issuperset(classes)
    advice = "; call the one that holds the classes `label`" if several else ""
    message = f"These columns are neither the captions, 0/1 attributes nor the classes: {listed(left)}{advice}."
    return [{"code": "columns_not_used", "message": message}]
