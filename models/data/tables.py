"""Reads tables of facts about images: CSV and TSV, JSON lines, JSON of COCO and StyleGAN, CelebA's list.

Each is read as rows of cells by column title, one row at a time, so that a long table needs little memory.
"""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from models.errors import DataError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".txt")
CAPTIONS = (
    "caption",
    "text",
    "captions",
    "prompt",
    "description",
    "comment",
    "conversations",
)  # the first that exists is used
CELEBA = "list_attr_celeba"
FILE_NAME = "file_name"  # the column of Hugging Face's tables that names the file
MAX_COLUMNS = 1_000
MAX_LINE = 1 << 20  # characters: a parsed line needs far more memory than its text
MAX_JSON_VALUES = 4_000_000
NO_VALUE = {"nan", "null", "n/a", "<na>"}  # empty cells as written by pandas and databases
_EXCEL = re.compile(r"sep=(.)[\r\n]+", re.IGNORECASE)  # the first line that tells Excel the delimiter
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")


@dataclass(frozen=True)
class Row:
    """A row of a table: its place, and its cells by title or the reason why it cannot be read."""

    place: str
    cells: dict[str, str] = field(default_factory=dict)
    wrong: str = ""


def read_table(name: str, data: bytes, is_image: Callable[[str], bool]) -> Iterator[Row]:
    """Reads the rows of a table by the suffix of its name; raises DataError if it is not a table.

    is_image: whether a text names an image; if the first row has one, the table has no header.
    """
    text, suffix = decoded(data), PurePosixPath(name).suffix.lower()
    if PurePosixPath(name).name.lower() == f"{CELEBA}.txt":
        return _celeba_rows(text)
    if suffix == ".jsonl":
        return _jsonl_rows(text)
    if suffix == ".json":
        return _json_rows(text)
    return _csv_rows(text, is_image, whitespace=suffix == ".txt")


def decoded(data: bytes) -> str:
    """Decodes UTF-8 or UTF-16, with or without a byte order mark, or Windows-1252; raises DataError for others."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    elif data[:2].count(0) == 1:  # ASCII's first letter in UTF-16
        encodings = ["utf-16-be" if data[0] == 0 else "utf-16-le"]
    else:
        encodings = ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise DataError("not a text in UTF-8, UTF-16 or Windows-1252")


def _lines(text: str) -> Iterator[str]:
    """Yields lines with their line ends, of any system; raises DataError for one that is too long."""
    for match in _LINE.finditer(text):
        if match.end() - match.start() > MAX_LINE:
            raise DataError(f"a line of more than {MAX_LINE} characters")
        yield match[0]


def is_caption_title(title: str) -> bool:
    """Returns whether a column of this title holds captions."""
    return title.lower() in CAPTIONS


def _cell_of(title: str, value: Any) -> str | None:
    """Converts a JSON value to a cell: the first of a list of captions, all of other texts; None for other values."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            return value.strip()
        case int() | float():
            return str(value)[:40]
        case [*items] if all(isinstance(item, str) for item in items):
            return ", ".join(items[:1] if is_caption_title(title) else items)
        case [*turns] if title == "conversations":  # of LLaVA: an instruction, then the answer
            said = (turn.get("value") for turn in turns if isinstance(turn, dict) and turn.get("from") == "gpt")
            return next((value.strip() for value in said if isinstance(value, str)), "")
    return None


# --- CSV -------------------------------------------------------------------------------------------------------------


def _csv_rows(text: str, is_image: Callable[[str], bool], whitespace: bool) -> Iterator[Row]:
    excel = _EXCEL.match(text)
    text = text[excel.end() :] if excel else text
    delimiter = excel[1] if excel else _delimiter(text)
    lines = (line.split(None, 1) for line in _lines(text)) if whitespace and not delimiter else None
    rows = _stripped(_split(text, delimiter or ",") if lines is None else lines)
    header = next(rows, None)
    if header is None:
        raise DataError("the file is empty; its first row must name the columns")
    if len(header) > MAX_COLUMNS:
        raise DataError(f"{len(header)} columns; at most {MAX_COLUMNS} are allowed")
    first = 2
    if any(is_image(cell) for cell in header):
        rows, first = _chained(header, rows), 1
        header = [f"column {number}" for number in range(1, len(header) + 1)]
    titles = [title for title in header if title]
    if len(set(titles)) < len(titles):
        raise DataError("two columns have the same name")
    return (_csv_row(header, cells, number) for number, cells in enumerate(rows, first))


def _csv_row(header: list[str], cells: list[str], number: int) -> Row:
    while len(cells) > len(header) and not cells[-1]:
        cells.pop()  # delimiters at the end of a line
    if len(cells) != len(header):
        return Row(f"row {number}", wrong=f"{len(cells)} cells; the header has {len(header)}")
    return Row(f"row {number}", {title: cell for title, cell in zip(header, cells, strict=True) if title})


def _chained(first: list[str], rest: Iterator[list[str]]) -> Iterator[list[str]]:
    yield first
    yield from rest


def _split(text: str, delimiter: str) -> Iterator[list[str]]:
    reader = csv.reader(_lines(text), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        yield from reader
    except csv.Error as error:
        raise DataError(f"not a CSV file ({error})") from error


def _stripped(rows: Iterable[list[str]]) -> Iterator[list[str]]:
    """Yields the rows that are not empty, without spaces around cells."""
    for row in rows:
        cells = [cell.strip() for cell in row]
        if any(cells):
            yield ["" if cell.lower() in NO_VALUE else cell for cell in cells]


def _delimiter(text: str) -> str | None:
    """Detects the delimiter that most often splits the first rows into equally many cells; None if none does."""
    most_agreeing, best = 0.0, None
    head = text[: 1 << 16]
    for delimiter in "\t;|,":  # the rarest in texts first
        try:
            lengths = [len(row) for row in islice(_split(head, delimiter), 50) if row]
        except DataError:  # of a quoted cell that is cut off
            lengths = [len(row) for row in islice(csv.reader(head.splitlines(), delimiter=delimiter), 50) if row]
        agreeing = sum(length == lengths[0] for length in lengths) / len(lengths) if lengths else 0
        if lengths and lengths[0] > 1 and agreeing > most_agreeing:
            most_agreeing, best = agreeing, delimiter
    return best


# --- CelebA ----------------------------------------------------------------------------------------------------------


def _celeba_rows(text: str) -> Iterator[Row]:
    """Reads the list of Liu et al. 2015: a count, the attribute names, then for each image a name and -1 or 1 each."""
    lines = (line.split() for line in _lines(text) if line.strip())
    count, header = next(lines, []), next(lines, [])
    if len(count) != 1 or not count[0].isdecimal() or not 1 <= len(header) < MAX_COLUMNS:
        raise DataError("it must start with the number of images and a line of attribute names")
    return (_csv_row([FILE_NAME, *header], cells, number) for number, cells in enumerate(lines, 3))


# --- JSON ------------------------------------------------------------------------------------------------------------


def _jsonl_rows(text: str) -> Iterator[Row]:
    for number, line in enumerate(_lines(text), 1):
        if line.strip():
            yield _jsonl_row(line, f"line {number}")


def _jsonl_row(line: str, place: str) -> Row:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return Row(place, wrong="not JSON")
    return _object_row(value, place)


def _object_row(value: Any, place: str) -> Row:
    if not isinstance(value, dict):
        return Row(place, wrong="not a JSON object")
    if len(value) > MAX_COLUMNS:
        return Row(place, wrong=f"{len(value)} columns; at most {MAX_COLUMNS} are allowed")
    cells = {title.strip(): _cell_of(title.strip(), each) for title, each in value.items()}
    kept = {title: cell for title, cell in cells.items() if title and cell is not None}
    return Row(place, {title: "" if cell.lower() in NO_VALUE else cell for title, cell in kept.items()})


def _json_rows(text: str) -> Iterator[Row]:
    if text.count(",") + text.count("[") + text.count("{") > MAX_JSON_VALUES:
        raise DataError(f"more than {MAX_JSON_VALUES} values of JSON")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError("not JSON") from error
    match value:
        case {"images": [*images], "annotations": [*annotations]}:
            return _coco_rows(images, annotations, value.get("categories"))
        case {"labels": [*labels]}:  # StyleGAN's dataset.json
            return (_pair_row(pair, f"label {number}") for number, pair in enumerate(labels, 1))
        case [*objects]:
            return (_object_row(each, f"object {number}") for number, each in enumerate(objects, 1))
        case dict():
            return (_named_row(name, each) for name, each in value.items())
    raise DataError("neither a list of objects nor an object by file name")


def _pair_row(pair: Any, place: str) -> Row:
    if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)):
        return Row(place, wrong="not a name and a label")
    return _object_row({FILE_NAME: pair[0], "label": pair[1]}, place)


def _named_row(name: str, value: Any) -> Row:
    facts = value if isinstance(value, dict) else {"text" if isinstance(value, list) else "value": value}
    return _object_row({**facts, FILE_NAME: name}, repr(name[:80]))


def _coco_rows(images: list[Any], annotations: list[Any], categories: Any) -> Iterator[Row]:
    """Yields the first caption of each image, and whether it has each category (Lin et al. 2014, Chen et al. 2015)."""
    known = [each for each in annotations if isinstance(each, dict) and isinstance(each.get("image_id"), int | str)]
    names = {
        each["id"]: str(each["name"])
        for each in (categories if isinstance(categories, list) else [])
        if isinstance(each, dict) and isinstance(each.get("id"), int | str) and "name" in each
    }
    captions: dict[Any, str] = {}
    categories_of: dict[Any, set[str]] = {}
    for each in known:
        if isinstance(each.get("caption"), str):
            captions.setdefault(each["image_id"], each["caption"])
        if isinstance(each.get("category_id"), int | str) and each["category_id"] in names:
            categories_of.setdefault(each["image_id"], set()).add(names[each["category_id"]])
    used = sorted(set().union(*categories_of.values())) if categories_of else []
    for number, image in enumerate(images, 1):
        place = f"image {number}"
        if not isinstance(image, dict) or not isinstance(image.get("id"), int | str):
            yield Row(place, wrong="not an object with an `id`")
            continue
        has = {name: name in categories_of.get(image["id"], ()) for name in used[: MAX_COLUMNS - 2]}
        caption = {"caption": captions.get(image["id"])} if captions else {}
        yield _object_row({**has, FILE_NAME: image.get(FILE_NAME), **caption}, place)
