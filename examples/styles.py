"""Explores and steers styles with a running service: `scripts/run`, then `python examples/styles.py`.

Writes the images of docs/how-to/explore-styles.md to `demo/`, or with `--docs` to docs/images; prints figures.
"""

import argparse
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from examples.output import IMAGES, ROOT, arguments
from examples.spaces import outputs, print_metrics, run, save, upload
from models.data.dataset import contact_sheet

PHOTOS = ROOT / "examples" / "photos"
STRENGTHS = [-3, -2, -1, 0, 1, 2, 3]
TOWARDS = [-2, -1, 0, 1, 2, 3, 4]


def main() -> None:
    """Builds a collection of styles and writes a grid of each request."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    args = arguments(parser, IMAGES)
    with httpx.Client(base_url=args.url, timeout=120, trust_env=False) as http:
        explore(http, args.out)


def explore(http: httpx.Client, out: Path) -> None:
    """Sweeps components and attributes, moves to a style image and invents styles."""
    made = run(
        http,
        "collections",
        **{"name": "Styles", "space": "style", "data": "styles", "limit": 300, "seed": 1},
        clusterings=[{"method": "kmeans", "n_clusters": 12}],
    )
    print({key: made["metrics"]["figures"][key] for key in ("n_images", "n_components", "components_for")})
    print(made["metrics"]["seconds"])
    collection, cat = made["metrics"]["collection"], photo(http, "chelsea.jpg")
    attributes = ("stained_glass", "watercolor", "hatching", "ember")
    steerings: dict[str, dict[str, Any]] = {
        "components": {"components": [{"component": k, "strengths": STRENGTHS} for k in range(5)]},
        "attributes": {
            "components": [{"attribute": name, "strengths": [-2, -1, 0, 1, 2, 3, 4]} for name in attributes]
        },
        "towards": {"style_from": photo(http, "strokes.jpg"), "style_components": 20},
    }
    for name, request in steerings.items():
        asked = {"collection": collection, "content": cat, "size": 256, "start": "photo", "seed": 4} | request
        steered = run(http, "pc-steerings", **asked)
        print_metrics(name, steered)
        save(outputs(http, steered, "grid")[0], out / f"style-{name}.jpg")
    sampled = run(http, "cluster-samplings", collection=collection, content=cat, size=256, n=3, seed=2)
    print_metrics("samples", sampled)
    images = np.stack([np.asarray(image.convert("RGB")) for image in outputs(http, sampled, "picture")])
    save(contact_sheet(images, 9), out / "style-invented.jpg")
    few = run(http, "cluster-samplings", collection=collection, content=cat, size=192, n=6, seed=2, cluster=0)
    save(outputs(http, few, "grid")[0], out / "style-cluster.jpg")


def photo(http: httpx.Client, name: str) -> str:
    """Uploads a photo of this repository and returns its id."""
    with Image.open(PHOTOS / name) as image:
        return upload(http, np.asarray(image.convert("RGB")))


if __name__ == "__main__":
    main()
