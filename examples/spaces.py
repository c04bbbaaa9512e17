"""Collections, steerings and samplings with a running service: `scripts/run`, then `python examples/spaces.py`.

Writes the images of docs/explanation/spaces.md to `demo/`, or with `--docs` to docs/images; prints the jobs' figures.
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

from PIL import Image

from atelier_client import Atelier, Collection, Job
from examples.output import IMAGES, arguments
from models.data.avatars import avatar

MAX_WIDTH = 1000  # of an image in the docs, in pixels
PLOTS = {  # names of a collection's plots, and their names in the docs
    **{"explained-variance": "variance", "silhouette": "silhouette", "t-sne": "tsne", "pca": "pca"},
    **{"information-criteria": "criteria", "clusterings": "methods", "components": "components"},
    "correlations": "correlations",
}
STRENGTHS = [-3, -2, -1, 0, 1, 2, 3]


def main() -> None:
    """Runs the avatars, then the flowers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=["avatars", "flowers"])
    args = arguments(parser, IMAGES)
    with Atelier() as atelier:
        if args.only != "flowers":
            avatars(atelier, args.out)
        if args.only != "avatars":
            flowers(atelier, args.out)


def avatars(atelier: Atelier, out: Path) -> None:
    """Collects embeddings of the avatars: components, clusters, directions, styles and texts."""
    made = atelier.collect(
        name="Avatars",
        space="kandinsky-avatars",
        data="avatars",
        limit=800,
        seed=1,
        clusterings=[{"method": "kmeans"}, {"method": "mixture"}, {"method": "agglomerative"}, {"method": "hdbscan"}],
    ).wait()
    figures, collection = made.metrics["figures"], made.collection
    print("avatars:", {key: figures[key] for key in ("n_images", "n_components", "components_for")})
    print(
        {name: clustering["n_clusters"] for name, clustering in figures["clusterings"].items()},
        made.metrics["seconds"],
    )
    for name in collection.plots():
        if name in PLOTS:
            save(collection.plot(name), out / f"space-{PLOTS[name]}.jpg")
    by_attribute = collection.draw_plots(attribute="glasses").wait()
    save(images(by_attribute, "plot")[0], out / "space-tsne-attribute.jpg")
    save_steerings(collection, out)
    sampled = collection.sample(n=6, seed=2).wait()
    print_metrics("samples", sampled)
    save(images(sampled, "grid")[0], out / "space-samples.jpg")
    animated = collection.animate(
        path={"through": [{"text": "a woman with glasses"}, {"text": "a man with a red hat"}]}, n_frames=24, seed=4
    )
    animated.wait().outputs[0].save(out / "space-animation.webp")


def save_steerings(collection: Collection, out: Path) -> None:
    """Moves a face along attributes and towards another's style, and a text along components."""
    face, style = (Image.fromarray(avatar(77, index)[0]) for index in (3, 8))
    directions = [{"attribute": name, "strengths": STRENGTHS} for name in ("glasses", "woman", "smiling", "hat")]
    requests: dict[str, dict[str, Any]] = {
        "attributes": {"start": face, "components": directions},
        "style": {"start": face, "style_from": style},
        "text": {
            "start": {"text": "a smiling man with glasses and a red hat"},
            "components": [{"component": k, "strengths": STRENGTHS} for k in range(2)],
        },
    }
    for name, request in requests.items():
        steered = collection.steer(seed=4, **request).wait()
        print_metrics(name, steered)
        save(images(steered, "grid")[0], out / f"space-{name}.jpg")


def flowers(atelier: Atelier, out: Path) -> None:
    """Fits a Gaussian mixture to 800 gray flowers of 128 x 128 pixels."""
    made = atelier.collect(
        name="Flowers",
        space="pixels",
        image_size=128,
        channels=1,
        data="flowers",
        limit=800,
        clusterings=[{"method": "mixture", "max_components": 400, "criterion": "aic"}],
        seed=1,
    ).wait()
    figures, collection = made.metrics["figures"], made.collection
    mixture = figures["mixture"]
    tried = [int(row["n_components"]) for row in mixture["sweep"]]
    print(f"flowers: {figures['n_components']} components, {mixture['n_components']} Gaussians of {tried} tried")
    print(made.metrics["seconds"])
    save(collection.plot("information-criteria"), out / "space-flowers-aic.jpg")
    save(collection.plot("components"), out / "space-flowers-components.jpg")
    sampled = collection.sample(n=6, seed=2).wait()
    print_metrics("flowers", sampled)
    save(images(sampled, "grid")[0], out / "space-flowers-samples.jpg")


def images(job: Job, role: str) -> list[Image.Image]:
    """Returns the outputs of one role."""
    return [output.image() for output in job.outputs if output.role == role]


def print_metrics(name: str, job: Job) -> None:
    """Prints the medians of a job's metrics per image."""
    rows = job.metrics["pictures"]
    line = {key: round(statistics.median(row[key] for row in rows), 3) for key in ("distance", "density")}
    if "from_cluster" in rows[0]:
        line["in_its_cluster"] = round(statistics.mean(row["cluster"] == row["from_cluster"] for row in rows), 3)
    print(f"{name}: {len(rows)} images in {job.metrics['run_ms'] / 1000:.1f} s, median {line}")


def save(image: Image.Image, path: Path) -> None:
    """Writes a small JPEG."""
    image = image.convert("RGB")
    image.thumbnail((MAX_WIDTH, 4 * MAX_WIDTH), Image.Resampling.LANCZOS)
    image.save(path, quality=82, optimize=True)


if __name__ == "__main__":
    main()
