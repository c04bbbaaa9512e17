"""Writes the contact sheets of docs/reference/data-sets.md to `demo/`, or with `--docs` to docs/images."""

import argparse

from examples.output import IMAGES, arguments
from models.data.avatars import avatars
from models.data.dataset import contact_sheet
from models.data.digits import digits
from models.data.flowers import flowers
from models.data.idx import idx_dataset
from models.data.smileys import smileys
from models.data.styles import styles
from models.errors import DataError


def main() -> None:
    """Writes one sheet for each data set that is installed."""
    args = arguments(argparse.ArgumentParser(), IMAGES)
    sheets = {
        "avatars": contact_sheet(avatars(48, seed=1).images, 12),
        "flowers": contact_sheet(flowers(24, seed=1).images, 8),
        "smileys": contact_sheet(smileys(48, seed=1).images, 12),
        "styles-set": contact_sheet(styles(68, seed=1).images[:, ::2, ::2], 17),
        "digits": contact_sheet(digits(size=16).images[:100], 25, scale=2),
    }
    try:
        sheets["fashion-mnist"] = contact_sheet(idx_dataset("fashion-mnist", "test").images[:48], 24)
    except DataError as error:
        print(error)
    for name, sheet in sheets.items():
        sheet.save(args.out / f"{name}.jpg", quality=82)


if __name__ == "__main__":
    main()
