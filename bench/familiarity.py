"""Which images are recognized as unlike a model's training data or a collection: `python -m bench.familiarity [id …]`.

Prints the share of held-out images of the training set, and of crops of photographs, that a job would warn about; then
that of images beside collections of crops in the spaces `photo` and `style`.
"""

import argparse
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from bench.photo_space import PHOTOS, crops_of
from models.build import load_model
from models.catalogue import WEIGHTS_DIR, card
from models.data.named import named_dataset
from models.familiarity import familiarity
from models.perceptual.efficientnet import EfficientNetLite
from models.pixels import ImageArray
from models.space.isolation import distances_to, spacing_of
from models.space.pca import Array
from models.space.photo import PhotoSpace
from models.space.space import EncodingSpace
from models.space.style import StyleSpace, default_photo
from models.stylize.fast import load_arbitrary
from models.tensors import expect_class, to_tensor
from worker.runners.images import center_squares, floats

HELD_OUT = 600
MODELS = ("kandinsky-avatars", "dcgan-avatars", "vae-smileys", "stable-diffusion-avatars")
SPACES = ("photo", "style")
FACES, PAINTINGS, HELD_OUT_PAINTINGS = 80, 300, 100
BATCH = 16


def main() -> None:
    """Print a row for each model and each space."""
    parser = argparse.ArgumentParser()
    parser.add_argument("ids", nargs="*", default=(*MODELS, *SPACES))
    args = parser.parse_args()
    crops = list(crops_of(np.random.default_rng(0)))
    models = [name for name in args.ids if name not in SPACES]
    if models:
        print(f"{'warned about':28}{f'of {HELD_OUT} held-out images':>26}{f'of {len(crops)} photographs':>22}")
    for name in models:
        held_out = named_dataset(card(name).source["data"], "test", HELD_OUT).images
        size = held_out.shape[1]
        photos = np.stack([np.asarray(crop.resize((size, size))) for _, crop in crops])
        print(f"{name:28}{share(name, held_out):26.1%}{share(name, photos):22.1%}", flush=True)
    for name in (name for name in args.ids if name in SPACES):
        print_space(name, crops)


def share(name: str, images: ImageArray) -> float:
    """The share of images (n, h, w, 3) that are unlike the training data of a model."""
    found = familiarity(load_model(card(name)), to_tensor(images), card(name).training["reconstruction_error"])
    return float(found.unlike.float().mean())


def print_space(name: str, crops: Sequence[tuple[str, Image.Image]]) -> None:
    """The shares of images that are unlike a collection of crops of half of the photographs, and one of paintings."""
    space, half = space_of(name), PHOTOS[: len(PHOTOS) // 2]
    others = list(crops_of(np.random.default_rng(1)))
    members = encoded(space, [np.asarray(crop) for source, crop in crops if source in half])
    same = encoded(space, [np.asarray(crop) for source, crop in others if source in half])
    rest = encoded(space, [np.asarray(crop) for source, crop in others if source not in half])
    faces = encoded(space, list(named_dataset("avatars", "test", FACES).images))
    paintings = encoded(space, list(named_dataset("styles", limit=PAINTINGS + HELD_OUT_PAINTINGS).images))
    queries = {"crops of the same": same, "of the other photographs": rest, "drawn faces": faces}
    print_unlike(f"{name}: crops of {len(half)} photographs", members, queries | {"paintings": paintings})
    queries = {"held-out paintings": paintings[PAINTINGS:], "crops": np.concatenate([same, rest]), "drawn faces": faces}
    print_unlike(f"{name}: paintings", paintings[:PAINTINGS], queries)


def print_unlike(title: str, members: Array, queries: Mapping[str, Array]) -> None:
    """The shares of vectors that are unlike members."""
    spacing = spacing_of(members) or 0.0
    print(f"{title}, {len(members)} members; warned about")
    for name, vectors in queries.items():
        print(f"  {name:26}{(distances_to(members, vectors) > spacing).mean():26.1%} of {len(vectors)}", flush=True)


def space_of(name: str) -> EncodingSpace:
    """The space of photographs or of styles."""
    if name == "photo":
        return PhotoSpace(expect_class(load_model(card("efficientnet-lite0")), EfficientNetLite))
    return StyleSpace(load_arbitrary(WEIGHTS_DIR), floats(default_photo()))


def encoded(space: EncodingSpace, images: Sequence[ImageArray]) -> Array:
    """The vectors (n, dim) of images (h, w, 3)."""
    parts = []
    for start in range(0, len(images), BATCH):
        squares = center_squares(images[start : start + BATCH], space.image_size, space.channels)
        parts.append(space.encode(to_tensor(squares)).detach().float().numpy())
    return np.concatenate(parts)


if __name__ == "__main__":
    main()
