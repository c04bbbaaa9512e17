"""Data sets of users: a folder or zip file of images, with labels from its folders, tables and text files."""

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from images.errors import ImageError
from images.sniff import sniff
from models.data import captions, tables
from models.data.archive import LIMITS, BudgetSpent, Files, Limits, open_files
from models.data.columns import Known
from models.data.dataset import Dataset, Report, listed, ordered
from models.data.facts import Skipped, check_share, known_of
from models.data.image import read_image
from models.errors import DataError

IMAGE_SUFFIXES = {
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
    *(".heic", ".heif", ".hif", ".avif"),
}
PLAIN = (
    "readme",
    "license",
    "licence",
    "copying",
)  # prefixes of file names that are ignored without a warning


def image_folder(
    path: Path,
    size: int,
    *,
    channels: int = 3,
    minimum: int = 1,
    limit: int | None = None,
    limits: Limits = LIMITS,
    on_read: Callable[[int], None] = lambda n: None,
) -> Dataset:
    """Reads the images in a folder or zip file in the order of their names: (n, size, size, channels), channels 1 or 3.

    Each is turned upright, composited over white, cropped to its center square and resized. Labels, attributes and
    captions come from tables, folders and text files, see docs/reference/data-sets.md. `limit` is the number of images
    to read, evenly spread. Files and rows that cannot be used are left out and listed in the data set's `report`.

    `on_read` gets the number of images read so far from time to time, and may raise to stop. Raises DataError for fewer
    images than `minimum`, if more than a tenth of the images or rows cannot be used, and past `limits`.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, got {channels}")
    skipped = Skipped()
    with open_files(path, limits) as files:
        names, others = _sorted(files, skipped)
        _check_number(path, len(names), minimum, skipped)
        known, usable = known_of(files, names, others, skipped)
        shape = (size, size, channels)
        images, kept = _read(files, names, _spread(usable, limit), limit or len(usable), shape, skipped, on_read)
        _check_number(path, len(kept), minimum, skipped)
    return _dataset(images, kept, known, Report(skipped.all(), tuple(known.warnings)))


def image_names(files: Files) -> tuple[list[str], list[tuple[str, str]]]:
    """The names of the images in a folder or zip file, in order, and of other files with the reasons."""
    skipped = Skipped()
    names, _ = _sorted(files, skipped)
    return names, list(skipped.all())


def _sorted(files: Files, skipped: Skipped) -> tuple[list[str], list[str]]:
    """Returns the names of images, and of files that may describe them, each in order."""
    for name, reason in files.refused:
        (skipped.images if name in files.openers else skipped.files).append((name, reason))
    images, others = [], []
    for name in sorted(files.openers):
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            images.append(name)
        elif PurePosixPath(name).name.lower().startswith(PLAIN) or suffix == ".md":
            continue
        elif suffix in (*tables.SUFFIXES, *captions.SUFFIXES):
            others.append(name)
        else:
            try:
                sniff(files.starts_with(name, 1024))
                images.append(name)
            except ImageError as error:
                skipped.files.append((name, error.message))
    return images, others


def _check_number(path: Path, n: int, minimum: int, skipped: Skipped) -> None:
    if n < max(minimum, 1):
        left = [name for name, _ in skipped.all()]
        also = f" (left out: {listed(left)})" if left else ""
        raise DataError(f"{path.name} holds {n} images; at least {max(minimum, 1)} are needed{also}")


# --- pixels ----------------------------------------------------------------------------------------------------------


def _spread(indices: list[int], limit: int | None) -> list[int]:
    """Reading order: first `limit` evenly spread images, so that all classes are included, then the rest."""
    if limit is None or limit >= len(indices):
        return indices
    chosen = [indices[k * len(indices) // limit] for k in range(limit)]
    return chosen + sorted(set(indices).difference(chosen))


def _read(
    files: Files,
    names: Sequence[str],
    order: Sequence[int],
    most: int,
    shape: tuple[int, int, int],
    skipped: Skipped,
    on_read: Callable[[int], None],
) -> tuple[NDArray[np.uint8], list[int]]:
    """Reads at most `limit` images, (n, *shape), and their indices; raises DataError if over a tenth are damaged."""
    images = np.empty((min(most, len(order)), *shape), np.uint8)
    kept: list[int] = []
    for index in order:
        if len(kept) == len(images):
            break
        if len(kept) % 50 == 0:
            on_read(len(kept))
        try:
            data = files.read(names[index])
            images[len(kept)] = read_image(data, shape[0], shape[2], files.limits.pixels)
        except BudgetSpent:
            raise
        except DataError as error:
            skipped.images.append((names[index], str(error)))
        else:
            kept.append(index)
    check_share(len(kept) + len(skipped.images), "images", skipped.images)
    return images[: len(kept)], kept


def _dataset(images: NDArray[np.uint8], kept: Sequence[int], known: Known, report: Report) -> Dataset:
    labels = [known.labels[index] for index in kept] if known.labels else []
    label_names = ordered(labels)
    numbers = {name: number for number, name in enumerate(label_names)}
    flags = np.array([[column[index] for index in kept] for column in known.attributes.values()], np.bool_)
    return Dataset(
        images,
        labels=np.array([numbers[label] for label in labels], np.int64),
        label_names=label_names,
        attributes=flags.T if known.attributes else np.zeros((0, 0), np.bool_),
        attribute_names=tuple(known.attributes),
        captions=tuple(known.captions[index] for index in kept) if known.captions else (),
        report=report,
    )
