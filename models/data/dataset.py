"""The class of all data sets, and functions for them."""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from models.errors import DataError

LETTER, LINE = 6, 13  # approximate width of a caption's letters and height of its lines, in pixels


@dataclass(frozen=True)
class Report:
    """Files and rows of a folder or zip file that are not in the data set.

    skipped: name and reason of each file or row that was left out. warnings: `code` and `message` about
    what was read but is not used.
    """

    skipped: tuple[tuple[str, str], ...] = ()
    warnings: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True)
class Dataset:
    """Images of one size with labels, attributes and captions.

    images: uint8 of shape (n, h, w, channels), channels 1 or 3. labels: int64 (n,), one class each, named by
    `label_names`. attributes: bool (n, k), the columns named by `attribute_names`. captions: n sentences. Fields that a
    set does not have are empty. report: the files and rows that were left out.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    label_names: tuple[str, ...] = ()
    attributes: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), np.bool_))
    attribute_names: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()
    report: Report = Report()

    def __len__(self) -> int:
        return len(self.images)

    def attribute(self, name: str) -> NDArray[np.bool_]:
        """Returns a column of the attributes, or which images have a label, (n,); raises DataError."""
        if name in self.attribute_names:
            column: NDArray[np.bool_] = self.attributes[:, self.attribute_names.index(name)]
            return column
        if name in self.label_names:
            return np.asarray(self.labels == self.label_names.index(name), np.bool_)
        known = (*self.attribute_names, *self.label_names)
        more = f" and {len(known) - 50} more" if len(known) > 50 else ""
        raise DataError(f"there is no attribute {name!r}; there are {', '.join(known[:50]) or 'none'}{more}")

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.int64] | slice) -> "Dataset":
        """Selects images by a mask, indices or a slice, with their labels, attributes and captions."""
        rows = np.arange(len(self))[chosen]
        return replace(
            self,
            images=self.images[rows],
            labels=self.labels[rows] if len(self.labels) else self.labels,
            attributes=self.attributes[rows] if len(self.attributes) else self.attributes,
            captions=tuple(self.captions[row] for row in rows) if self.captions else (),
        )


def in_gray(dataset: Dataset) -> Dataset:
    """Converts the images of a data set to gray; see `gray`. A gray set stays the same object."""
    images = gray(dataset.images)
    return dataset if images is dataset.images else replace(dataset, images=images)


def gray(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Converts images (n, h, w, 3) to luma (ITU-R BT.601), (n, h, w, 1), as the encoders of gray spaces do.

    Gray images stay as they are.
    """
    if images.shape[3] == 1:
        return images
    return np.stack([np.asarray(Image.fromarray(each).convert("L")) for each in images])[..., None]


def color(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeats the channel of gray images (n, h, w, 1) three times; images in color stay as they are."""
    return images.repeat(3, axis=3) if images.shape[3] == 1 else images


def listed(names: Sequence[str], most: int = 10) -> str:
    """Formats the first names, quoted and shortened, and the number of others."""
    shown = ", ".join(repr(name if len(name) <= 120 else f"{name[:117]}...") for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Returns distinct names, sorted; as numbers if all are numbers, so that label 10 follows 9."""
    distinct = set(names)
    if all(name.isdecimal() and len(name) < 20 for name in distinct):
        return tuple(sorted(distinct, key=lambda name: (int(name), name)))
    return tuple(sorted(distinct))


def joined(parts: Sequence[Dataset]) -> Dataset:
    """Concatenates data sets with the same names."""
    return replace(
        parts[0],
        images=np.concatenate([part.images for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        attributes=np.concatenate([part.attributes for part in parts]),
        captions=tuple(caption for part in parts for caption in part.captions),
    )


def contact_sheet(images: NDArray[np.uint8], columns: int, captions: Sequence[str] = (), scale: int = 1) -> Image.Image:
    """Lays out images (n, h, w, channels) in rows, each with its wrapped caption below, if captions are given."""
    n, height, width, _ = images.shape
    texts = [textwrap.fill(caption, max(6, width * scale // LETTER)) for caption in captions]
    tall = height * scale + (3 + LINE * (1 + max(text.count("\n") for text in texts)) if texts else 0)
    sheet = Image.new("RGB", (columns * (width * scale + 2), -(-n // columns) * (tall + 2)), "white")
    for place, pixels in enumerate(images):
        left, top = place % columns * (width * scale + 2), place // columns * (tall + 2)
        tile = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
        sheet.paste(tile.resize((width * scale, height * scale), Image.Resampling.NEAREST), (left, top))
        if texts:
            below = (left + 2, top + height * scale + 1)
            ImageDraw.Draw(sheet).multiline_text(below, texts[place], "black", font_size=11, spacing=2)
    return sheet
