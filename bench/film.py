"""Measures the flicker of stylized films, steadied against frame by frame: `python -m bench.film [--sheet sheet.png]`.

Films of which every pixel's motion is known: a camera that pans and zooms over a photograph, and a figure that crosses
it, with the noise of a sensor. Flicker is the mean difference (0 to 255) of each stylized frame from the one before,
moved as the content moved, where both show the same (aim: steadied under a third of frame by frame). Sharpness is the
mean difference of neighboring pixels, which blending lowers. Also prints the frames a second of both.
"""

import argparse
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.data.photos import photo
from models.grids import labeled_grid
from models.stylize.fast import BUILTIN_STYLES, load_arbitrary, load_multistyle, stylize_builtin, stylize_images
from models.stylize.motion import Frame, Steadier, moved
from tests.stack import ROOT
from worker.runners.images import floats

SIZE = 384, 216  # of the frames
NOISE = 3.0  # standard deviation of the sensor's, in levels
STYLES = ("builtin:19", "builtin:15", "strokes.jpg")
Motion = NDArray[np.float32]  # (h, w, 2): where each pixel of a frame was in the one before


def main() -> None:
    """Prints a row for each film and style."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--smoothing", type=float, default=0.9)
    parser.add_argument("--sheet", type=Path, help="write five frames of each to this file")
    parser.add_argument("--styles", nargs="+", default=STYLES)
    args = parser.parse_args()
    painters = {name: _painter(name) for name in args.styles}
    films = {"camera": camera(args.frames), "figure": figure(args.frames)}
    columns = f"{'flicker: frame by frame':>24}{'steadied':>10}{'ratio':>8}{'sharpness':>18}{'fps':>14}"
    print(f"{'film':10}{'style':14}{columns}")
    rows, titles, ratios = [], [], []
    for film, (contents, motions, seen) in films.items():
        for style, paint in painters.items():
            started = time.perf_counter()
            painted = [np.asarray((255 * paint(content)).round().clip(0, 255), np.uint8) for content in contents]
            middle = time.perf_counter()
            steadier = Steadier(args.smoothing)
            steadied = [steadier.steadied(*pair) for pair in zip(contents, painted, strict=True)]
            ended = time.perf_counter()
            alone, together = (flicker(each, motions, seen) for each in (painted, steadied))
            ratios.append(together / alone)
            sharp = [sharpness(each) for each in (painted, steadied)]
            rates = [len(contents) / (end - started) for end in (middle, ended)]
            print(
                f"{film:10}{style:14}{alone:24.2f}{together:10.2f}{ratios[-1]:8.2f}"
                f"{sharp[0]:9.2f}{sharp[1]:9.2f}{rates[0]:7.1f}{rates[1]:7.1f}",
                flush=True,
            )
            shown = np.linspace(2, len(contents) - 1, 5).astype(int)
            rows += [np.stack([frames[k] for k in shown]) for frames in (painted, steadied)]
            titles += [f"{film}, {style}", "steadied"]
    print(f"mean ratio {np.mean(ratios):.2f}, largest {max(ratios):.2f}   (aim: 0.33)")
    if args.sheet:
        Image.fromarray(labeled_grid(np.stack(rows), titles, [f"frame {k}" for k in shown])).save(args.sheet)


def camera(n: int) -> tuple[list[Frame], list[Motion], list[NDArray[np.bool_]]]:
    """A camera that pans and zooms over a photograph: frames, motions, and the pixels that both frames show."""
    whole = np.asarray(photo("china"))
    rng = np.random.default_rng(0)
    places = [_view(k / max(1, n - 1)) for k in range(n)]
    frames = [_noisy(cv2.warpAffine(whole, place, SIZE, flags=cv2.INTER_AREA), rng) for place in places]
    motions, seen = [], []
    for before, after in pairwise(places):
        x, y = _pixels()
        back = cv2.invertAffineTransform(after)
        u, v = (back[i, 0] * x + back[i, 1] * y + back[i, 2] for i in (0, 1))
        there = np.stack([before[i, 0] * u + before[i, 1] * v + before[i, 2] for i in (0, 1)], -1)
        motions.append((there - np.stack([x, y], -1)).astype(np.float32))
        seen.append(_inside(there))
    return frames, motions, seen


def figure(n: int) -> tuple[list[Frame], list[Motion], list[NDArray[np.bool_]]]:
    """A round part of a photograph that crosses another one, which stands still."""
    ground = cv2.resize(np.asarray(photo("coffee")), SIZE, interpolation=cv2.INTER_AREA)
    cat = cv2.resize(np.asarray(photo("chelsea"))[60:260, 110:310], (96, 96), interpolation=cv2.INTER_AREA)
    y, x = np.mgrid[:96, :96]
    disk = (x - 48) ** 2 + (y - 48) ** 2 < 46**2
    rng, frames, masks = np.random.default_rng(1), [], []
    step = max(1, (SIZE[0] - 110) // n)
    for k in range(n):
        frame, mask = ground.copy(), np.zeros(SIZE[::-1], bool)
        box = np.s_[60:156, 4 + step * k : 100 + step * k]
        frame[box][disk], mask[box] = cat[disk], disk
        frames.append(_noisy(frame, rng))
        masks.append(mask)
    motions = [np.where(mask[..., None], np.array([-step, 0], np.float32), np.float32(0)) for mask in masks[1:]]
    seen = [mask | ~earlier for earlier, mask in pairwise(masks)]  # not the ground that was hidden
    return frames, motions, seen


def flicker(frames: Sequence[Frame], motions: Sequence[Motion], seen: Sequence[NDArray[np.bool_]]) -> float:
    """Mean difference of each frame from the one before, moved, over the pixels that both show."""
    apart = []
    for (before, after), motion, mask in zip(pairwise(frames), motions, seen, strict=True):
        was = moved(before.astype(np.float32), motion)
        apart.append(np.abs(after - was)[mask].mean())
    return float(np.mean(apart))


def sharpness(frames: Sequence[Frame]) -> float:
    """Mean difference of neighboring pixels of the second half of a film."""
    late = np.stack(frames[len(frames) // 2 :]).astype(float)
    return float((np.abs(np.diff(late, axis=1)).mean() + np.abs(np.diff(late, axis=2)).mean()) / 2)


def _view(share: float) -> Any:
    """From a place in the photograph to a frame: a pan of 100 pixels, and a zoom by a fifth."""
    scale = 0.8 + 0.2 * share
    return np.array([[scale, 0, -100 * share * scale], [0, scale, -60 * share * scale]])


def _pixels() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    x, y = np.meshgrid(np.arange(SIZE[0], dtype=np.float32), np.arange(SIZE[1], dtype=np.float32))
    return x, y


def _inside(there: NDArray[Any]) -> NDArray[np.bool_]:
    return (there >= 0).all(-1) & (there[..., 0] <= SIZE[0] - 1) & (there[..., 1] <= SIZE[1] - 1)


def _noisy(frame: Any, rng: np.random.Generator) -> Frame:
    return np.asarray((frame + rng.normal(0, NOISE, frame.shape)).round().clip(0, 255), np.uint8)


def _painter(style: str) -> Any:
    if style.startswith("builtin:"):
        net, weights = load_multistyle(), np.eye(BUILTIN_STYLES, dtype=np.float32)[int(style.partition(":")[2])]
        return lambda content: stylize_builtin(net, floats(content), weights)
    nets = load_arbitrary()
    with Image.open(ROOT / "examples" / "photos" / style) as image:
        painting = floats(np.asarray(image.convert("RGB")))
    return lambda content: stylize_images(nets, floats(content), [(painting, 1.0)])


if __name__ == "__main__":
    main()
