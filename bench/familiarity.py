"""Which images are recognized as unlike a model's training data: `python -m bench.familiarity [id …]`.

Prints the share of held-out images of the training set, and of crops of photographs, that a job would warn about.
"""

import argparse

import numpy as np

from bench.photo_space import crops_of
from models.build import load_model
from models.catalogue import card
from models.data.named import named_dataset
from models.familiarity import familiarity
from models.pixels import ImageArray
from models.tensors import to_tensor

HELD_OUT = 600
MODELS = ("kandinsky-avatars", "dcgan-avatars", "vae-smileys", "stable-diffusion-avatars")


def main() -> None:
    """Print a row for each model."""
    parser = argparse.ArgumentParser()
    parser.add_argument("ids", nargs="*", default=MODELS)
    args = parser.parse_args()
    crops = [crop for _, crop in crops_of(np.random.default_rng(0))]
    print(f"{'warned about':28}{f'of {HELD_OUT} held-out images':>26}{f'of {len(crops)} photographs':>22}")
    for name in args.ids:
        held_out = named_dataset(card(name).source["data"], "test", HELD_OUT).images
        size = held_out.shape[1]
        photos = np.stack([np.asarray(crop.resize((size, size))) for crop in crops])
        print(f"{name:28}{share(name, held_out):26.1%}{share(name, photos):22.1%}", flush=True)


def share(name: str, images: ImageArray) -> float:
    """The share of images (n, h, w, 3) that are unlike the training data of a model."""
    found = familiarity(load_model(card(name)), to_tensor(images), card(name).training["reconstruction_error"])
    return float(found.unlike.float().mean())


if __name__ == "__main__":
    main()
