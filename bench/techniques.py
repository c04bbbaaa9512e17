"""Compares the techniques that make faces of 64 px, on one set: `python -m bench.techniques --sheet sheet.jpg`.

Prints a row for each model, and one of real faces: distances, precision and recall of as many samples as there are
held-out faces, in the 64 features of the classifier of the set and in those of an encoder of photographs; seconds an
image, peak memory of a process that loads the model and makes the images, training time and size. Each model runs in a
process of its own, whose images stay in `--folder` and are taken from there if they are there.

A model is an id, the folder of a training, or either after `mixture:`, for samples of a Gaussian mixture over the codes
of 800 faces of the training data.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from bench.resident import peak_memory
from models.build import load_model
from models.catalogue import Card, cards
from models.data.named import named_dataset
from models.diffusion.embedding import Kandinsky
from models.diffusion.text_to_image import TextToImageModel, generate
from models.diffusion.unconditional import Ddpm, generators_of, sample
from models.generative.base import LatentModel
from models.grids import labeled_grid
from models.judge import halves, judge_of
from models.metrics import Features, encoded, features, frechet_distance, kernel_distance, precision_and_recall
from models.perceptual.efficientnet import EfficientNetLite
from models.pixels import ImageArray
from models.space.photo import PhotoSpace
from models.space.quality import mixture_samples
from models.space.space import EncodingSpace, space_of
from models.tensors import autocast, expect_class, to_pixels, to_tensor
from models.training.recipe import frozen_model

SIDE, BATCH, MEMBERS, SHOWN = 64, 64, 800, 10
MIXTURE = "mixture:"
MODELS = (
    *("dcgan-avatars", "mixture:dcgan-avatars", "ddpm-avatars", "stable-diffusion-avatars", "kandinsky-avatars"),
    "mixture:kandinsky-avatars",
)
QUALITY = ("Frechet", "KID", "precision", "recall", "KID x 1000", "precision", "recall")
COSTS = ("seconds an image", "peak GB", "training, minutes", "million parameters", "MB")


class Sampled(NamedTuple):
    """Images of a model and what they cost."""

    images: ImageArray
    seconds: float
    peak: int
    parameters: int
    size: int


def main() -> None:
    """Prints the table, or with `--sample` makes the images of one model, for the parent process."""
    parser = argparse.ArgumentParser(prog="python -m bench.techniques", description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", default=MODELS, help=f"default: {' '.join(MODELS)}")
    parser.add_argument("--data", default="avatars", help="the set of the models (default: %(default)s)")
    parser.add_argument("--images", type=int, default=1000, help="a side (default: %(default)s)")
    parser.add_argument("--encoder", default="efficientnet-lite0", help="the id of an encoder (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=Path("data/techniques"), help="of the images")
    parser.add_argument("--sheet", type=Path, help="write the first images of each, not selected, to this file")
    parser.add_argument("--sample", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.sample:
        make(args.models[0], args.data, args.images, args.folder)
        return
    judge, space = judge_of(args.data, args.images), encoder(args.encoder)
    others = halves(named_dataset(args.data, "test", 2 * args.images))[1].images
    real = judge.real, encoded(space, judge.held_out.images)
    print(f"{len(judge.real)} images a side; features of the classifier, then those of {args.encoder}")
    print(row(["model", *QUALITY]), row(["---"] * 8), sep="\n")
    print(row(["real", *figures(real, (judge.others, encoded(space, others)))]), flush=True)
    rows, costs = {"real": others}, []
    for name in args.models:
        made = sampled(name, args.data, args.images, args.folder)
        print(
            row([name, *figures(real, (features(judge.classifier, made.images), encoded(space, made.images)))]),
            flush=True,
        )
        costs.append(row([name, *costs_of(name, made)]))
        rows[name] = made.images
    print(f"{torch.get_num_threads()} threads", row(["model", *COSTS]), row(["---"] * 6), *costs, sep="\n")
    if args.sheet:
        write_sheet(args.sheet, rows)


def write_sheet(path: Path, rows: dict[str, ImageArray]) -> None:
    """Writes the first images of each model, a row each, under those of the set."""
    titles = [name.replace(MIXTURE, "mixture of\n") for name in rows]
    grid = labeled_grid(np.stack([images[:SHOWN] for images in rows.values()]), titles, [""] * SHOWN)
    Image.fromarray(grid).save(path, quality=65)


def row(cells: Sequence[Any]) -> str:
    """Formats a row of a table in Markdown."""
    return f"| {' | '.join(map(str, cells))} |"


def figures(real: Sequence[Features], fake: Sequence[Features]) -> list[str]:
    """Frechet distance in the first features, of which there are few; KID, precision and recall in both."""
    cells = [f"{frechet_distance(real[0], fake[0]):.1f}"]
    for k, scale in ((0, 1.0), (1, 1000.0)):
        mean, spread = (scale * value for value in kernel_distance(real[k], fake[k]))
        precision, recall = precision_and_recall(real[k], fake[k])
        cells += [f"{mean:.2f} ± {spread:.2f}", f"{precision:.2f}", f"{recall:.2f}"]
    return cells


def costs_of(name: str, made: Sampled) -> list[str]:
    """The cells of `COSTS`."""
    minutes = sum(trainings(frozen_model(name.removeprefix(MIXTURE))[1].training).values()) / 60
    cells = [f"{made.seconds / len(made.images):.4f}", f"{made.peak / 1e9:.2f}", f"{minutes:.0f}"]
    return [*cells, f"{made.parameters / 1e6:.1f}", f"{made.size / 1e6:.1f}"]


def encoder(model_id: str) -> EncodingSpace:
    """The space of a card's encoder: a network of photographs, or a model with image embeddings."""
    card = cards()[model_id]
    model = load_model(card)
    return PhotoSpace(model) if isinstance(model, EfficientNetLite) else space_of(model, card.architecture)


def trainings(training: dict[str, Any]) -> dict[tuple[str, float], float]:
    """Seconds of a training and of those of its parts and starts; one that two parts share counts once."""
    found = {(str(training["recipe"]), float(training["seconds"])): float(training["seconds"])}
    for part in training.get("parts", {}).values():
        found |= trainings(part)
    return found


def sampled(name: str, data: str, n: int, folder: Path) -> Sampled:
    """Images of a model, made by another process unless they are in the folder."""
    path = file_of(name, n, folder)
    if not path.is_file():
        options = {"--data": data, "--images": str(n), "--folder": str(folder)}
        command = [sys.executable, "-m", "bench.techniques", name, "--sample"]
        subprocess.run([*command, *(word for option in options.items() for word in option)], check=True)
    costs = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return Sampled(np.load(path)["images"], **costs)


def file_of(name: str, n: int, folder: Path) -> Path:
    """The file of a model's images."""
    return folder / f"{name.replace(MIXTURE, 'mixture-').replace('/', '-')}-{n}.npz"


def make(name: str, data: str, n: int, folder: Path) -> None:
    """Makes images of a model, and writes them and their costs."""
    model, card = frozen_model(name.removeprefix(MIXTURE))
    batches = [range(start, min(start + BATCH, n)) for start in range(0, n, BATCH)]
    draw = sampler(model, card, data, n, mixture=name.startswith(MIXTURE))
    with torch.inference_mode(), autocast(torch.device("cpu")):
        started = time.perf_counter()
        images = np.concatenate([to_pixels(draw(seeds)) for seeds in batches])
        seconds = time.perf_counter() - started
    path = file_of(name, n, folder)
    folder.mkdir(parents=True, exist_ok=True)
    costs = {
        "seconds": seconds,
        "peak": peak_memory(),
        "parameters": sum(each.numel() for each in model.parameters()),
        "size": sum(2 * each.numel() for each in model.state_dict().values()),  # files have 16 bits a value
    }
    path.with_suffix(".json").write_text(json.dumps(costs), encoding="utf-8")
    np.savez(path, images=images)


def sampler(model: nn.Module, card: Card, data: str, n: int, *, mixture: bool) -> Callable[[range], Tensor]:
    """The images (n, 3, 64, 64) of seeds, by the defaults of requests.

    Models of prompts get captions of the training data, diffusion of attributes those of training images.
    """
    if mixture:
        space = space_of(model, card.architecture)
        faces = to_tensor(named_dataset(data, limit=MEMBERS).images)
        with torch.inference_mode():
            codes = torch.cat([space.encode(part) for part in faces.split(BATCH)]).float().numpy()
        vectors = torch.from_numpy(mixture_samples(codes, n, covariance_type="full"))
        return lambda seeds: space.decode(vectors[seeds.start : seeds.stop], seeds=seeds)
    if isinstance(model, Ddpm):
        return partial(denoised, model)
    if isinstance(model, TextToImageModel | Kandinsky):
        captions = named_dataset(data, limit=n).captions
        return lambda seeds: described(model, captions[seeds.start : seeds.stop], seeds)
    generator = torch.Generator().manual_seed(1)
    decoder = expect_class(model, LatentModel)
    return lambda seeds: decoder.decode(torch.randn(len(seeds), decoder.latent_dim, generator=generator))


def denoised(model: Ddpm, seeds: range) -> Tensor:
    """Images of a diffusion model."""
    generators = generators_of(seeds)
    return sample(model, *model.draw(generators), generators=generators)


def described(model: TextToImageModel | Kandinsky, captions: Sequence[str], seeds: range) -> Tensor:
    """Images of captions."""
    if isinstance(model, Kandinsky):
        return model.decode(model.encode_texts(captions), seeds=seeds)
    return generate(model, captions, seeds=seeds, width=SIDE, height=SIDE)


if __name__ == "__main__":
    main()
