"""Small zip files of images, packed as people pack them."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from models.data.dataset import Dataset
from models.data.folder import image_folder

N = 20
ROWS = [f"{number:02}.png" for number in range(N)]
HALVES = ["dog" if number % 2 else "cat" for number in range(N)]
WET = [number % 3 == 0 for number in range(N)]


def image(value: int = 0) -> bytes:
    """A PNG of 12 x 12 gray pixels of one value, by which it is known again."""
    file = io.BytesIO()
    Image.fromarray(np.full((12, 12), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def images(n: int, name: str = "{:02}.png") -> dict[str, bytes]:
    """So many of them, by name: the value of each is its number."""
    return {name.format(number): image(number) for number in range(n)}


def table(*rows: str, newline: str = "\n", encoding: str = "utf-8") -> bytes:
    """A text file of rows."""
    return "".join(f"{row}{newline}" for row in rows).encode(encoding)


def read(folder: Path, files: dict[str, bytes], minimum: int = 1, limit: int | None = None) -> Dataset:
    """What a zip file of them holds."""
    path = folder / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return image_folder(path, 4, channels=1, minimum=minimum, limit=limit)


def values(dataset: Dataset) -> list[int]:
    """The value of each image."""
    return [int(each[0, 0, 0]) for each in dataset.images]


def codes(dataset: Dataset) -> list[str]:
    """The codes of the warnings in a data set's report."""
    return [warning["code"] for warning in dataset.report.warnings]


def jsonl(*rows: object) -> bytes:
    """Objects of JSON, a line each."""
    return table(*map(json.dumps, rows))


IN_FOLDERS = {f"{half}/{row}": image(number) for number, (row, half) in enumerate(zip(ROWS, HALVES, strict=True))}
