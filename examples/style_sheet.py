"""Draws the 26 built-in styles on one photograph: `python examples/style_sheet.py`, with `--docs` into docs/images."""

import argparse

import numpy as np
from PIL import Image, ImageDraw

from examples.output import IMAGES, ROOT, arguments
from jobs.requests.styles import BUILTIN_NAMES
from models.stylize.fast import load_multistyle, stylize_builtin

TILE, COLUMNS, CAPTION = 200, 7, 22


def main() -> None:
    """Writes the photo, then each style with its number and name; a request may use either."""
    args = arguments(argparse.ArgumentParser(), IMAGES)
    photo = Image.open(ROOT / "examples" / "photos" / "astronaut.jpg").convert("RGB")
    content = np.asarray(photo.resize((2 * TILE, 2 * TILE)), np.float32) / np.float32(255)
    net = load_multistyle()
    tiles = [("photo", content)] + [
        (f"{number}: {name}", stylize_builtin(net, content, np.eye(len(BUILTIN_NAMES), dtype=np.float32)[number]))
        for number, name in enumerate(BUILTIN_NAMES)
    ]
    rows = -(-len(tiles) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * TILE, rows * (TILE + CAPTION)), "white")
    for place, (name, pixels) in enumerate(tiles):
        left, top = place % COLUMNS * TILE, place // COLUMNS * (TILE + CAPTION)
        tile = Image.fromarray((pixels * 255).round().astype(np.uint8)).resize((TILE - 4, TILE - 4))
        sheet.paste(tile, (left + 2, top + 2))
        ImageDraw.Draw(sheet).text((left + 6, top + TILE + 1), name, "black", font_size=14)
    sheet.save(args.out / "styles.jpg", quality=80)


if __name__ == "__main__":
    main()
