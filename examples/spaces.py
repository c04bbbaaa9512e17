"""Collections, steerings and samplings with a running service: `scripts/run`, then `python examples/spaces.py`.

Writes the images of docs/explanation/spaces.md to `demo/`, or with `--docs` to docs/images; prints the jobs' figures.
"""

import argparse
import statistics
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

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
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--only", choices=["avatars", "flowers"])
    args = arguments(parser, IMAGES)
    with httpx.Client(base_url=args.url, timeout=120, trust_env=False) as http:
        if args.only != "flowers":
            avatars(http, args.out)
        if args.only != "avatars":
            flowers(http, args.out)


def avatars(http: httpx.Client, out: Path) -> None:
    """Collects embeddings of the avatars: components, clusters, directions, styles and texts."""
    made = run(
        http,
        "collections",
        name="Avatars",
        space="kandinsky-avatars",
        data="avatars",
        limit=800,
        seed=1,
        clusterings=[{"method": "kmeans"}, {"method": "mixture"}, {"method": "agglomerative"}, {"method": "hdbscan"}],
    )
    figures = made["metrics"]["figures"]
    print("avatars:", {key: figures[key] for key in ("n_images", "n_components", "components_for")})
    print(
        {name: clustering["n_clusters"] for name, clustering in figures["clusterings"].items()},
        made["metrics"]["seconds"],
    )
    collection = made["metrics"]["collection"]
    for name, image in plots(http, collection).items():
        if name in PLOTS:
            save(image, out / f"space-{PLOTS[name]}.jpg")
    by_attribute = run(http, f"collections/{collection}/plots", attribute="glasses")
    save(outputs(http, by_attribute, "plot")[0], out / "space-tsne-attribute.jpg")
    face, style = (upload(http, avatar(77, index)[0]) for index in (3, 8))
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
        steered = run(http, "pc-steerings", collection=collection, seed=4, **request)
        print_metrics(name, steered)
        save(outputs(http, steered, "grid")[0], out / f"space-{name}.jpg")
    sampled = run(http, "cluster-samplings", collection=collection, n=6, seed=2)
    print_metrics("samples", sampled)
    save(outputs(http, sampled, "grid")[0], out / "space-samples.jpg")
    path = {"through": [{"text": "a woman with glasses"}, {"text": "a man with a red hat"}]}
    animated = run(http, "pc-animations", collection=collection, path=path, n_frames=24, seed=4)
    film = http.get(animated["outputs"][0]["url"]).raise_for_status().content
    (out / "space-animation.webp").write_bytes(film)


def flowers(http: httpx.Client, out: Path) -> None:
    """Fits a Gaussian mixture to 800 gray flowers of 128 x 128 pixels."""
    made = run(
        http,
        "collections",
        **{"name": "Flowers", "space": "pixels", "image_size": 128, "channels": 1, "data": "flowers", "limit": 800},
        clusterings=[{"method": "mixture", "max_components": 400, "criterion": "aic"}],
        seed=1,
    )
    figures = made["metrics"]["figures"]
    mixture = figures["mixture"]
    tried = [int(row["n_components"]) for row in mixture["sweep"]]
    print(f"flowers: {figures['n_components']} components, {mixture['n_components']} Gaussians of {tried} tried")
    print(made["metrics"]["seconds"])
    collection = made["metrics"]["collection"]
    drawn = plots(http, collection)
    save(drawn["information-criteria"], out / "space-flowers-aic.jpg")
    save(drawn["components"], out / "space-flowers-components.jpg")
    sampled = run(http, "cluster-samplings", collection=collection, n=6, seed=2)
    print_metrics("flowers", sampled)
    save(outputs(http, sampled, "grid")[0], out / "space-flowers-samples.jpg")


def run(http: httpx.Client, path: str, /, **request: Any) -> dict[str, Any]:
    """Queues a job and waits for its end."""
    job = answer(http.post(f"/v1/{path}", json=request))
    while job["finished_at"] is None:
        time.sleep(0.5)
        job = answer(http.get(job["urls"]["self"]))
    if job["status"] != "succeeded":
        sys.exit(f"{path}: {job['error']}")
    return job


def plots(http: httpx.Client, collection: str) -> dict[str, Image.Image]:
    """Returns the plots of a collection by name."""
    listed = answer(http.get(f"/v1/collections/{collection}/plots"))["plots"]
    return {plot["name"]: Image.open(BytesIO(http.get(plot["url"]).raise_for_status().content)) for plot in listed}


def outputs(http: httpx.Client, job: dict[str, Any], role: str) -> list[Image.Image]:
    """Returns the outputs of one role."""
    urls = [output["url"] for output in job["outputs"] if output["role"] == role]
    return [Image.open(BytesIO(http.get(url).raise_for_status().content)) for url in urls]


def upload(http: httpx.Client, pixels: Any) -> str:
    """Uploads an image and returns its id."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return str(answer(http.post("/v1/images", files={"file": file.getvalue()}))["id"])


def answer(response: httpx.Response) -> dict[str, Any]:
    """Returns the body; an error ends the script."""
    if response.is_error:
        sys.exit(response.text)
    body: dict[str, Any] = response.json()
    return body


def print_metrics(name: str, job: dict[str, Any]) -> None:
    """Prints the medians of a job's metrics per image."""
    rows = job["metrics"]["pictures"]
    line = {key: round(statistics.median(row[key] for row in rows), 3) for key in ("distance", "density")}
    if "from_cluster" in rows[0]:
        line["in_its_cluster"] = round(statistics.mean(row["cluster"] == row["from_cluster"] for row in rows), 3)
    print(f"{name}: {len(rows)} images in {job['metrics']['run_ms'] / 1000:.1f} s, median {line}")


def save(image: Image.Image, path: Path) -> None:
    """Writes a small JPEG."""
    image = image.convert("RGB")
    image.thumbnail((MAX_WIDTH, 4 * MAX_WIDTH), Image.Resampling.LANCZOS)
    image.save(path, quality=82, optimize=True)


if __name__ == "__main__":
    main()
