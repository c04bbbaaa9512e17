"""Two unpaired sets out of one, split by an attribute, as image translation is learnt from."""

from collections.abc import Sequence

import numpy as np

from models.data.dataset import DataError, Dataset


def split_by(dataset: Dataset, attribute: str, matched: Sequence[str] = ()) -> tuple[Dataset, Dataset]:
    """The pictures without the attribute, and those with it.

    matched: attributes whose combinations are to be equally frequent on both sides, so that a translator does not learn
    to change them too; surplus pictures are left out. Raises DataError where a side is empty.
    """
    has = dataset.attribute(attribute)
    cells = np.zeros(len(dataset), np.int64)
    for name in matched:
        cells = 2 * cells + dataset.attribute(name)
    sides: tuple[list[int], list[int]] = ([], [])
    for cell in np.unique(cells):
        rows = [np.flatnonzero((cells == cell) & (has == side)) for side in (False, True)]
        kept = min(len(side) for side in rows) if matched else None
        for side, found in zip(sides, rows, strict=True):
            side.extend(found[:kept].tolist())
    if not all(sides):
        raise DataError(f"attribute {attribute!r} must be there in some pictures and missing in others")
    without, with_ = (dataset.where(np.array(sorted(side))) for side in sides)
    return without, with_
