"""Collects labels, attributes and captions of images from folders, tables and text files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from models.data import captions
from models.data.archive import BudgetSpent, Files
from models.data.columns import Known, understood
from models.data.companions import companions, warning_of
from models.data.dataset import listed
from models.data.layout import Layout, layout_of, without_repeats
from models.data.matching import MIN_SHARE, Columns, ImageNames
from models.data.tables import CELEBA, SUFFIXES, read_table
from models.errors import DataError

NAMED = ("labels", "metadata")  # tables that must be valid; other files are tables if they name the images
MAX_OTHERS = 20  # files that are tried as tables


@dataclass
class Skipped:
    """Names and reasons of everything that is not used, by kind."""

    images: list[tuple[str, str]] = field(default_factory=list)
    rows: list[tuple[str, str]] = field(default_factory=list)
    files: list[tuple[str, str]] = field(default_factory=list)

    def all(self) -> tuple[tuple[str, str], ...]:
        """Names and reasons of images, rows and files, images first."""
        return (*self.images, *self.rows, *self.files)


def check_share(n: int, what: str, wrong: Sequence[tuple[str, str]], n_wrong: int | None = None) -> None:
    """Raises DataError, naming the first ten, if more than a tenth of n images or rows cannot be used."""
    n_wrong = len(wrong) if n_wrong is None else n_wrong
    if n_wrong * 10 > n:
        first = "; ".join(f"{listed([name])}: {reason}" for name, reason in wrong[:10])
        more = f"; and {n_wrong - 10} more" if n_wrong > 10 else ""
        raise DataError(f"{n_wrong} of {n} {what} cannot be used: {first}{more}")


def known_of(files: Files, names: list[str], others: list[str], skipped: Skipped) -> tuple[Known, list[int]]:
    """Returns the facts of the images `names`, and the indices of those that can be used.

    others: the names of files that may describe images. Raises DataError for an invalid table, and where more than
    a tenth of the images lack what the others have.
    """
    owners = captions.caption_files((name for name in others if name.lower().endswith(captions.SUFFIXES)), names)
    left = companions(names)
    layout = layout_of(names, _without(names, left))
    columns = _tables(files, names, [name for name in others if name not in owners], layout.used, skipped)
    if others_of_rows := {index for index in columns.others if not columns.rows[index]} - left:
        left |= others_of_rows
        layout = layout_of(names, _without(names, left))
    if left and len(left) < len(names):
        layout.warnings.append(warning_of([names[index] for index in sorted(left)]))
    known = understood(columns, layout.used)
    used = [index for index in layout.used if index not in known.held_out]
    texts, refused = captions.read_captions(files, owners, len(names))
    skipped.files += refused
    known.captions = known.captions or texts
    _add_layout(known, layout, columns, captioned=texts is not None)
    if known.captions and (bare := [names[index] for index in used if not known.captions[index]]):
        message = f"{len(bare)} of {len(used)} images have no caption: {listed(bare)}."
        known.warnings.append({"code": "captions_missing", "message": message})
    skipped.images += [(names[index], known.wrong[index]) for index in used if index in known.wrong]
    check_share(len(used), "images", skipped.images)
    return known, [index for index in used if index not in known.wrong]


def _without(names: list[str], left: set[int]) -> list[int]:
    return [index for index in range(len(names)) if index not in left] or list(range(len(names)))


def _add_layout(known: Known, layout: Layout, columns: Columns, captioned: bool) -> None:
    """Uses folders as classes if no table has classes."""
    if known.labels is not None:
        layout.warnings = [each for each in layout.warnings if each["code"] != "folders_not_used"]
    elif layout.labels and not (layout.wrong and (known.captions or columns.cells)):
        if captioned:
            without_repeats(layout)
        known.labels = [layout.labels.get(index, "") for index in range(columns.n)]
        known.wrong |= layout.wrong
    known.warnings = layout.warnings + known.warnings


def _tables(files: Files, names: list[str], others: list[str], used: list[int], skipped: Skipped) -> Columns:
    """Collects the facts about the images in tables."""
    named = [name for name in others if _is_named(name)]
    columns, images = Columns(len(names)), ImageNames(names)
    folders = [_folder(name) for name in named]
    if twice := [name for name, folder in zip(named, folders, strict=True) if folders.count(folder) > 1]:
        raise DataError(f"there are both {' and '.join(twice[:2])}; leave one")
    for name in named:
        _add_named(columns, files, name, images, skipped)
    tables = named or _add_others(columns, files, others, images, used, skipped)
    for name in others:
        if name not in tables:
            skipped.files.append((name, "neither an image nor a table or caption of these images"))
    return columns


def _is_named(name: str) -> bool:
    path = PurePosixPath(name.lower())
    return path.stem in NAMED and path.suffix in (".csv", ".tsv", ".jsonl")


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _add_named(columns: Columns, files: Files, name: str, images: ImageNames, skipped: Skipped) -> None:
    """Reads a table that must be valid; raises DataError naming it and the fault."""
    table = Columns(columns.n)
    try:
        table.add(read_table(name, files.read(name), _spelled(images, name)), images, _folder(name))
        lost = [(row, f"a row of {name} without an image") for row in table.lost]
        wrong = [(f"{name}, {place}", reason) for place, reason in table.wrong]
        check_share(table.n_rows, "rows", [*wrong, *lost], table.n_wrong + table.n_lost)
    except BudgetSpent:
        raise
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    skipped.rows += [*wrong, *lost]
    columns.merge(table)


def _spelled(images: ImageNames, name: str) -> Callable[[str], bool]:
    return lambda cell: images.find_spelled(cell, _folder(name)) is not None


def _add_others(
    columns: Columns, files: Files, others: list[str], images: ImageNames, used: list[int], skipped: Skipped
) -> list[str]:
    """Reads the first file that names nearly all images, or all JSON files that do; returns their names.

    COCO keeps captions and categories of the same images in several files.
    """
    used_names: list[str] = []
    for name in _candidates(others, images):
        if used_names and not (_is_json(name) and _is_json(used_names[0])):
            break
        table = Columns(columns.n)
        try:
            table.add(read_table(name, files.read(name), _spelled(images, name)), images, _folder(name))
        except BudgetSpent:
            raise
        except DataError:
            continue  # it is listed among the files that are not used
        if _covered(table, used) >= MIN_SHARE and table.n_wrong * 10 <= table.n_rows:
            columns.merge(table)
            used_names.append(name)
            skipped.rows += [(f"{name}, {place}", reason) for place, reason in table.wrong]
    return used_names


def _candidates(others: list[str], images: ImageNames) -> list[str]:
    """Returns the files that may be tables, the most likely first; a.json beside a.png is not one."""
    owned = {str(PurePosixPath(name).with_suffix("")) for name in images.names}
    ranks = {suffix: rank for rank, suffix in enumerate((".csv", ".tsv", ".jsonl", ".json", ".txt"))}
    free = [name for name in others if str(PurePosixPath(name).with_suffix("")) not in owned]
    tables = [name for name in free if name.lower().endswith(SUFFIXES)]
    tables.sort(key=lambda name: (CELEBA not in name.lower(), ranks[PurePosixPath(name.lower()).suffix], name))
    return tables[:MAX_OTHERS]


def _is_json(name: str) -> bool:
    return name.lower().endswith(".json")


def _covered(columns: Columns, used: list[int]) -> float:
    """Share of the images with a row of their own."""
    wanted = [index for index in used if columns.rows[index] or index not in columns.others]
    return sum(columns.rows[index] > 0 for index in wanted) / max(1, len(wanted))
