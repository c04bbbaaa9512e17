"""Renders the thumbnails of the built-in styles in the Studio: `python examples/studio_styles.py`.

Each is the cat's face, painted by the network of `fast`. One image has all of them, below each other, so that a browser
loads them by one request; writes it to `demo/`, or with `--studio` to api/static.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from examples.output import arguments
from models.stylize.fast import BUILTIN_STYLES, load_multistyle, stylize_builtin

PHOTO = Path(__file__).parent / "photos" / "chelsea.jpg"
FOLDER = Path(__file__).parent.parent / "api" / "static"
FACE, PAINTED, SIDE = (55, 0, 355, 300), 288, 144


def main() -> None:
    """Writes one image of all built-in styles."""
    args = arguments(argparse.ArgumentParser(), FOLDER, "--studio")
    face = Image.open(PHOTO).convert("RGB").crop(FACE).resize((PAINTED, PAINTED), Image.Resampling.BICUBIC)
    net, weights = load_multistyle(), np.eye(BUILTIN_STYLES, dtype=np.float32)
    strip = Image.new("RGB", (SIDE, SIDE * BUILTIN_STYLES))
    for number in range(BUILTIN_STYLES):
        painted = stylize_builtin(net, np.asarray(face, np.float32) / np.float32(255), weights[number])
        image = Image.fromarray((painted * 255).round().astype(np.uint8))
        strip.paste(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (0, number * SIDE))
    strip.save(args.out / "styles.webp", quality=72, method=6)


if __name__ == "__main__":
    main()
