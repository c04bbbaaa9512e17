"""Prints the table of docs/explanation/techniques.md and writes its sheets to `demo/`, or with `--docs` to docs/images.

The figures are those on the cards, which `python -m models.evaluate --write` measures.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from examples.output import IMAGES, arguments
from models.build import load_model
from models.catalogue import Card, cards, folder_of
from models.data.dataset import contact_sheet
from models.data.named import named_dataset
from models.diffusion.unconditional import Ddpm, generators_of, sample
from models.evaluate import attribute_sums
from models.generative.base import LatentModel
from models.generative.latents import Wanted, traversal
from models.generative.vae import Vae
from models.grids import labeled_grid
from models.judge import judge_of
from models.tensors import autocast, expect_class, to_pixels

DATA, SHOWN = "fashion-mnist", 12
DRAWS = 8
# Sums of attributes, and what the classifier must see in the result.
SUMS: dict[str, tuple[list[Wanted], Wanted]] = {
    "glasses man\n- man\n+ woman": (
        [(["glasses"], ["woman"]), ([], ["woman", "glasses"]), (["woman"], ["glasses"])],
        (["woman", "glasses"], []),
    ),
    "smiling woman\n- neutral woman\n+ neutral man": (
        [(["woman", "smiling"], []), (["woman", "neutral"], []), (["neutral"], ["woman"])],
        (["smiling"], ["woman"]),
    ),
    "hat man\n- man\n+ woman": (
        [(["hat"], ["woman"]), ([], ["woman", "hat"]), (["woman"], ["hat"])],
        (["woman", "hat"], []),
    ),
}
MODELS = {
    "VAE, 2": "vae-fashion-mnist-2",
    "VAE, 4": "vae-fashion-mnist-4",
    "VAE, 8": "vae-fashion-mnist-8",
    "GAN, 2": "gan-fashion-mnist-2",
    "GAN, 4": "gan-fashion-mnist-4",
    "GAN, 8": "gan-fashion-mnist-8",
    "DDPM": "ddpm-fashion-mnist",
}


def main() -> None:
    """Writes one row of images and prints one line of the table for each model."""
    args = arguments(argparse.ArgumentParser(), IMAGES)
    known = {title: cards()[model_id] for title, model_id in MODELS.items() if model_id in cards()}
    rows = {"real": named_dataset(DATA, "test", SHOWN).images}
    rows |= {title: drawn(card) for title, card in known.items()}
    grid = labeled_grid(np.stack(list(rows.values())).repeat(3, axis=-1), list(rows), [""] * SHOWN)
    Image.fromarray(grid).save(args.out / "techniques.jpg", quality=85)
    Image.fromarray(traversed("vae-smileys")).save(args.out / "traversal.jpg", quality=80)
    Image.fromarray(sums("dcgan-avatars")).save(args.out / "arithmetic.jpg", quality=85)
    card = cards()["ddpm-avatars"]
    faces = contact_sheet(np.concatenate([drawn(card, 24), drawn(card, 12, ["glasses", "red_hat"])]), 12)
    faces.save(args.out / "ddpm-avatars.jpg", quality=85)
    print("| model | Frechet distance | density | coverage | training | parameters' size | images per second |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for title, card in known.items():
        print(line(title, card))


def drawn(card: Card, n: int = SHOWN, wanted: Sequence[str] = ()) -> NDArray[np.uint8]:
    """Samples of the seeds 0 to n - 1, not selected, (n, h, w, channels), conditioned on the attributes in `wanted`."""
    model = load_model(card)
    if isinstance(model, Ddpm):
        with autocast(torch.device("cpu")):
            return to_pixels(sample(model, *model.draw(generators_of(range(n)), wanted)))
    latent_model = expect_class(model, LatentModel)
    z = torch.randn(n, latent_model.latent_dim, generator=torch.Generator().manual_seed(0))
    return to_pixels(latent_model.decode(z))


def traversed(model_id: str) -> NDArray[np.uint8]:
    """Traversal of a VAE's first eight z, each from -2 to 2 while the others are 0, with titles; (height, width, 3)."""
    vae, values = expect_class(load_model(cards()[model_id]), Vae), torch.linspace(-2, 2, 7)
    z = traversal(torch.zeros(vae.latent_dim), range(8), values)
    images = to_pixels(vae.decode(z.flatten(0, 1)))
    rows, columns = [f"z {k}" for k in range(8)], [f"{value:z.1f}" for value in values]
    return labeled_grid(images.reshape(8, 7, *images.shape[1:]), rows, columns)


def sums(model_id: str) -> NDArray[np.uint8]:
    """The first eight draws of each of `SUMS`, not selected, with titles; prints how many have what was asked for."""
    model, judge = expect_class(load_model(cards()[model_id]), LatentModel), judge_of("avatars", 16).classifier
    rows = []
    for title, (terms, asked) in SUMS.items():
        images, shown = attribute_sums(model, judge, terms, asked, DRAWS)
        rows.append(images)
        print(f"{' '.join(title.split())}: {int(shown.sum())} of {DRAWS}")
    return labeled_grid(np.stack(rows), list(SUMS), [f"draw {k}" for k in range(1, DRAWS + 1)])


def line(title: str, card: Card) -> str:
    """Formats a model's line of the table; for a diffusion model, the figures of DDIM at 50 steps."""
    figures: dict[str, Any] = card.quality.get("ddim-50") or card.quality["sample"]
    size = sum((folder_of(card) / name).stat().st_size for name in card.files) / 1e6
    columns = [
        f"{title} (`{card.id}`)",
        f"{figures['frechet']:.1f} (real: {card.quality['frechet_real']:.1f})",
        f"{figures['density']:.2f}",
        f"{figures['coverage']:.2f} (real: {card.quality['coverage_real']:.2f})",
        f"{card.training['seconds'] / 60:.0f} min",
        f"{size:.1f} MB",
        f"{figures['images_per_second']:,.0f}",
    ]
    return "| " + " | ".join(columns) + " |"


if __name__ == "__main__":
    main()
