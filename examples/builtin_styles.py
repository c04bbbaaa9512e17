"""Renders the images in the built-in styles for the set `styles`: `python examples/builtin_styles.py`.

Each is a procedural paper cut, painted by the network of `fast` in one style; writes to `demo/`, or with `--models` to
models/data/builtin.
"""

import argparse

import numpy as np
from PIL import Image

from examples.output import arguments
from models.data.painting import paper_cut
from models.data.styles import BUILTIN, PALETTES
from models.stylize.fast import BUILTIN_STYLES, load_multistyle, stylize_builtin

SIDE, SEED = 384, 7
NATURAL = ("forest", "ocean", "dusk", "spring", "pastel", "sepia")  # palettes of the content


def main() -> None:
    """Writes one image for each built-in style."""
    args = arguments(argparse.ArgumentParser(), BUILTIN, "--models")
    net, weights = load_multistyle(), np.eye(BUILTIN_STYLES, dtype=np.float32)
    for number in range(BUILTIN_STYLES):
        rng = np.random.default_rng([SEED, number])
        landscape = paper_cut(rng, np.array(PALETTES[str(rng.choice(NATURAL))]) / 255).clip(0, 1)
        content = Image.fromarray((landscape * 255).round().astype(np.uint8))
        content = content.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        painted = stylize_builtin(net, np.asarray(content, np.float32) / np.float32(255), weights[number])
        image = Image.fromarray((painted * 255).round().astype(np.uint8))
        image.save(args.out / f"{number}.webp", quality=85, method=6)


if __name__ == "__main__":
    main()
