"""The space of styles measured on photographs: `python -m bench.style_space`.

Photos: ten of scikit-image and scikit-learn, whole and their center, at most 256 pixels a side. Each vector is painted,
and the painted image is encoded again.
"""

import argparse
import time
from collections.abc import Iterable, Iterator
from itertools import cycle, product
from pathlib import Path

import numpy as np
import skimage.data
import sklearn.datasets
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from models.data.dataset import Dataset
from models.data.named import named_dataset
from models.space.collection import FittedCollection, Members, fit_collection
from models.space.sampling import sample_cluster
from models.space.steering import along, component_direction, moved
from models.space.style import MAX_STYLE_ERROR, MIN_CONTENT_KEPT, StyleSpace, content_kept
from models.stylize.fast import (
    BUILTIN_STYLES,
    ArbitraryNet,
    Array,
    load_arbitrary,
    load_multistyle,
    style_vector,
    stylize_builtin,
    stylize_vector,
)

PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "retina.jpg", "ihc.png", "hubble_deep_field.jpg")
MORE_PHOTOS = ("motorcycle_left.png",)
STRENGTHS = (-2, -1, 0, 1, 2)
FAR = (2, 3, 4, 6, 8)  # strengths, both ways
COVERING = "engraving"  # a family of styles whose strokes cover photos
COMPONENTS, CLUSTERS = 8, 12
SAMPLES = 2  # of each cluster, on each photo of every fourth
CONTENT_SIDE, TIMED = 384, 20


def main() -> None:
    """Prints every figure of docs/results.md about the space of styles."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=int, default=20)
    parser.add_argument("--styles", type=int, default=300)
    args = parser.parse_args()
    net, photos = load_arbitrary(), list(_photos(256))[: args.photos]
    start = time.perf_counter()
    dataset = named_dataset("styles", limit=args.styles)
    print(f"{len(dataset)} images of the set styles painted in {time.perf_counter() - start:.1f} s")
    collection = _collection(net, dataset)
    _print_components(net, collection, photos)
    _print_far(net, collection, photos[::3])
    _print_samples(net, collection, photos[::4])
    _print_builtin(net, photos[:12:2])
    _print_speed(net, collection)


def _photos(side: int) -> Iterator[Array]:
    """Each photo, and the center half of each."""
    folders = Path(skimage.data.__file__).parent, Path(sklearn.datasets.__file__).parent / "images"
    paths = [
        *(folders[0] / name for name in (*PHOTOS, *MORE_PHOTOS)),
        folders[1] / "china.jpg",
        folders[1] / "flower.jpg",
    ]
    for path in paths:
        with Image.open(path) as file:
            image = file.convert("RGB")
        width, height = image.size
        for part in (image, image.crop((width // 4, height // 4, 3 * width // 4, 3 * height // 4))):
            part.thumbnail((side, side), Image.Resampling.LANCZOS)
            yield np.asarray(part, np.float32) / np.float32(255)


def _collection(net: ArbitraryNet, dataset: Dataset) -> FittedCollection:
    n = len(dataset)
    vectors = np.stack([style_vector(net, image / np.float32(255)) for image in dataset.images.astype(np.float32)])
    names, thumbnails = np.array([f"styles/{k}" for k in range(n)]), dataset.images[:, ::8, ::8]
    members = Members(vectors, thumbnails, names, dataset.attributes.astype(np.int8), dataset.attribute_names)
    pca = {"n_components": None, "explained_variance": 0.95, "standardize": False}
    return fit_collection(members, pca=pca, clusterings=[{"method": "kmeans", "n_clusters": CLUSTERS}], seed=0)


def _reencoded(net: ArbitraryNet, collection: FittedCollection, photo: Array, vectors: Array) -> Array:
    """Scores (n, k) of vectors after they have painted a photo, in standard deviations of the members."""
    painted = [style_vector(net, stylize_vector(net, photo, vector)) for vector in vectors]
    return collection.pca.transform(np.stack(painted))


def _print_components(net: ArbitraryNet, collection: FittedCollection, photos: list[Array]) -> None:
    pca = collection.pca
    deviations = np.sqrt(pca.explained_variance_)[:COMPONENTS]
    rises, reach, others = [], [], []
    for photo in photos:
        for component in range(COMPONENTS):
            changes = along(component_direction(pca, component), STRENGTHS)
            vectors = moved(pca, np.repeat(pca.mean_[None], len(changes), 0), changes)
            scores = _reencoded(net, collection, photo, vectors)[:, :COMPONENTS] / deviations
            went = scores[-1] - scores[0]
            rises.append(bool((np.diff(scores[:, component]) > 0).all()))
            reach.append(went[component] / (STRENGTHS[-1] - STRENGTHS[0]))
            others.append(np.abs(np.delete(went, component)).mean() / abs(went[component]))
    print(f"{len(photos)} photos x {COMPONENTS} components, strengths {STRENGTHS}, from the mean:")
    print(
        f"  projection rises at every step in {np.mean(rises):.1%} of the pairs, by {np.median(reach):.2f} of each step"
    )
    third = np.mean(np.array(others) < 1 / 3)
    print(f"  another component moves by {np.median(others):.3f} of it (median), under a third in {third:.1%}")


def _print_far(net: ArbitraryNet, collection: FittedCollection, photos: list[Array]) -> None:
    """The share of painted photos that a job would warn about, by strength, and of those in the styles of members."""
    pca, members = collection.pca, collection.members
    centers = pca.inverse_transform(collection.clusterings["kmeans"].cluster_centers_)
    engraved = members.vectors[members.attributes[:, members.attribute_names.index(COVERING)] == 1]
    styles: dict[str, Iterable[tuple[Array, Array]]] = {
        "members": zip(cycle(photos), members.vectors[:150], strict=False)
    }
    styles |= {COVERING: product(photos, engraved[:8]), "centers": product(photos, centers)}
    for strength in FAR:
        changes = [along(component_direction(pca, k), (-strength, strength)) for k in range(6)]
        styles[str(strength)] = product(photos, moved(pca, pca.mean_[None], np.concatenate(changes)))
    for name, pairs in styles.items():
        warned = np.array([_warned(net, *pair) for pair in pairs]).mean(0)
        print("warned about, {}: {:.1%} by the error of the style, {:.1%} by the content kept".format(name, *warned))


def _warned(net: ArbitraryNet, photo: Array, style: Array) -> tuple[bool, bool]:
    """Whether a job would warn of a photo in a style: of the style, and of the content that it covers."""
    painted = stylize_vector(net, photo, style)
    error = np.linalg.norm(style_vector(net, painted) - style)
    [kept] = content_kept(photo, (255 * painted[None]).round().astype(np.uint8))
    return bool(error > MAX_STYLE_ERROR), bool(kept < MIN_CONTENT_KEPT)


def _print_samples(net: ArbitraryNet, collection: FittedCollection, photos: list[Array]) -> None:
    """Samples of each cluster, and those that the runner draws again: less spread, where they left their cluster."""
    right = np.zeros((3, len(photos), CLUSTERS, SAMPLES), bool)
    for redraw, (row, photo), cluster in product(range(3), enumerate(photos), range(CLUSTERS)):
        rng, clustering = np.random.default_rng([redraw, cluster]), collection.clusterings["kmeans"]
        drawn = sample_cluster(collection.scores, clustering, cluster, SAMPLES, 0.6**redraw, rng)
        right[redraw, row, cluster] = right[redraw - 1, row, cluster] if redraw else False
        if not right[redraw, row, cluster].all():
            again = _reencoded(net, collection, photo, collection.pca.inverse_transform(drawn))
            right[redraw, row, cluster] |= collection.assigned("kmeans", again) == cluster
    once, last = right[0].mean(), right[-1].mean()
    print(
        f"{right[0].size} samples of {CLUSTERS} clusters: {once:.1%} encode to their cluster, {last:.1%} after redraws"
    )


def _print_builtin(net: ArbitraryNet, photos: list[Array]) -> None:
    """K-means of photos in the built-in styles, by style."""
    multistyle, vectors = load_multistyle(), []
    weights: NDArray[np.float32] = np.eye(BUILTIN_STYLES, dtype=np.float32)
    for row in weights:
        vectors += [style_vector(net, stylize_builtin(multistyle, photo, row)) for photo in photos]
    labels = np.repeat(np.arange(BUILTIN_STYLES), len(photos))
    found = KMeans(BUILTIN_STYLES, n_init=10, random_state=0).fit_predict(np.stack(vectors))
    score = adjusted_rand_score(labels, found)
    print(f"k-means of {len(photos)} photos in the {BUILTIN_STYLES} built-in styles: adjusted Rand index {score:.3f}")


def _print_speed(net: ArbitraryNet, collection: FittedCollection) -> None:
    photo, vectors = next(_photos(CONTENT_SIDE)), collection.members.vectors[:TIMED]
    start = time.perf_counter()
    painted = StyleSpace(net, photo).decode(torch.from_numpy(vectors), seeds=[0] * TIMED)
    middle = time.perf_counter()
    for image in painted.permute(0, 2, 3, 1).numpy():
        style_vector(net, image)
    end = time.perf_counter()
    print(
        f"{TIMED / (middle - start):.1f} images/s painted at {CONTENT_SIDE} px, {TIMED / (end - middle):.0f}/s encoded"
    )


if __name__ == "__main__":
    main()
