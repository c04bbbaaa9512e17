"""Compares the methods of style transfer: `python -m bench.transfers --sheet sheet.jpg`.

20 contents in 10 styles, all of 256 px. Contents: crops of the twelve photographs of the named set `photos`. Styles:
eight of the named set `styles` that are painted by code, and two images in built-in styles. Prints style and content
loss of the objective of `gatys`, in float32, and the seconds. Slow methods paint some of the pairs; ratios are to plain
Gatys on the pairs that it paints too.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from bench.style import plain_run
from models.data.photos import photos
from models.data.styles import style as painted_style
from models.grids import labeled_grid
from models.perceptual.vgg import VGG, load_vgg
from models.pixels import ImageArray, to_bytes
from models.stylize.fast import BUILTIN_STYLES, load_arbitrary, load_multistyle, stylize_builtin, stylize_images
from models.stylize.gatys import Region, Style, perceptual_loss, transfer
from models.tensors import to_pixels, to_tensor
from worker.runners.images import floats

HELD_OUT, OTHERS = 11, 9  # crops of the three photographs held out from trainings, and one of each other
PAINTED = 8  # styles; two built-in ones follow
TOLERANCE = 0.001  # of `gatys`, as in requests
SHOWN = 4  # pairs on the sheet
UNCHANGED = "the photo itself"

Pair = tuple[int, int]  # a content and a style
Method = Callable[[int, int], ImageArray]


class Score(NamedTuple):
    """Losses of an image, and the seconds that it took."""

    style: float
    content: float
    seconds: float


@dataclass(frozen=True)
class Images:
    """The contents (n, 256, 256, 3), the styles, and the numbers of the built-in ones, which are last."""

    contents: ImageArray
    styles: ImageArray
    numbers: list[int]


def main() -> None:
    """Prints a row for each method."""
    parser = argparse.ArgumentParser(prog="python -m bench.transfers", description=__doc__.partition("\n")[0])
    parser.add_argument("--plain", type=int, default=5, help="pairs by plain Gatys (default: %(default)s)")
    parser.add_argument("--plain-steps", type=int, default=200, help="(default: %(default)s)")
    parser.add_argument("--optimized", type=int, default=10, help="pairs by `gatys` (default: %(default)s)")
    parser.add_argument("--sheet", type=Path, help="write the first pairs of all methods to this file")
    args = parser.parse_args()
    images, wide = Images(chosen_contents(), *chosen_styles()), load_vgg("vgg16", dtype=torch.float32)
    every = diagonal(len(images.contents), len(images.styles))
    pairs = {"plain": every[: args.plain], "gatys": every[: args.optimized]}
    pairs["built-in"] = [pair for pair in every if pair[1] >= PAINTED]
    print(f"{torch.get_num_threads()} threads; medians")
    print("| method | pairs | style loss | content loss | seconds | style, of plain's | content, of plain's |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    scores: dict[str, dict[Pair, Score]] = {}
    made: dict[str, dict[Pair, ImageArray]] = {}
    for name, (which, method) in methods(images, wide, args.plain_steps).items():
        scores[name], made[name] = scored(method, pairs.get(which, every), images, wide)
        print(line(name, scores[name], next(iter(scores.values()))), flush=True)
    if args.sheet:
        write_sheet(args.sheet, images, every[: min(SHOWN, args.plain)], made)


def methods(images: Images, wide: VGG, plain_steps: int) -> dict[str, tuple[str, Method]]:
    """Each method, plain Gatys first, and the pairs that it paints."""
    vgg, arbitrary, multistyle = load_vgg("vgg16"), load_arbitrary(), load_multistyle()
    contents, styles = images.contents, images.styles

    def plain(k: int, j: int) -> ImageArray:
        photo = to_tensor(contents[[k]]).contiguous()  # torch's L-BFGS takes no other order
        [image] = to_pixels(plain_run(wide, photo, to_tensor(styles[[j]]), plain_steps)[0])
        return np.asarray(image)

    def optimized(k: int, j: int, num_steps: int = 200, init: Any = "content") -> ImageArray:
        regions = [Region([Style(to_tensor(styles[[j]]))])]
        content = to_tensor(contents[[k]])
        made = transfer(vgg, content, regions, num_steps=num_steps, tolerance=TOLERANCE, init=init)
        [image] = to_pixels(made.image.float())
        return np.asarray(image)

    def fast(k: int, j: int) -> ImageArray:
        return to_bytes(stylize_images(arbitrary, floats(contents[k]), [(floats(styles[j]), 1.0)]))

    def built_in(k: int, j: int) -> ImageArray:
        weights: NDArray[np.float32] = np.eye(BUILTIN_STYLES, dtype=np.float32)[images.numbers[j - PAINTED]]
        return to_bytes(stylize_builtin(multistyle, floats(contents[k]), weights))

    return {
        f"plain Gatys, {plain_steps} steps": ("plain", plain),
        "`gatys`, 200 steps": ("gatys", optimized),
        "`gatys`, 50 steps from `fast`": ("gatys", lambda k, j: optimized(k, j, 50, to_tensor(fast(k, j)[None]))),
        "`fast`, the image of a style": ("every", fast),
        "`fast`, a built-in style": ("built-in", built_in),
        UNCHANGED: ("every", lambda k, j: contents[k]),
    }


def chosen_contents() -> ImageArray:
    """The contents, held-out photographs and others in turn."""
    held_out, others = photos(HELD_OUT, 1).images, photos(OTHERS).images
    in_turn = np.stack([held_out[:OTHERS], others], axis=1).reshape(-1, *others.shape[1:])
    return np.concatenate([in_turn, held_out[OTHERS:]])


def chosen_styles() -> tuple[ImageArray, list[int]]:
    """The styles, each painted one of another family, and the numbers of the built-in ones, which are last."""
    found = [painted_style(1, index) for index in range(17)]  # one turn of the set
    by_code = [image for image, facts in found if facts.number is None][::2]
    built_in = [(image, facts.number) for image, facts in found if facts.number is not None]
    numbers = [number for _, number in built_in]
    return np.stack([*by_code[:PAINTED], *(image for image, _ in built_in)]), numbers


def diagonal(n_contents: int, n_styles: int) -> list[Pair]:
    """Every pair, in an order in which the first ones have all contents and styles equally often."""
    return [(k, (k + shift) % n_styles) for shift in range(n_styles) for k in range(n_contents)]


def scored(
    method: Method, pairs: list[Pair], images: Images, wide: VGG
) -> tuple[dict[Pair, Score], dict[Pair, ImageArray]]:
    """The scores of a method, and its images."""
    scores, found = {}, {}
    losses = [perceptual_loss(wide, to_tensor(style[None]), len(style)) for style in images.styles]
    for k, j in pairs:
        started = time.perf_counter()
        made = found[k, j] = method(k, j)
        seconds = time.perf_counter() - started
        with torch.inference_mode():
            parts = losses[j](to_tensor(images.contents[[k]]), to_tensor(made[None]))[1]
        scores[k, j] = Score(float(parts["style_loss"]), float(parts["content_loss"]), seconds)
    return scores, found


def line(name: str, scores: dict[Pair, Score], plain: dict[Pair, Score]) -> str:
    """Formats a row: medians of the losses and seconds, and of their ratios to the plain ones of the same pairs."""
    style, content, seconds = np.median(list(scores.values()), axis=0)
    both = [(each, plain[pair]) for pair, each in scores.items() if pair in plain]
    ratios = np.median([(a.style / b.style, a.content / b.content) for a, b in both], axis=0) if both else ()
    cells = [name, str(len(scores)), f"{style:.3f}", f"{content:.3f}", f"{seconds:.2f}"]
    cells += [*(f"{ratio:.2f}x" for ratio in ratios)] if both else ["", ""]
    return f"| {' | '.join(cells)} |"


def write_sheet(path: Path, images: Images, pairs: list[Pair], made: dict[str, dict[Pair, ImageArray]]) -> None:
    """Writes a sheet with a row for each pair: content, style, and the image of each method that painted it."""
    names = [name for name, of in made.items() if name != UNCHANGED and all(pair in of for pair in pairs)]
    rows = [[images.contents[k], images.styles[j], *(made[name][k, j] for name in names)] for k, j in pairs]
    titles = ["photo", "style", *(name.replace("`", "").replace(", ", ",\n") for name in names)]
    sheet = Image.fromarray(labeled_grid(np.array(rows), [""] * len(pairs), titles))
    sheet.thumbnail((900, 1600), Image.Resampling.LANCZOS)
    sheet.save(path, quality=65)


if __name__ == "__main__":
    main()
