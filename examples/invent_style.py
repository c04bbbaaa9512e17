"""Invents a style with a running service: `scripts/run`, then `python examples/invent_style.py`.

Collects the 26 built-in styles as images, samples clusters of them, keeps a sample and paints a photo with it. Writes
the image of docs/how-to/invent-a-style.md to `demo/`, or with `--docs` to docs/images.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from atelier_client import Atelier
from examples.output import IMAGES, arguments
from examples.spaces import images, save
from models.grids import labeled_grid

PHOTO = Path(__file__).parent / "photos" / "coffee.jpg"
SIDE = 320
CHOSEN = 2  # of the samples


def main() -> None:
    """Runs each step and writes the results side by side."""
    out = arguments(argparse.ArgumentParser(), IMAGES).out
    with Atelier() as atelier:
        builtin = [each["id"] for each in atelier.styles()["styles"]]
        jobs = [atelier.style_transfer(content=PHOTO, style=style, size=256) for style in builtin]
        collection = atelier.collect(
            name="Styles",
            space="style",
            images=[job.wait().outputs[0].image() for job in jobs],  # each stands for its style
            clusterings=[{"method": "kmeans", "n_clusters": 4}],
            seed=1,
        )
        sampled = collection.wait().collection.sample(n=2, size=SIDE, seed=3).wait()
        style = atelier.keep_style("Invented", sampled.outputs[CHOSEN])["id"]
        blend: Any = [{"image": style}, {"image": "builtin:starry-blue"}]
        transfers = [
            atelier.style_transfer(content=PHOTO, style=style, size=SIDE),
            atelier.style_transfer(content=PHOTO, style=blend, size=SIDE),
            atelier.style_transfer(method="gatys", content=PHOTO, style=style, size=SIDE, seed=1),
        ]
        painted = [transfer.wait().outputs[0].image() for transfer in transfers]
        shown = [images(sampled, "picture")[CHOSEN], Image.open(PHOTO), *painted]
    tiles = np.stack([np.asarray(each.convert("RGB").resize((SIDE, SIDE * 2 // 3))) for each in shown])
    titles = ["the kept sample", "a photo", "fast", "fast, with starry-blue", "gatys"]
    save(Image.fromarray(labeled_grid(tiles[None], [""], titles)), out / "invented-style.jpg")


if __name__ == "__main__":
    main()
