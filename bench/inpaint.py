"""Measures inpainting of one face of a larger image, and outpainting: `python -m bench.inpaint --sheet inpainted.jpg`.

A hat is painted on the leftmost of six drawn faces in an image of 384 x 64 pixels: once by generating the whole image
as wide as the model makes images, once by generating only the mask with what surrounds it. Then faces without their
left third are expanded. The classifier of the avatars judges the faces.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from jobs.requests.kinds import parse
from models.catalogue import card
from models.data.avatars import HATS, avatar
from models.data.dataset import contact_sheet
from models.generative.classifier import Classifier
from models.pixels import ImageArray
from worker import runners
from worker.run import JobResult, Task
from worker.runners.images import resized
from worker.runners.network import load_network

MODEL, SEED = "stable-diffusion-avatars", 99  # avatars of this seed are in no training set
IMAGE, MASK = (f"img_{digit * 64}" for digit in "01")
SIDE, CUT = 64, 20
HAT = (slice(0, 26), slice(8, 56))  # rows and columns
FACES, SHOWN = 6, 2  # in an image; images of the sheet
WAYS: dict[str, dict[str, int]] = {"whole image": {"width": 256, "height": 40}, "only masked": {"padding_mask_crop": 8}}


def main() -> None:
    """Prints the counts of each way; with --sheet also writes images before and after."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--sheet", type=Path)
    args = parser.parse_args()
    colors = [list(HATS)[k % len(HATS)] for k in range(args.rows)]
    rows = [np.concatenate([_face(FACES * k + place) for place in range(FACES)], axis=1) for k in range(args.rows)]
    mask = np.zeros_like(rows[0])
    mask[HAT] = 255
    made: dict[str, list[ImageArray]] = {}
    for way, fields in WAYS.items():
        prompts = [f"a person with a {color} hat" for color in colors]
        made[way] = [
            _inpainted({IMAGE: row, MASK: mask}, mask=MASK, prompt=prompt, seed=k, **fields)
            for k, (row, prompt) in enumerate(zip(rows, prompts, strict=True))
        ]
        found = _answers([image[:, :SIDE] for image in made[way]])
        hats = sum(f"{color}_hat" in seen for color, seen in zip(colors, found, strict=True))
        apart = np.abs(np.stack(made[way]).astype(int) - rows)[:, mask == 0].mean()
        print(f"{way}: the hat shows on {hats} of {args.rows} faces; outside the mask {apart:.2f} of 255 levels apart")
    cut = [row[:, CUT:SIDE] for row in rows]
    expanded = [
        _inpainted({IMAGE: image}, expand={"left": CUT}, prompt="a person", seed=k) for k, image in enumerate(cut)
    ]
    before, after = (_answers(images) for images in ([row[:, :SIDE] for row in rows], expanded))
    same = sum(len({*a} & {*b}) for a, b in zip(before, after, strict=True)) / sum(map(len, before))
    print(f"expanded: {100 * same:.0f} % of the attributes seen before the cut, of {args.rows} faces")
    if args.sheet:
        _save_sheet(args.sheet, [rows, *made.values()], [cut, expanded])


def _face(index: int) -> ImageArray:
    return avatar(SEED, index, hat=None)[0]


def _task(images: dict[str, ImageArray], **params: Any) -> Task[Any]:
    request: Any = parse("generation", {"mode": "inpaint", "model": MODEL, "image": IMAGE, **params})
    fitted = request.fitted(card(MODEL).architecture)
    return Task(fitted, lambda *progress, **more: None, images.__getitem__, card, cast(Any, None))


def _inpainted(images: dict[str, ImageArray], **params: Any) -> ImageArray:
    (result,) = runners.run([_task(images, **params)])
    if not isinstance(result, JobResult):
        raise result
    size = images[IMAGE].shape[1::-1]
    made = result.images[0].pixels
    return resized(made, *size[::-1]) if "width" in params else made


def _answers(faces: Sequence[ImageArray]) -> list[list[str]]:
    judge = load_network(_task({}, mask=MASK, prompt="a person", seed=0), "classifier-avatars", Classifier)
    return [list(seen) for seen in judge.answers(np.stack(faces))]


def _save_sheet(path: Path, wide: Sequence[Sequence[ImageArray]], narrow: Sequence[Sequence[ImageArray]]) -> None:
    """Writes images one below the other: before, as a whole, only masked; at last cut faces and their expansions."""
    titles = ["before", *WAYS] * SHOWN
    upper = contact_sheet(np.stack([images[k] for k in range(SHOWN) for images in wide]), 1, titles, scale=2)
    cut, expanded = narrow
    padded = [np.pad(image, [(0, 0), (CUT, 0), (0, 0)], constant_values=255) for image in cut]
    pairs = np.stack([image for k in range(FACES // 2) for image in (padded[k], expanded[k])])
    lower = contact_sheet(pairs, FACES, ["cut off", "expanded"] * (FACES // 2), scale=2)
    sheet = Image.new("RGB", (max(upper.width, lower.width), upper.height + lower.height), "white")
    sheet.paste(upper, (0, 0))
    sheet.paste(lower, (0, upper.height))
    sheet.save(path, quality=85)


if __name__ == "__main__":
    main()
