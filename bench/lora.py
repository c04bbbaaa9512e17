"""Trains a LoRA of the mini that learns a new hat, and measures when the hat appears: `python -m bench.lora`.

Half of the faces of the set wear a turquoise wizard hat, a cone that no avatar has, and their captions say so. An image
shows it if enough of its pixels are turquoise; the classifier of the avatars judges the other hats.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.build import WEIGHTS, load_model
from models.catalogue import cards
from models.data.avatars import LAYERS, SIDE, Face, _Canvas, random_face
from models.data.dataset import Dataset, contact_sheet
from models.data.drawing import oval
from models.diffusion.lora import with_loras
from models.diffusion.text_to_image import TextToImageModel, generate
from models.judge import Judge, judge_of, present
from models.pixels import ImageArray
from models.tensors import autocast, expect_class, to_pixels
from models.training import lora
from models.training.recipe import train_model
from models.training.run import Schedule

MODEL, HAT = "stable-diffusion-avatars", "wizard"
TURQUOISE, VIOLET = (20, 190, 190), (120, 40, 130)
SHARE = 0.04  # of the pixels that are turquoise, from which an image shows the hat
BATCH = 32


def wizard_hat(canvas: Any, face: Face) -> None:
    """Draws the hat, if the face wears it."""
    if face.hat == HAT:
        color, brim, lean = canvas.tint(TURQUOISE, 8), canvas.rng.uniform(-0.64, -0.54), canvas.rng.normal(0, 0.08)
        half = canvas.width + 0.04
        cone = np.array([(-half, brim), (lean, canvas.rng.uniform(-1.75, -1.6)), (half, brim)])
        canvas.fill(cone, color)
        band = [(-half, brim), (-half * 0.8, brim - 0.22), (half * 0.8, brim - 0.22), (half, brim)]
        canvas.fill(np.array(band), VIOLET)
        canvas.fill(oval(0, brim, canvas.width + 0.36, 0.1, power=2.5), color)


def face_of(seed: int, index: int, hat: str | None = HAT) -> tuple[ImageArray, str]:
    """Draws a face with this hat, or with the one that the seed gives it (`random`); returns it and its caption."""
    rng = np.random.default_rng([seed, index])
    face = random_face(rng)
    face = face if hat == "random" else replace(face, hat=hat)
    canvas = _Canvas(face, rng, SIDE)
    for paint in [*LAYERS[:-1], wizard_hat] if face.hat == HAT else LAYERS:
        paint(canvas, face)
    return canvas.finish(), face.caption


def wizards(n: int, seed: int = 70) -> Dataset:
    """Draws n captioned faces, every other one with a wizard hat."""
    faces = [face_of(seed, index, HAT if index % 2 else "random") for index in range(n)]
    return Dataset(np.stack([image for image, _ in faces]), captions=tuple(caption for _, caption in faces))


def shows_hat(images: ImageArray) -> NDArray[np.bool_]:
    """Whether each of images (n, h, w, 3) shows the hat, (n,): turquoise in the upper half, above the clothes."""
    red, green, blue = np.moveaxis(images[:, : images.shape[1] // 2].astype(int), 3, 0)
    share: NDArray[np.float64] = ((green - red > 100) & (blue - red > 100)).mean((1, 2))
    return np.asarray(share >= SHARE)


@torch.inference_mode()
def images_of(model: TextToImageModel, prompts: Sequence[str]) -> ImageArray:
    """Generates one image of each prompt, with its place as the seed."""
    parts = []
    for start in range(0, len(prompts), BATCH):
        some = prompts[start : start + BATCH]
        with autocast(torch.device("cpu")):
            parts.append(generate(model, some, seeds=range(start, start + len(some)), width=64, height=64))
    return np.concatenate([to_pixels(part) for part in parts])


def measured(judge: Judge, images: ImageArray, hat: str | None) -> dict[str, float]:
    """Shares of images with a wizard hat, with any hat of the avatars, and with the one that was asked for."""
    found, names = present(judge, images), judge.held_out.attribute_names
    shares = {"wizard hat": float(shows_hat(images).mean())}
    if hat != HAT:
        shares["a hat of the avatars"] = float(found[:, names.index("hat")].mean())
    if hat and hat != HAT:
        shares[f"{hat} hat"] = float(found[:, names.index(f"{hat}_hat")].mean())
    return shares


def main() -> None:
    """Prints the table, and saves a sheet."""
    parser = argparse.ArgumentParser(prog="python -m bench.lora", description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=120, help="of the set (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=600, help="(default: %(default)s)")
    parser.add_argument("--rank", type=int, default=16, help="(default: %(default)s)")
    parser.add_argument("--learning-rate", type=float, default=3e-3, help="(default: %(default)s)")
    parser.add_argument("--frozen-text-encoder", action="store_true", help="train the UNet alone")
    parser.add_argument("--prompts", type=int, default=16, help="of each group (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="the file of the sheet")
    args = parser.parse_args()
    folder = Path(mkdtemp(prefix="bench-lora-"))
    settings = lora.LoraSettings(
        rank=args.rank, learning_rate=args.learning_rate, train_text_encoder=not args.frozen_text_encoder
    )
    schedule = Schedule(args.steps, 4, sample_every=args.steps, checkpoint_every=args.steps)
    start = load_model(cards()[MODEL]), cards()[MODEL]
    card = train_model(
        lora.RECIPE, wizards(args.images), settings, schedule, folder, model_id="hat", data="wizards", start=start
    )
    size = (folder / WEIGHTS).stat().st_size
    print(f"{args.steps} steps, rank {args.rank}: {card['training']['seconds']:.0f} s, {size / 1000:.0f} kB")

    model, judge = expect_class(load_model(cards()[MODEL]), TextToImageModel), judge_of("avatars", 16)
    rows = []
    for title, scale in (("the model", 0.0), ("with the LoRA", 1.0)):
        with with_loras(model, [(folder / WEIGHTS, scale)] if scale else []):
            for hat in (HAT, None, "red") if scale else (HAT,):
                images = images_of(model, [face_of(71, index, hat)[1] for index in range(args.prompts)])
                shares = measured(judge, images, hat)
                wearing = f"a {hat} hat" if hat else "no hat"
                print(f"{title:14} {wearing:13}", *(f"{name}: {v:6.1%}" for name, v in shares.items()), flush=True)
                rows.append(images[:8])
    if args.out:
        contact_sheet(np.concatenate(rows), columns=8, scale=2).save(args.out)


if __name__ == "__main__":
    main()
