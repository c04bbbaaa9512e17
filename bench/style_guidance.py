"""Measures the effect of style guidance on the style and the content of images: `python -m bench.style_guidance`.

Compares each image with that of the same seed without guidance, by the style loss of the request, at the size of the
images, and by the answers of the classifier of the data set, at its own size. All images are generated through the
service; strokes are painted on those that `--upscale` enlarges.
"""

import argparse
import tempfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.build import load_model
from models.catalogue import cards
from models.data.avatars import avatars
from models.generative.classifier import Classifier
from models.metrics import answers
from models.tensors import expect_class
from tests.stack import ROOT, Stack

SETS = {
    "stable-diffusion-avatars": "avatars",
    "ddpm-avatars": "avatars",
    "ddpm-fashion-mnist": "fashion-mnist",
    "ddpm-digits": "digits",
}
STYLE = ROOT / "docs" / "images" / "style.jpg"
Pixels = NDArray[np.uint8]


def main() -> None:
    """Prints, by model and scale, the style loss, how often it is halved, and the share of attributes still seen."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--scales", type=float, nargs="+", default=[0.03, 0.1, 0.3])
    parser.add_argument("--upscale", type=int, default=1)
    parser.add_argument("--models", nargs="+", choices=SETS, default=list(SETS))
    # A model without prompts decides in the first steps what an image shows: guided then, a shoe becomes a shirt.
    parser.add_argument("--guided-from", type=float, default=0.4, help="of models without prompts")
    args = parser.parse_args()
    captions = avatars(args.images, seed=1).captions
    print(f"{args.images} images, style {STYLE.name}")
    print(f"{'model':<26}{'scale':>6}{'style loss':>12}{'halved in':>11}{'still seen':>12}")
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), OMP_NUM_THREADS="2")
        try:
            stack.start_valkey()
            stack.start_api("api.main:app")
            stack.start_upkeep()
            stack.start_worker("w1")
            style = stack.client.post("/v1/images", files={"file": STYLE.read_bytes()}).json()["id"]
            for model in args.models:
                own = {"upscale": args.upscale}
                own |= {} if model == "stable-diffusion-avatars" else {"guided_from": args.guided_from}
                report(stack, model, style, captions, [0.0, *args.scales], own)
        finally:
            stack.stop()


def report(
    stack: Stack, model: str, style: str, captions: Sequence[str], scales: Sequence[float], own: dict[str, Any]
) -> None:
    """Requests the images one by one and prints a line for each scale; the first is 0."""
    losses, images = [], []
    for seed, caption in enumerate(captions):
        body = {"method": "diffusion", "model": model, "style": style, "style_guidance_scale": scales, "seed": seed}
        body |= {"prompt": caption} if model == "stable-diffusion-avatars" else {}
        job = stack.finished(stack.client.post("/v1/style-transfers", json=body | own).json()["id"], 600)
        losses.append(job["metrics"]["style_loss"][0])
        images.append([opened(stack, output["url"], own["upscale"]) for output in job["outputs"][: len(scales)]])
    classifier = expect_class(load_model(cards()[f"classifier-{SETS[model]}"]), Classifier)
    loss = np.array(losses)  # (images, scales)
    for k, scale in enumerate(scales):
        halved = "" if k == 0 else f"{(loss[:, k] < loss[:, 0] / 2).mean():.0%}"
        seen = still_seen(classifier, [row[0] for row in images], [row[k] for row in images])
        print(f"{model:<26}{scale:>6g}{loss[:, k].mean():>12.3f}{halved:>11}{seen:>12.0%}", flush=True)


def opened(stack: Stack, url: str, factor: int) -> Pixels:
    """Downloads an image of the service and reduces it by a factor to the size of its model, (h, w, 3)."""
    return np.asarray(Image.open(BytesIO(stack.client.get(url).content)).convert("RGB").reduce(factor))


def still_seen(classifier: Classifier, without: Sequence[Pixels], guided: Sequence[Pixels]) -> float:
    """Share of the attributes, or labels, of images without guidance that the guided images also have."""
    attributes = len(classifier.questions) > 1
    channels = 3 if attributes else 1
    before, after = (answers(classifier, np.stack(side)[..., :channels]) for side in (without, guided))
    return float((after == before)[before == 1].mean() if attributes else (after == before).mean())


if __name__ == "__main__":
    main()
