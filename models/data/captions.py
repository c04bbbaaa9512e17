"""Captions in text files beside images, as written by kohya's tools and others: a.png with a.txt or a.caption."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from models.data.archive import BudgetSpent, Files
from models.data.tables import decoded
from models.errors import DataError

SUFFIXES = (".txt", ".caption")
MAX_BYTES = 1 << 16  # of a caption file


def caption_files(texts: Iterable[str], names: Sequence[str]) -> dict[str, list[int]]:
    """Returns the images of each text file: those of its name in its folder, or the only one of its name anywhere."""
    beside, anywhere = defaultdict(list), defaultdict(list)
    for index, name in enumerate(names):
        beside[name.casefold()].append(index)  # for a.png.txt
        beside[_stem(name)].append(index)
        anywhere[PurePosixPath(_stem(name)).name].append(index)
    images_of = {}
    for text in texts:
        alone = anywhere.get(PurePosixPath(_stem(text)).name, [])
        if images := beside.get(_stem(text)) or (alone if len(alone) == 1 else None):
            images_of[text] = images
    return images_of


def read_captions(files: Files, owners: dict[str, list[int]], n: int) -> tuple[list[str] | None, list[tuple[str, str]]]:
    """Returns the captions of n images, empty for none, and the files without a caption, with the reasons."""
    captions, refused = [""] * n, []
    for text, images in owners.items():
        try:
            caption = _caption(files.read(text))
        except BudgetSpent:
            raise
        except DataError as error:
            refused.append((text, str(error)))
            continue
        for index in images:
            captions[index] = captions[index] or caption
    return captions if any(captions) else None, refused


def _caption(data: bytes) -> str:
    """Returns the first line that is not empty; kohya's tools treat the others as alternatives."""
    if len(data) > MAX_BYTES:
        raise DataError(f"a caption of more than {MAX_BYTES} bytes")
    lines = [line.strip() for line in decoded(data).splitlines() if line.strip()]
    if lines and all(map(_is_box, lines)):
        raise DataError("boxes of objects, which no recipe uses")
    return lines[0] if lines else ""


def _is_box(line: str) -> bool:
    """Returns whether a line is a YOLO label: a class, then x, y, width and height, or more points."""
    first, *rest = line.split()
    try:
        return first.isdecimal() and len(rest) >= 4 and all(-1 <= float(value) <= 2 for value in rest)
    except ValueError:
        return False


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix("")).casefold()
