"""CelebA in its published layout (Liu et al., "Deep Learning Face Attributes in the Wild", 2015).

`img_align_celeba/*.jpg`, 178 x 218 each; `list_attr_celeba.txt`: the count, the 40 names, then a row of name and +-1
for each image; `list_eval_partition.txt`: name and 0 (train), 1 (valid) or 2 (test).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.data.dataset import Dataset, listed
from models.data.image import read_image
from models.errors import DataError

IMAGES, ATTRIBUTES, PARTITION = "img_align_celeba", "list_attr_celeba.txt", "list_eval_partition.txt"
SPLITS = {"train": "0", "valid": "1", "test": "2"}
SIGNS = {"-1": False, "1": True}

Split = Literal["train", "valid", "test"]
Table = dict[str, NDArray[np.bool_]]  # the row of each image, in the order of the file


def celeba(
    root: Path,
    size: int,
    *,
    attributes: Sequence[str] | None = None,
    split: Split | None = None,
    limit: int | None = None,
) -> Dataset:
    """Reads the first `limit` faces of a split, or all: the center 178 x 178 pixels, resized to (n, size, size, 3).

    `attributes` chooses and orders the columns; None takes all. Raises DataError, naming the file, row or attribute,
    for files that are missing or not in the layout, and for unknown attributes.
    """
    if split is not None and split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)} or None, got {split!r}")
    names, rows = _read_attributes(root / ATTRIBUTES)
    columns = _columns(names, attributes)
    chosen = list(rows if split is None else _of_split(root / PARTITION, rows, SPLITS[split]))[:limit]
    return Dataset(
        images=_read_images(root / IMAGES, chosen, size),
        attributes=np.array([rows[name][columns] for name in chosen], np.bool_).reshape(len(chosen), len(columns)),
        attribute_names=tuple(names[column] for column in columns),
    )


def _read_attributes(path: Path) -> tuple[tuple[str, ...], Table]:
    """Returns the names of the attributes, and a row (k,) for each image."""
    lines = _lines(path)
    if len(lines) < 2 or not lines[0].strip().isdecimal():
        raise DataError(f"{path.name} must start with the number of images and a line of attribute names")
    names = tuple(lines[1].split())
    rows = {}
    for number, line in enumerate(lines[2:], start=3):
        name, *cells = line.split()
        if len(cells) != len(names) or not SIGNS.keys() >= set(cells):
            raise DataError(f"{path.name}, row {number}: a file name and {len(names)} values of -1 or 1 are needed")
        rows[name] = np.array([SIGNS[cell] for cell in cells], np.bool_)
    if len(rows) != int(lines[0]):
        raise DataError(f"{path.name} declares {lines[0].strip()} images and names {len(rows)}")
    return names, rows


def _of_split(path: Path, rows: Table, wanted: str) -> list[str]:
    """Returns the names in `rows` that belong to a split by the partition file."""
    parts = {}
    for number, line in enumerate(_lines(path), start=1):
        cells = line.split()
        if len(cells) != 2 or cells[1] not in SPLITS.values():
            raise DataError(f"{path.name}, row {number}: a file name and 0, 1 or 2 are needed")
        parts[cells[0]] = cells[1]
    if lost := [name for name in rows if name not in parts]:
        raise DataError(f"{path.name} has no row for {listed(lost)}")
    return [name for name in rows if parts[name] == wanted]


def _lines(path: Path) -> list[str]:
    """Returns the lines that are not blank."""
    if not path.is_file():
        raise DataError(f"{path.name} is missing from {path.parent.name!r}")
    try:
        return [line for line in path.read_text("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not a text file") from error


def _columns(names: tuple[str, ...], wanted: Sequence[str] | None) -> list[int]:
    if unknown := [name for name in wanted or () if name not in names]:
        raise DataError(f"there are no attributes {listed(unknown)}; there are {', '.join(names)}")
    return [names.index(name) for name in (names if wanted is None else wanted)]


def _read_images(folder: Path, names: Sequence[str], size: int) -> NDArray[np.uint8]:
    if any("/" in name or "\\" in name or name == ".." for name in names):
        raise DataError(f"{ATTRIBUTES} names files outside {folder.name}")
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise DataError(f"{len(missing)} images are missing from {folder.name}: {listed(missing)}")
    images = np.empty((len(names), size, size, 3), np.uint8)
    for row, name in enumerate(names):
        try:
            images[row] = read_image((folder / name).read_bytes(), size, 3)
        except DataError as error:
            raise DataError(f"{folder.name}/{name}: {error}") from error
    return images
