"""Measures upscaling against ncnn, for which the weights were published: `python -m bench.upscale`.

ncnn is installed into a virtual environment of its own, which is removed at the end; without it that column is empty.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from models.build import load_model
from models.catalogue import card
from models.data.avatars import avatar
from models.diffusion.text_to_image import TextToImageModel, generate
from models.grids import labeled_grid
from models.pixels import center_square
from models.tensors import autocast, best_device, expect_class, to_pixels, to_tensor
from models.upscale import tiles
from models.upscale.real_esrgan import Upscaler
from models.upscale.tiles import Pixels, upscale
from models.wheels import wheel_files

MODELS = ("realesr-animevideov3", "realesrgan-x4plus-anime", "realesrgan-x4plus")
NCNN = Path(__file__).parent / "upscale_ncnn.py"
PHOTO = Path(__file__).parent.parent / "examples" / "photos" / "chelsea.jpg"
PROMPTS = [
    "a smiling woman with glasses and a red hat",
    "a man with a beard and a green hat",
    "a woman with long brown hair",
]
SMALL_TILE = 96  # so that 192 x 128 px have seams


class Ncnn(NamedTuple):
    """What ncnn made, (n, h, w, 3) in [0, 1], and the seconds an image."""

    seconds: float
    images: NDArray[np.float32]


def main() -> None:
    """Prints for each model the time of an image of 64 px, ncnn's, and the differences from its result and at seams."""
    parser = argparse.ArgumentParser()
    parser.add_argument("ids", nargs="*", default=MODELS)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sheet", type=Path, help="only write a sheet of images by each model to this file")
    args = parser.parse_args()
    if args.sheet:
        _write_sheet(args.ids, args.sheet)
        return
    device = best_device()
    faces = np.stack([avatar(0, k)[0] for k in range(args.batch)])
    print(f"64 -> 256 px on {device}, {torch.get_num_threads()} threads, medians of {args.rounds}; levels are of 255")
    columns = f"{'s an image':>12}{f'batch of {args.batch}':>14}{'ncnn':>9}{'fp32':>10}{'levels':>8}{'seams':>8}"
    print(f"{'model':24}{columns}")
    with tempfile.TemporaryDirectory() as folder:
        ncnn = _python_with_ncnn(Path(folder))
        for name in args.ids:
            network = expect_class(load_model(card(name), device=device), Upscaler)
            one, many = (_seconds(network, each, args.rounds) for each in (faces[:1], faces))
            compared = f"{'':27}"
            if ncnn:
                theirs = _ncnn(ncnn, name, faces[:4], args.rounds, Path(folder))
                differences = _differences(network, faces[:4], theirs.images)
                compared = "{:9.3f}{:10.1e}{:8.0f}".format(theirs.seconds, *differences)
            print(f"{name:24}{one:12.3f}{many:14.3f}{compared}{_seam(network):8.0f}", flush=True)


def _python_with_ncnn(folder: Path) -> str | None:
    """The Python of a new virtual environment with ncnn; None where it cannot be installed."""
    python = str(folder / "venv" / "bin" / "python")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "ncnn", "numpy"]
    if subprocess.run(install, capture_output=True, check=False).returncode:
        print("ncnn could not be installed, so nothing is compared with it.")
        return None
    return python


def _seconds(network: Upscaler, images: Pixels, rounds: int) -> float:
    """Seconds an image."""
    seconds = []
    for _ in range(rounds + 1):  # the first is a warm-up
        began = time.perf_counter()
        upscale(network, images)
        seconds.append((time.perf_counter() - began) / len(images))
    return statistics.median(seconds[1:])


def _ncnn(python: str, name: str, images: Pixels, rounds: int, folder: Path) -> Ncnn:
    source, results = folder / "images.npy", folder / "results.npy"
    np.save(source, images)
    numbers = [str(torch.get_num_threads()), str(rounds)]
    command = [python, str(NCNN), *map(str, wheel_files(card(name))), str(source), str(results), *numbers]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return Ncnn(float(printed), np.load(results))


def _differences(network: Upscaler, images: Pixels, theirs: NDArray[np.float32]) -> tuple[float, float]:
    """The largest difference from ncnn's result in float32, and of what is served, in levels of 255."""
    with torch.inference_mode():
        ours = network(to_tensor(images, best_device())).permute(0, 2, 3, 1).numpy(force=True)
    levels = np.abs(upscale(network, images) - theirs.clip(0, 1) * 255)
    return float(np.abs(ours - theirs).max()), float(levels.max())


def _seam(network: Upscaler) -> float:
    """The largest difference of an image in tiles from the same as a whole, in levels of 255."""
    image = np.concatenate([np.concatenate([avatar(1, 3 * row + k)[0] for k in range(3)], 1) for row in range(2)])[None]
    whole = upscale(network, image)
    with mock.patch.object(tiles, "TILE", SMALL_TILE):
        return float(np.abs(upscale(network, image).astype(float) - whole).max())


def _write_sheet(ids: Sequence[str], path: Path) -> None:
    """Faces of a text-to-image model and a photo, all of 64 px: their pixels, and by each model."""
    faces = expect_class(load_model(card("stable-diffusion-avatars"), device=best_device()), TextToImageModel)
    with torch.inference_mode(), autocast(best_device()):
        made = generate(faces, PROMPTS, seeds=range(3), width=64, height=64, num_inference_steps=25, guidance_scale=4.0)
    photo = center_square(Image.open(PHOTO).convert("RGB").crop((100, 20, 310, 230)), 64)
    images = np.concatenate([to_pixels(made), np.asarray(photo)[None]])
    rows = {"64 px": images.repeat(4, 1).repeat(4, 2)}
    for name in ids:
        rows[name] = upscale(expect_class(load_model(card(name), device=best_device()), Upscaler), images)
    titles = [name.replace("-", "-\n", 1) for name in rows]
    grid = labeled_grid(np.stack(list(rows.values())), titles, [""] * len(images))
    Image.fromarray(grid).save(path, quality=85)


if __name__ == "__main__":
    main()
