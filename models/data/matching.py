"""Matches rows of tables to images, and collects the rows of all images in columns."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice
from pathlib import PurePosixPath
from urllib.parse import unquote

from images.zips import clean_name
from models.data.tables import FILE_NAME, MAX_COLUMNS, Row
from models.errors import DataError

MAX_DEPTH = 6  # number of folders of a name that are compared
MAX_NAME = 1_000  # length up to which a cell may be a name
MAX_CELLS = 10_000_000  # stored of all tables
MAX_ROWS = 500_000  # of one table
MIN_SHARE = 0.9  # share of cells or images that decides what a column or file is
LOOKED_AT = 50  # rows by which the column of names is chosen
_NUMBERED = re.compile(r"#\d+$")  # Flickr8k's "a.jpg#2" is the third caption of a.jpg


class ImageNames:
    """The images that a name in a table may refer to.

    A name refers to the image of this path below the table's folder; or to the only image whose path ends in the name,
    or whose whole path is the end of the name (tables often name folders that the zip file does not have). If none
    matches, case is ignored, then suffixes.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def find(self, cell: str, folder: str = "") -> int | None:
        """Returns the index of the only image that a cell of a table in `folder` names, if there is one."""
        return next((index for index in self._found(cell, folder, self._spellings) if index is not None), None)

    def find_spelled(self, cell: str, folder: str = "") -> int | None:
        """Like `find`, for a name with the suffix of its file."""
        return next((index for index in self._found(cell, folder, self._spellings[:2]) if index is not None), None)

    def _found(self, cell: str, folder: str, spellings: Sequence["_Spelling"]) -> Iterator[int | None]:
        if not cell or len(cell) > MAX_NAME:
            return
        for name in dict.fromkeys((clean_name(_NUMBERED.sub("", cell)), clean_name(unquote(cell)))):
            yield from (spelling.find(name, folder) for spelling in spellings)

    @cached_property
    def _spellings(self) -> list["_Spelling"]:
        return [_Spelling(self.names, spell) for spell in (str, str.casefold, _without_suffix)]


def _without_suffix(name: str) -> str:
    return str(PurePosixPath(name).with_suffix("")).casefold() if name else ""


class _Spelling:
    def __init__(self, names: Sequence[str], spell: Callable[[str], str]) -> None:
        self._names, self.spell = names, spell

    @cached_property
    def _whole(self) -> dict[str, int | None]:
        return _unique((self.spell(name), index) for index, name in enumerate(self._names))

    @cached_property
    def _ends(self) -> dict[str, int | None]:
        spelled = ((self.spell(name).split("/"), index) for index, name in enumerate(self._names))
        return _unique(
            ("/".join(parts[-depth:]), index)
            for parts, index in spelled
            for depth in range(1, min(len(parts), MAX_DEPTH) + 1)
        )

    def find(self, name: str, folder: str) -> int | None:
        name = self.spell(name)
        below = f"{self.spell(folder)}/{name}" if folder else name
        for whole in (below, name):
            if whole in self._whole:
                return self._whole[whole]
        if name in self._ends:
            return self._ends[name]
        parts = name.split("/")
        shorter = ("/".join(parts[start:]) for start in range(1, min(len(parts), 2 * MAX_DEPTH)))
        return next((self._whole[end] for end in shorter if end in self._whole), None)


def _unique(pairs: Iterable[tuple[str, int]]) -> dict[str, int | None]:
    indices: dict[str, int | None] = {}
    for key, index in pairs:
        indices[key] = index if indices.get(key, index) == index else None
    return indices


@dataclass
class Columns:
    """Facts of n images from tables.

    cells: n texts for each title, empty where a table has none. rows: number of rows of each image. disagreeing: for a
    title, the images whose rows differ in it (the first one is used). wrong, lost: places and reasons of unreadable
    rows, and names of rows without an image, of each at most a tenth of the maximum number of rows. others: the images
    that further columns name, such as masks.
    """

    n: int
    cells: dict[str, list[str]] = field(default_factory=dict)
    rows: list[int] = field(default_factory=list)
    disagreeing: dict[str, set[int]] = field(default_factory=dict)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    others: set[int] = field(default_factory=set)
    n_rows: int = 0
    n_wrong: int = 0
    n_lost: int = 0
    _shared: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rows = [0] * self.n

    def add(self, rows: Iterator[Row], images: ImageNames, folder: str) -> None:
        """Reads a table in `folder`; raises DataError if it is not a table or too large."""
        first = list(islice(rows, LOOKED_AT))
        title = _name_title(first, images, folder)
        further = _further_titles(first, images, folder, title)
        for row in chain(first, rows):
            self.n_rows += 1
            if self.n_rows > MAX_ROWS:
                raise DataError(f"more than {MAX_ROWS} rows")
            index = None if row.wrong else images.find(row.cells.get(title, ""), folder)
            if row.wrong:
                self.n_wrong += 1
                self.wrong += [(row.place, row.wrong)] if self.n_wrong <= MAX_ROWS // 10 else []
            elif index is None:
                self.n_lost += 1
                self.lost += [row.cells.get(title, "")[:120] or row.place] if self.n_lost <= MAX_ROWS // 10 else []
            else:
                also = (images.find(row.cells.get(name, ""), folder) for name in further)
                self.others.update(each for each in also if each is not None and each != index)
                self._take(index, {name: cell for name, cell in row.cells.items() if name not in (title, *further)})

    def merge(self, other: "Columns") -> None:
        """Adds the facts of another table for cells that are still empty."""
        for index in (index for index in range(self.n) if other.rows[index]):
            self._take(index, {title: cells[index] for title, cells in other.cells.items()})
            self.rows[index] += other.rows[index] - 1
        self.others |= other.others
        for title, images in other.disagreeing.items():
            self.disagreeing.setdefault(title, set()).update(images)

    def _take(self, index: int, cells: dict[str, str]) -> None:
        again, self.rows[index] = self.rows[index] > 0, self.rows[index] + 1
        for title, cell in cells.items():
            column = self._column(title)
            if again and cell and column[index] and column[index] != cell:
                self.disagreeing.setdefault(title, set()).add(index)
            elif not column[index]:
                column[index] = self._shared.setdefault(cell, cell) if len(cell) < 40 else cell

    def _column(self, title: str) -> list[str]:
        if title not in self.cells:
            most = min(MAX_COLUMNS, MAX_CELLS // self.n)
            if len(self.cells) >= most:
                raise DataError(f"more than {most} columns for {self.n} images")
            self.cells[title] = [""] * self.n
        return self.cells[title]


def _further_titles(rows: Sequence[Row], images: ImageNames, folder: str, title: str) -> list[str]:
    """Returns the other columns that name files: nearly all of their cells are file names of images."""
    titles = []
    for name in dict.fromkeys(name for row in rows for name in row.cells if name != title):
        cells = [row.cells[name] for row in rows if row.cells.get(name)]
        named = sum(images.find_spelled(cell, folder) is not None for cell in cells)
        if cells and named >= MIN_SHARE * len(cells):
            titles.append(name)
    return titles


def _name_title(rows: Sequence[Row], images: ImageNames, folder: str) -> str:
    """Returns the column that names the files: `file_name`, or the first one that names the most."""
    titles = list(dict.fromkeys(title for row in rows for title in row.cells))
    for title in titles:
        if title.lower() == FILE_NAME:
            return title
    for find in (images.find_spelled, images.find):
        counts = {
            title: sum(find(row.cells.get(title, ""), folder) is not None for row in rows) for title in titles[:100]
        }
        if any(counts.values()):
            return max(titles[:100], key=lambda title: counts[title])
    return titles[0] if titles else FILE_NAME
