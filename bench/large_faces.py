"""Measures the faces of 256 px that models of 64 px make by an upscaler: `python -m bench.large_faces`.

For each model, the share of attributes of its faces that the classifier detects in the upscaled ones too, made smaller
again; and for drawn faces, how far each way to upscale is from the drawing of 256 px of the same face.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from models.build import load_model
from models.catalogue import card
from models.data.avatars import SIDE, avatars, large_avatars
from models.data.dataset import Dataset
from models.data.named import TEST_SEED
from models.diffusion.embedding import Kandinsky
from models.diffusion.text_to_image import TextToImageModel, generate
from models.diffusion.unconditional import Ddpm, generators_of, sample
from models.generative.base import LatentModel
from models.generative.cyclegan import CycleGan
from models.grids import labeled_grid
from models.judge import Judge, judge_of, present
from models.tensors import autocast, best_device, expect_class, seeded, to_pixels, to_tensor
from models.upscale.real_esrgan import SCALE, Upscaler
from models.upscale.tiles import Pixels, upscale
from worker.runners.images import resized

MODELS = (
    *("stable-diffusion-avatars", "ddpm-avatars", "kandinsky-avatars", "dcgan-avatars"),
    *("cyclegan-avatars-glasses", "cyclegan-avatars-woman"),
)
UPSCALERS = ("upscaler-avatars", "realesr-animevideov3")
SHOWN = 6  # faces of each model on the sheet
EDGE = 8  # levels between neighbors of a drawing


def main() -> None:
    """Prints a line for each upscaler and drawings, and for each model and upscaler."""
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--upscalers", nargs="+", default=UPSCALERS)
    parser.add_argument("--sheet", type=Path, help="write a sheet of faces as their pixels and upscaled to this file")
    args = parser.parse_args()
    judge = judge_of("avatars", 16)
    networks = {name: expect_class(load_model(card(name), device=best_device()), Upscaler) for name in args.upscalers}
    small, large = avatars(args.images, TEST_SEED), large_avatars(args.images, TEST_SEED)
    print(f"{args.images} faces, {torch.get_num_threads()} threads, {best_device()}; errors are of 255 levels")
    print(f"{'faces':<26}{'upscaler':<24}{'s an image':>11}{'attributes kept':>17}{'error':>8}{'at edges':>10}")
    rows: dict[str, Pixels] = {}
    for name, faces in {"drawn": small.images, **{name: made(name, small) for name in args.models}}.items():
        rows[name] = faces[:SHOWN].repeat(SCALE, 1).repeat(SCALE, 2)
        for upscaler, network in networks.items():
            began = time.perf_counter()
            upscaled = upscale(network, faces)
            seconds = (time.perf_counter() - began) / len(faces)
            errors = _errors(upscaled, large.images) if name == "drawn" else ""
            print(f"{name:<26}{upscaler:<24}{seconds:>11.3f}{_kept(judge, faces, upscaled):>17.1%}{errors}", flush=True)
            rows[f"{name}, {upscaler}"] = upscaled[:SHOWN]
        if name == "drawn":
            rows["drawn, 256 px"] = large.images[:SHOWN]
    if args.sheet:
        grid = labeled_grid(np.stack(list(rows.values())), [row.replace("-avatars", "") for row in rows], [""] * SHOWN)
        Image.fromarray(grid).save(args.sheet, quality=90)


@torch.inference_mode()
def made(name: str, drawn: Dataset) -> Pixels:
    """Faces of a model: of captions, embeddings or images of the drawn ones, or of seeds."""
    model, n, device = load_model(card(name), device=best_device()), len(drawn), best_device()
    parts = []
    for start in range(0, n, 16):
        some = drawn.where(slice(start, start + 16))
        seeds, images = range(start, start + len(some)), to_tensor(some.images, device)
        with autocast(device):
            if isinstance(model, TextToImageModel):
                faces = generate(model, some.captions, seeds=seeds, width=SIDE, height=SIDE)
            elif isinstance(model, Ddpm):
                noise, attributes = model.draw(generators_of(seeds))
                given = None if attributes is None else attributes.to(device)
                faces = sample(model, noise.to(device), given, scheduler="dpm-solver++", num_inference_steps=20)
            elif isinstance(model, Kandinsky):
                faces = model.decode(model.encode_images(images), seeds=seeds)
            elif isinstance(model, CycleGan):
                faces = model.translate(images, "a-to-b")
            else:
                decoder = expect_class(model, LatentModel)
                z = torch.stack([torch.randn(decoder.latent_dim, generator=seeded(seed)) for seed in seeds])
                faces = decoder.decode(z.to(device))
        parts.append(to_pixels(faces.float()))
    return np.concatenate(parts)


def _kept(judge: Judge, faces: Pixels, upscaled: Pixels) -> float:
    """Share of the attributes that the classifier detects in faces which it detects in the upscaled ones too."""
    before = present(judge, faces)
    after = present(judge, np.stack([resized(image, SIDE, SIDE) for image in upscaled]))
    return float(after[before].mean())


def _errors(upscaled: Pixels, drawn: Pixels) -> str:
    """Mean absolute difference from the drawings, and that of the pixels at their edges."""
    differences = np.abs(upscaled.astype(float) - drawn).mean(3)
    down, across = (np.abs(np.diff(drawn.astype(float), axis=axis)).mean(3) for axis in (1, 2))
    edges = np.zeros(differences.shape, bool)
    edges[:, 1:] |= down > EDGE
    edges[:, :, 1:] |= across > EDGE
    return f"{differences.mean():>8.2f}{differences[edges].mean():>10.2f}"


if __name__ == "__main__":
    main()
