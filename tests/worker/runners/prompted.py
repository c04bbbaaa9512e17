"""A tiny untrained model of the real architecture, and jobs of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from jobs.errors import NotFound
from jobs.requests.kinds import parse
from models.build import WEIGHTS, build
from models.catalogue import Card, file_sha256, folder_of
from models.tensors import save_weights
from worker import runners
from worker.failures import failures
from worker.run import JobResult, Pixels, Task

ARCHITECTURE: dict[str, Any] = {
    "name": "stable-diffusion",
    "block_out_channels": [32, 32],
    "layers_per_block": 1,
    "image_size": 32,
    "text": {
        **{"image_size": 16, "base_channels": 8, "hidden_size": 32, "text_layers": 1, "projection_dim": 8},
        **{"context_length": 8, "merges": ["h a", "ha t</w>"]},
    },
    "autoencoder": {"block_out_channels": [32, 32], "layers_per_block": 1, "latent_channels": 4},
}

IMAGE, MASK, GONE = (f"img_{digit * 64}" for digit in "012")

TOLERANCE = 3  # of 255: sums in another order round differently, more so in bfloat16

Step = Callable[..., None]


def saved(model_id: str, architecture: dict[str, Any], weights_dir: Path) -> Card:
    torch.manual_seed(0)
    card = Card(model_id, "text-to-image", "", "", "MIT", {"kind": "trained"}, {WEIGHTS: None}, architecture)
    folder = folder_of(card, weights_dir)
    folder.mkdir(parents=True)
    save_weights(build(architecture).state_dict(), folder / WEIGHTS)
    card.files[WEIGHTS] = file_sha256(folder / WEIGHTS)
    return card


def read_image(image_id: str) -> Pixels:
    if image_id == GONE:
        raise NotFound("image_not_found", "It is gone.")
    image = np.zeros((40, 48, 3), np.uint8)
    image[:20] = 255
    return image if image_id == MASK else np.full_like(image, 90)


def task(card: Card, step: Step = lambda *progress: None, **params: Any) -> Task:
    asked = {"mode": "text-to-image", "model": "tiny", "prompt": "a hat", "num_inference_steps": 4, "seed": 1}
    request: Any = parse("generation" if "method" not in params else "style-transfer", asked | params)
    return Task(request.fitted(card.architecture), step, read_image, lambda model_id: card, cast(Any, None))


def run(tasks: list[Task]) -> list[JobResult | Exception]:
    with failures():
        return list(runners.run(tasks))


def images_of(made: JobResult | Exception) -> Pixels:
    assert isinstance(made, JobResult), made
    return np.stack([image.pixels for image in made.images if image.role == "picture"])


def apart(a: Pixels, b: Pixels) -> int:
    return int(np.abs(a.astype(int) - b).max())
