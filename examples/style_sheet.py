"""Writes `docs/images/styles.jpg`, the 26 built-in styles on one photograph: `python examples/style_sheet.py`."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from models.stylize.fast import BUILTIN_STYLES, load_multistyle, stylize_builtin

ROOT = Path(__file__).parent.parent
TILE, COLUMNS, CAPTION = 200, 7, 22


def main() -> None:
    """The photo first, then each style under the name that requests use."""
    photo = Image.open(ROOT / "examples" / "photos" / "astronaut.jpg").convert("RGB")
    content = np.asarray(photo.resize((2 * TILE, 2 * TILE)), np.float32) / np.float32(255)
    net = load_multistyle()
    tiles = [("photo", content)] + [
        (f"builtin:{index}", stylize_builtin(net, content, np.eye(BUILTIN_STYLES, dtype=np.float32)[index]))
        for index in range(BUILTIN_STYLES)
    ]
    rows = -(-len(tiles) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * TILE, rows * (TILE + CAPTION)), "white")
    for place, (name, pixels) in enumerate(tiles):
        left, top = place % COLUMNS * TILE, place // COLUMNS * (TILE + CAPTION)
        tile = Image.fromarray((pixels * 255).round().astype(np.uint8)).resize((TILE - 4, TILE - 4))
        sheet.paste(tile, (left + 2, top + 2))
        ImageDraw.Draw(sheet).text((left + 6, top + TILE + 1), name, "black", font_size=14)
    sheet.save(ROOT / "docs" / "images" / "styles.jpg", quality=80)


if __name__ == "__main__":
    main()
