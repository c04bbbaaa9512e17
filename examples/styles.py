"""Explores and steers styles with a running service: `scripts/run`, then `python examples/styles.py`.

Writes the images of docs/how-to/explore-styles.md to `demo/`, or with `--docs` to docs/images; prints figures.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from atelier_client import Atelier
from examples.output import IMAGES, ROOT, arguments
from examples.spaces import images, print_metrics, save
from models.data.dataset import contact_sheet

PHOTOS = ROOT / "examples" / "photos"
STRENGTHS = [-3, -2, -1, 0, 1, 2, 3]
TOWARDS = [-2, -1, 0, 1, 2, 3, 4]


def main() -> None:
    """Builds a collection of styles and writes a grid of each request."""
    out = arguments(argparse.ArgumentParser(), IMAGES).out
    with Atelier() as atelier:
        explore(atelier, out)


def explore(atelier: Atelier, out: Path) -> None:
    """Sweeps components and attributes, moves to a style image and invents styles."""
    clusterings: Any = [{"method": "kmeans", "n_clusters": 12}]
    made = atelier.collect(
        name="Styles", space="style", data="styles", limit=300, seed=1, clusterings=clusterings
    ).wait()
    print({key: made.metrics["figures"][key] for key in ("n_images", "n_components", "components_for")})
    print(made.metrics["seconds"])
    collection, cat = made.collection, PHOTOS / "chelsea.jpg"
    attributes = ("stained_glass", "watercolor", "hatching", "ember")
    steerings: dict[str, dict[str, Any]] = {
        "components": {"components": [{"component": k, "strengths": STRENGTHS} for k in range(5)]},
        "attributes": {"components": [{"attribute": name, "strengths": TOWARDS} for name in attributes]},
        "towards": {"style_from": PHOTOS / "strokes.jpg", "style_components": 20},
    }
    for name, request in steerings.items():
        steered = collection.steer(content=cat, size=256, start="photo", seed=4, **request).wait()
        print_metrics(name, steered)
        save(images(steered, "grid")[0], out / f"style-{name}.jpg")
    sampled = collection.sample(content=cat, size=256, n=3, seed=2).wait()
    print_metrics("samples", sampled)
    pixels = np.stack([np.asarray(image.convert("RGB")) for image in images(sampled, "picture")])
    save(contact_sheet(pixels, 9), out / "style-invented.jpg")
    few = collection.sample(content=cat, size=192, n=6, seed=2, cluster=0).wait()
    save(images(few, "grid")[0], out / "style-cluster.jpg")


if __name__ == "__main__":
    main()
