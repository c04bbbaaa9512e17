"""Tiny models of the real architectures, and generations by them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from jobs.requests.arithmetic import Arithmetic
from jobs.requests.base import Request
from jobs.requests.kinds import parse
from models.build import WEIGHTS, build
from models.catalogue import Card, file_sha256, folder_of
from models.data.avatars import avatar
from models.data.smileys import smiley
from models.diffusion.unconditional import Ddpm, pack_attributes
from models.generative.classifier import Classifier
from models.generative.dcgan import Dcgan
from models.generative.gan import Generator
from models.generative.vae import Vae
from models.tensors import save_weights
from tests.worker.tasks import run_alone
from worker.failures import failures
from worker.run import JobResult, OutputImage, Pixels, Task

TINY: dict[str, dict[str, Any]] = {
    "vae": {"name": "mlp-vae", "image_size": 16, "channels": 1, "latent_dim": 2, "hidden": 16},
    "conv": {"name": "conv-vae", "image_size": 16, "channels": 3, "latent_dim": 5, "base_channels": 8},
    "gan": {"name": "mlp-gan", "image_size": 16, "channels": 1, "latent_dim": 3, "hidden": 16},
    "dcgan": {
        "name": "dcgan",
        "image_size": 64,
        "channels": 3,
        "latent_dim": 6,
        "base_channels": 4,
        "encoder_channels": 4,
    },
    "ddpm": {
        "name": "ddpm",
        "image_size": 16,
        "channels": 1,
        "block_out_channels": [8, 16],
        "layers_per_block": 1,
        "patch_size": 1,
    },
    "latent-ddpm": {
        "name": "ddpm",
        "image_size": 16,
        "channels": 3,
        "block_out_channels": [8, 16],
        "layers_per_block": 1,
        "patch_size": 1,
        "autoencoder": {"block_out_channels": [32, 32], "layers_per_block": 1, "latent_channels": 4},
    },
    "attribute-ddpm": {
        "name": "ddpm",
        "image_size": 16,
        "channels": 1,
        "block_out_channels": [8, 16],
        "layers_per_block": 1,
        "patch_size": 1,
        "attributes": ["hat", "glasses", "beard"],
    },
    "cyclegan": {
        "name": "cyclegan",
        "image_size": 16,
        "channels": 3,
        "base_channels": 4,
        "n_blocks": 1,
        "kinds": ["plain", "striped"],
    },
    "judge": {
        "name": "classifier",
        "channels": 1,
        "questions": [["no bright", "bright"], ["no red", "red"]],
        "base_channels": 2,
    },
}

IMAGES = {f"img_{digit * 64}": smiley(77, i)[0] for i, digit in enumerate("0123")}

IMAGES |= {"img_" + "f" * 64: avatar(77, 0, glasses=False)[0][:40, :60]}

A, B, C, D, WIDE = IMAGES


def save_models(weights_dir: Path) -> dict[str, Card]:
    """Saves the tiny models; returns their cards."""
    torch.manual_seed(0)
    made = {}
    for model_id, architecture in TINY.items():
        module = build(architecture)
        if isinstance(module, Generator) and model_id == "gan":
            make_brightness(module)
        elif isinstance(module, Vae | Dcgan):
            enliven(module)
        if isinstance(module, Classifier):
            teach_brightness(module)
        if isinstance(module, Ddpm) and module.attributes:
            nn.init.normal_(module.unet.class_embedding.weight, std=3)
            module.rows.copy_(
                pack_attributes(torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]]).repeat(256, 1))
            )
        made[model_id] = saved(model_id, architecture, module, weights_dir)
    return made


def saved(model_id: str, architecture: dict[str, Any], module: nn.Module, weights_dir: Path) -> Card:
    source = {"kind": "trained", "data": "tests"}
    found = Card(model_id, "generation", "", "", "MIT", source, {WEIGHTS: None}, architecture)
    folder = folder_of(found, weights_dir)
    folder.mkdir(parents=True)
    save_weights(module.state_dict(), folder / WEIGHTS)
    found.files[WEIGHTS] = file_sha256(folder / WEIGHTS)
    return found


def saved_repeats(weights_dir: Path) -> Card:
    """Saves a network that upscales by repeating each pixel; returns its card."""
    architecture = {"name": "srvgg-net-compact", "num_feat": 4, "num_conv": 1, "channels": 3}
    network = build(architecture)
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    return saved("repeats", architecture, network, weights_dir)


def make_brightness(generator: Generator) -> None:
    """Sets the weights so that images have one color, which is brighter for a larger z0."""
    first, second, last = [layer for layer in generator.layers.children() if isinstance(layer, nn.Linear)]
    for layer in (first, second, last):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    with torch.no_grad():
        first.weight[0, 0] = second.weight[0, 0] = 1
        last.weight[:, 0] = 1


def enliven(module: Vae | Dcgan) -> None:
    """Makes the images of untrained networks differ: they are all gray without larger last weights and statistics."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # the statistics of all batches
    with torch.no_grad():
        module.decode(torch.randn(64, module.latent_dim))
        for half in (module.decoder if isinstance(module, Vae) else module.layers, module.encoder):
            weights = [parameter for name, parameter in half.named_parameters() if name.endswith("weight")]
            weights[-1].mul_(20)


def teach_brightness(classifier: Classifier) -> None:
    """Trains it to separate bright images from dark ones; none is red."""
    optimizer = torch.optim.Adam(classifier.parameters(), lr=0.01)
    for _ in range(60):
        levels = torch.rand(32, 1, 1, 1)
        bright, red = classifier.logits(levels.expand(32, 1, 16, 16))
        loss = F.cross_entropy(bright, (levels.flatten() > 0.5).long()) + F.cross_entropy(red, torch.zeros(32).long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def run(known: dict[str, Card], model: str, **params: Any) -> tuple[JobResult, list[tuple[int, int, str]]]:
    steps: list[tuple[int, int, str]] = []

    def step(step: int, total: int, message: str, image: Callable[[], Pixels] | None = None) -> None:
        steps.append((step, total, message))
        if image:
            assert image().dtype == np.uint8

    with failures():
        return run_alone(task(known, step, model=model, **params)), steps


def task(known: dict[str, Card], step: Callable[..., None], **params: Any) -> Task:
    return Task(resolved(known.__getitem__, **params), step, IMAGES.__getitem__, known.__getitem__, cast(Any, None))


def resolved(find_model: Callable[[str], Card], **params: Any) -> Request:
    """The request of a job of these models, as the API resolves it."""
    request: Any = parse("generation", {"seed": 1, "format": "png", **params})
    architecture = find_model(request.model).architecture
    if isinstance(request, Arithmetic) and request.classifier:
        return request.fitted(architecture, find_model(request.classifier).architecture["questions"])
    fitted: Request = request.fitted(architecture)
    return fitted


def outputs(made: JobResult) -> list[OutputImage]:
    return [image for image in made.images if image.role == "picture"]


def apart(a: OutputImage, b: OutputImage) -> int:
    """The largest difference of two images, in levels of 255."""
    return int(np.abs(a.pixels.astype(int) - b.pixels).max())


# Sums in another order round differently, more so in bfloat16; another seed differs by a hundred levels.
TOLERANCE = 3


def reconstructed(known: dict[str, Card], model: str, image: str) -> list[OutputImage]:
    return outputs(run(known, model, mode="reconstruct", images=[image])[0])
