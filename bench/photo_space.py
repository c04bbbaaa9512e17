"""Do clusters tell photographs apart? Crops of twelve, through the API: `python -m bench.photo_space`.

Prints for each space the adjusted Rand index of k-means against the photograph that each crop is from.
"""

import argparse
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from PIL import Image
from skimage import data
from sklearn.metrics import adjusted_rand_score

from jobs.objects import Objects
from models.space.collection import FittedCollection, load_collection
from tests.stack import Stack

PHOTOS = (
    *("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "retina", "immunohistochemistry"),
    *("camera", "coins", "moon", "brick", "grass"),
)
EACH = 26  # crops of a photograph
SIDES = 0.3, 0.6  # of the shorter side of the photograph
SPACES = ("photo", "pixels", "kandinsky-avatars")
FOUND = "chosen by silhouette"


def main() -> None:
    """Build a collection of the crops in each space and compare its clusters with the photographs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    crops = archive(np.random.default_rng(args.seed))
    print(f"{len(PHOTOS) * EACH} random crops of {len(PHOTOS)} photographs; adjusted Rand index of k-means")
    print(f"{'space':20}{f'of {len(PHOTOS)}':>12}{FOUND:>28}")
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), ATELIER_LEASE_S="60").start_all()
        try:
            archive_id = stack.client.post("/v1/archives", files={"file": crops}).json()["id"]
            for space in SPACES:
                given, chosen = (built(stack, space, archive_id, n) for n in (len(PHOTOS), None))
                agreed = [agreement(each) for each in (given, chosen)]
                n_chosen = chosen.clusterings["kmeans"].n_clusters
                print(f"{space:20}{agreed[0]:12.3f}{f'{agreed[1]:.3f} ({n_chosen} clusters)':>28}", flush=True)
        finally:
            stack.stop()


def archive(rng: np.random.Generator) -> bytes:
    """A zip file of crops, in a folder for each photograph."""
    file = BytesIO()
    with ZipFile(file, "w") as zipped:
        for k, (name, crop) in enumerate(crops_of(rng)):
            image = BytesIO()
            crop.save(image, "PNG")
            zipped.writestr(f"{name}/{k}.png", image.getvalue())
    return file.getvalue()


def crops_of(rng: np.random.Generator) -> Iterator[tuple[str, Image.Image]]:
    """Random square crops, each with the name of its photograph."""
    for name in PHOTOS:
        photo = Image.fromarray(getattr(data, name)()).convert("RGB")
        for _ in range(EACH):
            side = int(min(photo.size) * rng.uniform(*SIDES))
            left, top = (int(rng.integers(length - side + 1)) for length in photo.size)
            yield name, photo.crop((left, top, left + side, top + side))


def built(stack: Stack, space: str, archive_id: str, n_clusters: int | None) -> FittedCollection:
    """The collection that the service builds."""
    clustering: dict[str, Any] = {"method": "kmeans"} | ({"n_clusters": n_clusters} if n_clusters else {})
    body = {"name": "Crops", "space": space, "data": archive_id, "clusterings": [clustering], "seed": 0}
    answer = stack.client.post("/v1/collections", json=body)
    assert answer.status_code == 202, answer.text
    job = stack.finished(answer.json()["id"], 300)
    assert job["status"] == "succeeded", job["error"]
    [version] = stack.jobs.collections.get(job["metrics"]["collection"]).versions
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "collection.npz"
        Objects(stack.settings, stack.jobs, retry_s=1).get_file(version.file, path)
        return load_collection(path)


def agreement(collection: FittedCollection) -> float:
    """Adjusted Rand index of the clusters against the photographs."""
    members = collection.members
    sources = members.attributes[:, [members.attribute_names.index(name) for name in PHOTOS]].argmax(1)
    return float(adjusted_rand_score(sources, collection.clusterings["kmeans"].labels_))


if __name__ == "__main__":
    main()
