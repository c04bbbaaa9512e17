"""Data sets by name, and folders or zip files by path."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from models.data.avatars import avatars, large_avatars
from models.data.dataset import Dataset, joined
from models.data.digits import digits
from models.data.flowers import flowers
from models.data.folder import image_folder
from models.data.idx import idx_dataset
from models.data.photos import photos
from models.data.smileys import smileys
from models.data.styles import styles
from models.errors import DataError

Split = Literal["train", "test"]
TRAIN_SEED, TEST_SEED = 0, 1  # seeds of the drawn sets; the splits share no image
DRAWN: dict[str, Callable[..., Dataset]] = {
    "avatars": avatars,
    "avatars-256": large_avatars,
    "flowers": flowers,
    "photos": photos,
    "smileys": smileys,
    "styles": styles,
}
DRAWN_AT_ONCE = 1000
DIGITS_TEST = 397  # the last of scikit-learn's 1,797, which have no splits
NAMED = ("digits", "mnist", "fashion-mnist", *DRAWN)


def named_dataset(
    name: str, split: Split = "train", limit: int | None = None, on_read: Callable[[int], None] = lambda n: None
) -> Dataset:
    """Loads a data set by name, at most `limit` images of it; a drawn one has `limit` images, by default 20,000.

    `on_read` is called from time to time with the number of images so far and may raise to stop. Raises DataError for
    an unknown name and for IDX files that are not on this machine.
    """
    if name in DRAWN:
        n, seed, parts = limit or 20_000, TRAIN_SEED if split == "train" else TEST_SEED, []
        for start in range(0, n, DRAWN_AT_ONCE):
            on_read(start)
            parts.append(DRAWN[name](min(DRAWN_AT_ONCE, n - start), seed, start=start))
        return joined(parts)
    if name == "digits":
        whole = digits()
        dataset = whole.where(slice(0, -DIGITS_TEST) if split == "train" else slice(-DIGITS_TEST, None))
    elif name in ("mnist", "fashion-mnist"):
        dataset = idx_dataset(name, split)  # type: ignore[arg-type]
    else:
        raise DataError(f"there is no data set {name!r}; there are {', '.join(NAMED)}, or the path of a folder or zip")
    return dataset.where(slice(0, limit))


def any_dataset(name_or_path: str, *, size: int, channels: int, limit: int | None = None) -> Dataset:
    """Loads a data set by name, or the images of a folder or zip file at `size` and in `channels`."""
    path = Path(name_or_path)
    if name_or_path in NAMED or not path.exists():
        return named_dataset(name_or_path, limit=limit)
    return image_folder(path, size, channels=channels, limit=limit)
