"""Photographs to train style networks on: square crops of 256 x 256 pixels at many scales.

Crop `i` of a seed depends only on these two numbers. The splits share no photograph. The files and their licenses are
in `photos/SOURCES.md`; two more photographs are scikit-learn's.
"""

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_image

from models.data.dataset import Dataset

SIDE = 256
LONGER_SIDES = 384, 768  # of a photograph in pixels, from which crops are taken
_FOLDER = Path(__file__).parent / "photos"
OF_SCIKIT_LEARN = ("china", "flower")
TRAIN = (*OF_SCIKIT_LEARN, "rocket", "hubble", "retina", "tissue", "bricks", "grass", "gravel")
TEST = ("astronaut", "chelsea", "coffee")


def photos(n: int, seed: int = 0, *, start: int = 0) -> Dataset:
    """Crops `start` to `start + n` of a seed, (n, 256, 256, 3), labeled by photograph.

    Seed 0 crops the photographs to train on, every other seed those held out.
    """
    names = TEST if seed else TRAIN
    indices = range(start, start + n)
    images = np.stack([_crop(names[i % len(names)], np.random.default_rng([seed, i])) for i in indices])
    return Dataset(images, labels=np.array(indices, np.int64) % len(names), label_names=names)


def _crop(name: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A random crop of a photograph at a random scale."""
    image = photo(name)
    scale = max(rng.uniform(*LONGER_SIDES) / max(image.size), SIDE / min(image.size))
    width, height = (max(SIDE, round(length * scale)) for length in image.size)
    left, top = int(rng.integers(width - SIDE + 1)), int(rng.integers(height - SIDE + 1))
    box = tuple(edge / scale for edge in (left, top, left + SIDE, top + SIDE))
    inside = min(box[2], image.width), min(box[3], image.height)
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS, (box[0], box[1], *inside)))


@cache
def photo(name: str) -> Image.Image:
    """A whole photograph."""
    if name in OF_SCIKIT_LEARN:
        return Image.fromarray(load_sample_image(f"{name}.jpg"))
    with Image.open(_FOLDER / f"{name}.jpg") as image:
        return image.convert("RGB")
