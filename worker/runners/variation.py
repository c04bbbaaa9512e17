"""Varies an image: encodes it, adds noise to its embedding, and decodes."""

import numpy as np
import torch
from torch import nn

from jobs.requests.base import seeds_from
from jobs.requests.variation import Variation
from models.grids import labeled_grid
from models.space.space import space_of
from models.tensors import seeded
from worker.libraries import versions_of
from worker.run import JobResult, OutputImage, Task
from worker.runners.generation import open_network
from worker.runners.space import LoadedSpace
from worker.runners.unfamiliar import warn_of_images


def run_variations(task: Task[Variation]) -> JobResult:
    """The variations, and a grid with the image."""
    network, params = open_network(task, nn.Module), task.params
    space = LoadedSpace(space_of(network.module, network.card.architecture), network)
    original = space.squares([task.read_image(params.image)])
    warn_of_images(task, network, "image", original)
    seeds = seeds_from(task.seed, params.n)
    [embedding] = space.encode(original)
    noise = np.stack([torch.randn(len(embedding), generator=seeded(seed)).numpy() for seed in seeds])
    size = np.sqrt(np.square(embedding).mean())
    embeddings = (embedding + params.noise_level * size * noise).astype(np.float32)
    images = space.decode(embeddings, seeds, lambda done: task.report_progress(done, params.n, "decoding"))
    titles = ["image", *(f"seed {seed}" for seed in seeds)]
    grid = labeled_grid(np.concatenate([original, images])[None], [""], titles)
    outputs = [OutputImage(image, seed=seed) for image, seed in zip(images, seeds, strict=True)]
    versions = versions_of("torch", "diffusers")
    return JobResult([*outputs, OutputImage(grid, "grid")], {network.card.id: network.revision}, versions, {})
