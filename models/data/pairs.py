"""Splits a data set into two unpaired ones for image translation, by an attribute or by two classes."""

from collections.abc import Sequence

import numpy as np

from models.data.dataset import Dataset, listed
from models.errors import DataError


def sides_of(
    dataset: Dataset, attribute: str | None, matched: Sequence[str] = ()
) -> tuple[Dataset, Dataset, tuple[str, str]]:
    """Returns the images and the names of both sides: two classes, or images without and with the attribute.

    Without `attribute` the set must have two classes, or no class and one attribute; raises DataError otherwise.
    """
    classes = dataset.label_names if len(dataset.label_names) == 2 else ()
    if attribute is None:
        choices = classes[1:] or (dataset.attribute_names if not dataset.label_names else ())
        if len(choices) != 1:
            known = listed((*dataset.attribute_names, *dataset.label_names)) or "none"
            raise DataError(
                f"two classes or an `attribute` are needed; there are these attributes and classes: {known}"
            )
        attribute = choices[0]
    without, with_ = split_by(dataset, attribute, matched)
    if attribute in classes and attribute not in dataset.attribute_names:
        other = classes[1 - classes.index(attribute)]
        return without, with_, (other, attribute)
    return without, with_, (f"no {attribute}", attribute)


def split_by(dataset: Dataset, attribute: str, matched: Sequence[str] = ()) -> tuple[Dataset, Dataset]:
    """Returns the images without the attribute, and those with it.

    matched: attributes whose combinations are to be equally frequent on both sides, so that a translator does not learn
    to change them too; surplus images are left out. Raises DataError where a side is empty.
    """
    has = dataset.attribute(attribute)
    cells = np.zeros(len(dataset), np.int64)
    for name in matched:
        cells = 2 * cells + dataset.attribute(name)
    sides: tuple[list[int], list[int]] = ([], [])
    for cell in np.unique(cells):
        rows = [np.flatnonzero((cells == cell) & (has == side)) for side in (False, True)]
        kept = min(len(side) for side in rows) if matched else None
        for side, members in zip(sides, rows, strict=True):
            side.extend(members[:kept].tolist())
    if not all(sides):
        raise DataError(f"attribute {attribute!r} must be present in some images and absent in others")
    without, with_ = (dataset.where(np.array(sorted(side))) for side in sides)
    return without, with_
