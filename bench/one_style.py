"""Compares a network of one style with `gatys` of the same style on held-out photos: `python -m bench.one_style`.

Trains the network of each painting by the recipe `style` with its defaults, or takes one that was trained before from
`--folder`, and stylizes photos that it never saw at 512 px, both as requests do. Prints style and content loss of both,
measured by the objective of `gatys` at full size in float32, and the seconds (aims: style within 1.3x, content within
1.1x, 100 times faster).
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from onnxruntime import InferenceSession
from PIL import Image
from safetensors.numpy import load_file
from torch import Tensor

from models.build import WEIGHTS
from models.catalogue import WEIGHTS_DIR, read_card
from models.data.named import named_dataset
from models.data.photos import TEST, photo
from models.data.styles import style as painted_style
from models.grids import labeled_grid
from models.perceptual.vgg import VGG, load_vgg
from models.pixels import ImageArray, to_bytes
from models.sessions import open_session
from models.stylize.fast import BUILTIN_STYLES, MULTISTYLE, Array, stylize_builtin
from models.stylize.gatys import Region, Style, perceptual_loss, transfer
from models.training.recipe import CARD, train_model
from models.training.style import RECIPE, Painting, StyleSettings, builtin_weights, train_style
from tests.stack import ROOT
from worker.runners.images import boxed, fit, floats

SIZE = 512
LIMIT = 512  # photos to train on, as in a request
STYLES = {"strokes": None, "stained glass": 2, "swirls": 5}  # a file, or an image of the named set `styles`


class Result(NamedTuple):
    """A stylized photo, its losses and the seconds it took."""

    image: Array
    style: float
    content: float
    seconds: float


def main() -> None:
    """Trains, prints a row for each photo and writes a sheet."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--styles", nargs="+", default=list(STYLES), choices=STYLES)
    parser.add_argument("--steps", type=int, help="of the training; by default those of the recipe")
    parser.add_argument("--folder", type=Path, default=Path("data/training"), help="of the trainings, resumed if there")
    parser.add_argument("--sheet", type=Path, help="write a sheet of all images to this file")
    args = parser.parse_args()
    vgg, wide = load_vgg("vgg16"), load_vgg("vgg16", dtype=torch.float32)
    print(f"{'style':16}{'photo':12}{'style loss':>24}{'content loss':>24}{'seconds':>22}")
    rows, titles, ratios = [], [], []
    for name in args.styles:
        painting = _painting(name)
        net = _trained(name, painting, vgg, args.folder, args.steps)
        for photo_name in TEST:
            content = fit(np.asarray(photo(photo_name)), SIZE)
            both = [partial(_by_gatys, vgg), partial(_by_network, net)]
            plain, fast = (_measured(wide, content, painting, each) for each in both)
            ratios.append((fast.style / plain.style, fast.content / plain.content, plain.seconds / fast.seconds))
            print(
                f"{name:16}{photo_name:12}{plain.style:9.4f}{fast.style:9.4f}{ratios[-1][0]:5.2f}x"
                f"{plain.content:9.3f}{fast.content:9.3f}{ratios[-1][1]:5.2f}x"
                f"{plain.seconds:9.1f}{fast.seconds:7.3f}{ratios[-1][2]:5.0f}x",
                flush=True,
            )
            shown = [content, painting, *(to_bytes(each.image) for each in (plain, fast))]
            rows.append(np.stack([boxed(image, 384, 384) for image in shown]))
            titles.append(photo_name)
    print("{:28}{:>23.2f}x{:>23.2f}x{:>20.0f}x".format("mean", *np.mean(ratios, axis=0)))
    if args.sheet:
        Image.fromarray(labeled_grid(np.stack(rows), titles, ["photo", "style", "gatys", "network"])).save(args.sheet)


def _painting(name: str) -> ImageArray:
    """A painting (h, w, 3) of 0 to 255."""
    index = STYLES[name]
    if index is not None:
        return painted_style(1, index)[0]
    with Image.open(ROOT / "examples" / "photos" / "strokes.jpg") as image:
        return np.asarray(image.convert("RGB"))


def _trained(name: str, painting: ImageArray, vgg: VGG, folder: Path, steps: int | None) -> InferenceSession:
    """The network of a painting, trained in `folder` unless it is there already."""
    model_id = f"style-{name.replace(' ', '-')}"
    card = folder / model_id / CARD
    if not card.is_file():
        inputs = Painting(floats(painting), vgg, builtin_weights(WEIGHTS_DIR))
        recipe = replace(RECIPE, train=partial(train_style, painting=inputs))
        schedule = replace(recipe.schedule, num_steps=steps or recipe.schedule.num_steps)
        photos = named_dataset("photos", limit=LIMIT)
        train_model(recipe, photos, StyleSettings(), schedule, card.parent, model_id=model_id, data="photos")
    weights = load_file(card.with_name(WEIGHTS))
    print(f"{name}: trained for {read_card(card).training['seconds']:.0f} s", flush=True)
    return open_session("fast-multistyle", MULTISTYLE, WEIGHTS_DIR, weights)


def _by_gatys(vgg: VGG, content: ImageArray, painting: ImageArray) -> Array:
    made = transfer(vgg, _tensor(content), [Region([Style(_tensor(painting))])], tolerance=0.001)
    return made.image[0].permute(1, 2, 0).float().numpy()


def _by_network(net: InferenceSession, content: ImageArray, painting: ImageArray) -> Array:
    return stylize_builtin(net, floats(content), np.eye(1, BUILTIN_STYLES, dtype=np.float32)[0])


def _measured(
    vgg: VGG, content: ImageArray, painting: ImageArray, make: Callable[[ImageArray, ImageArray], Array]
) -> Result:
    started = time.perf_counter()
    image = make(content, painting)
    seconds = time.perf_counter() - started
    loss_of = perceptual_loss(vgg, _tensor(painting), SIZE)
    with torch.inference_mode():
        parts = loss_of(_tensor(content), torch.from_numpy(image).permute(2, 0, 1)[None])[1]
    return Result(image, float(parts["style_loss"]), float(parts["content_loss"]), seconds)


def _tensor(image: ImageArray) -> Tensor:
    return torch.from_numpy(floats(image)).permute(2, 0, 1)[None].contiguous()


if __name__ == "__main__":
    main()
