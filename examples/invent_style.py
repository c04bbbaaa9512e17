"""Invents a style with a running service: `scripts/run`, then `python examples/invent_style.py`.

Collects the 26 built-in styles as images, samples clusters of them, keeps a sample and paints a photo with it. Writes
the image of docs/how-to/invent-a-style.md to `demo/`, or with `--docs` to docs/images.
"""

import argparse
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from examples.output import IMAGES, arguments
from examples.spaces import answer, outputs, run, save
from models.grids import labeled_grid

PHOTO = Path(__file__).parent / "photos" / "coffee.jpg"
SIDE = 320
CHOSEN = 2  # of the samples


def main() -> None:
    """Runs each step and writes the results side by side."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    args = arguments(parser, IMAGES)
    with httpx.Client(base_url=args.url, timeout=300, trust_env=False) as http:
        photo = answer(http.post("/v1/images", files={"file": PHOTO.read_bytes()}))["id"]
        made = run(
            http,
            "collections",
            name="Styles",
            space="style",
            images=[image_of(http, photo, style["id"]) for style in answer(http.get("/v1/styles"))["styles"]],
            clusterings=[{"method": "kmeans", "n_clusters": 4}],
            seed=1,
        )
        collection = made["metrics"]["collection"]
        sampled = run(http, "cluster-samplings", collection=collection, n=2, size=SIDE, seed=3)
        style = answer(http.post("/v1/styles", json={"name": "Invented", "job": sampled["id"], "output": CHOSEN}))
        transfers = [
            {"content": photo, "style": style["id"], "size": SIDE},
            {"content": photo, "style": [{"image": style["id"]}, {"image": "builtin:starry-blue"}], "size": SIDE},
            {"method": "gatys", "content": photo, "style": style["id"], "size": SIDE, "seed": 1},
        ]
        painted = [outputs(http, run(http, "style-transfers", **transfer), "picture")[0] for transfer in transfers]
        shown = [outputs(http, sampled, "picture")[CHOSEN], Image.open(PHOTO), *painted]
    tiles = np.stack([np.asarray(each.convert("RGB").resize((SIDE, SIDE * 2 // 3))) for each in shown])
    titles = ["the kept sample", "a photo", "fast", "fast, with starry-blue", "gatys"]
    save(Image.fromarray(labeled_grid(tiles[None], [""], titles)), args.out / "invented-style.jpg")


def image_of(http: httpx.Client, photo: str, style: str) -> str:
    """Uploads the photo in a built-in style, which stands for the style; returns its id."""
    painted: dict[str, Any] = run(http, "style-transfers", content=photo, style=style, size=256)
    file = BytesIO()
    outputs(http, painted, "picture")[0].save(file, "PNG")
    return str(answer(http.post("/v1/images", files={"file": file.getvalue()}))["id"])


if __name__ == "__main__":
    main()
