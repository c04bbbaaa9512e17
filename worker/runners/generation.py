"""Runs generations by models without prompts, a function for each mode; compatible jobs of two modes run as a batch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress, pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jobs.requests.base import seeds_from
from jobs.requests.latents import DenoisingSteps, Interpolation, Reconstruction, Sample, Translation, Traversal
from models.diffusion.unconditional import Ddpm, DenoisingStep, generators_of
from models.generative.base import LatentAutoencoder, LatentModel
from models.generative.cyclegan import CycleGan
from models.generative.latents import (
    manifold,
    manifold_values,
    path,
    prior,
    straight,
    traversal,
)
from models.grids import labeled_grid, sheet
from worker.failures import failures
from worker.libraries import versions_of
from worker.run import JobResult, OutputImage, Pixels, Task
from worker.runners.images import numbered, rows_of, with_grid
from worker.runners.joint import Joint, noting, shares
from worker.runners.network import K, Network, Preview, load_network, pixels
from worker.runners.unfamiliar import warn_of_images


def open_network(task: Task[Any], kind: type[K]) -> Network[K]:
    """The model of a request, whose device is noted; raises as `load_network`."""
    network = load_network(task, task.params.model, kind)
    task.notes["device"] = str(network.device)
    return network


def result(networks: Sequence[Network], images: list[OutputImage], metrics: dict[str, Any] | None = None) -> JobResult:
    """The result of a job that used these models, the first of which made its images."""
    models = {network.card.id: network.revision for network in networks}
    libraries = ("torch", "diffusers") if isinstance(networks[0].module, Ddpm) else ("torch",)
    return JobResult(images, models, versions_of(*libraries), metrics or {})


def run_samples(tasks: Sequence[Task[Sample]]) -> list[JobResult | Exception]:
    """The samples of each task, and a sheet of several; the tasks have one model and one schedule."""
    network, joint = open_network(tasks[0], nn.Module), Joint(tasks)
    noting(tasks, device=str(network.device))
    drawn = joint.each(partial(_draw, network))

    def run() -> dict[int, JobResult]:
        if not drawn:
            return {}
        counts = [len(each.seeds) for _, each in drawn]
        places = {place: rows for (place, _), rows in zip(drawn, shares(range(sum(counts)), counts), strict=True)}
        images = _sampled(network, joint, places, [each for _, each in drawn])
        made = zip(drawn, shares(images, counts), strict=True)
        return {place: _samples(network, each, own, len(tasks)) for (place, each), own in made}

    return joint.results(run)


@dataclass
class _Drawn:
    """The random numbers of a job: noise of a diffusion model, or z, of each seed; and attributes."""

    seeds: Sequence[int]
    noise: Tensor
    attributes: Tensor | None = None
    generators: Sequence[torch.Generator] = ()


def _draw(network: Network, task: Task[Sample]) -> _Drawn:
    params = task.params
    seeds = params.seeds or seeds_from(task.seed, params.n or 1)
    if not isinstance(network.module, Ddpm):
        return _Drawn(seeds, prior(seeds, network.latent_dim))
    generators = generators_of(seeds)
    with failures(["attributes"]):
        noise, attributes = network.module.draw(generators, params.attributes or ())
    return _Drawn(seeds, noise, attributes, generators)


def _sampled(network: Network, joint: Joint[Sample], places: Mapping[int, range], drawn: Sequence[_Drawn]) -> Pixels:
    """The images of all jobs, whose rows are `places`."""
    noise = torch.cat([each.noise for each in drawn])
    if not isinstance(network.module, Ddpm):
        return network.expect(LatentModel).decode(joint, noise)

    def report(done: int, total: int, preview: Preview) -> None:
        joint.report_progress(done, total, "denoising", lambda place: preview(places[place]))

    given = [each.attributes for each in drawn if each.attributes is not None]
    attributes = torch.cat(given) if given else None
    generators = [generator for each in drawn for generator in each.generators]
    return network.expect(Ddpm).denoise(report, noise, attributes, joint.tasks[0].params, generators)


def _samples(network: Network, drawn: _Drawn, images: Sequence[Pixels], n_jobs: int) -> JobResult:
    metrics: dict[str, Any] = {"batch": n_jobs}
    if drawn.attributes is not None:
        names = network.expect(Ddpm).module.attributes
        metrics["attributes"] = [list(compress(names, row > 0)) for row in drawn.attributes]
    outputs = [OutputImage(image, seed=seed) for image, seed in zip(images, drawn.seeds, strict=True)]
    titles = [f"seed {seed}" for seed in drawn.seeds]
    grid = [OutputImage(sheet(np.stack(images), titles), "grid")] if len(images) > 1 else []
    return result([network], outputs + grid, metrics)


def run_reconstructions(tasks: Sequence[Task[Reconstruction]]) -> list[JobResult | Exception]:
    """For each task its images encoded and decoded, and a grid with the originals; the tasks have one model."""
    network, joint = open_network(tasks[0], LatentAutoencoder), Joint(tasks)
    noting(tasks, device=str(network.device))
    read = joint.each(lambda task: _read(task, network, "images", task.params.images))

    def run() -> dict[int, JobResult]:
        if not read:
            return {}
        images = network.decode(joint, network.encode(np.concatenate([originals for _, originals in read])))
        made = zip(read, shares(images, [len(originals) for _, originals in read]), strict=True)
        return {place: _reconstructed(network, originals, np.stack(own)) for (place, originals), own in made}

    return joint.results(run)


def _reconstructed(network: Network, originals: Pixels, images: Pixels) -> JobResult:
    errors = np.abs(originals / 255 - images / 255).mean(axis=(1, 2, 3))
    rows = ["original", "reconstruction"]
    grid = labeled_grid(np.stack([originals, images]), rows, numbered("image", len(images)))
    metrics = {"mean_absolute_error": [round(float(error), 5) for error in errors]}
    return result([network], with_grid(images, grid), metrics)


def run_interpolation(task: Task[Interpolation]) -> JobResult:
    """The images along the path, and a grid with a row for each segment."""
    network, params = open_network(task, nn.Module), task.params
    ends, steps = params.between, params.steps
    if isinstance(network.module, Ddpm):
        noise, attributes = network.module.draw(generators_of(end for end in ends if isinstance(end, int)))
        between = path(noise.flatten(1), steps).reshape(-1, *noise.shape[1:])
        if attributes is not None:
            attributes = straight(attributes, steps).flatten(0, 1)
        images = network.expect(Ddpm).denoise(_reporter(task, len(between)), between, attributes, params)
    else:
        latent = network.expect(LatentModel)
        codes = torch.stack([code_of(task, latent, f"between.{i}", end) for i, end in enumerate(ends)])
        images = latent.decode(task, path(codes, steps).flatten(0, 1))
    names = [f"seed {end}" if isinstance(end, int) else f"image {i}" for i, end in enumerate(ends, 1)]
    titles = [f"{a}\nto {b}" for a, b in pairwise(names)]
    grid = labeled_grid(rows_of(images, len(titles)), titles, [f"{t:.2f}" for t in np.linspace(0, 1, steps)])
    # The end of one segment is the start of the next.
    return result([network], with_grid([frame for i, frame in enumerate(images) if i == 0 or i % steps], grid))


def run_traversal(task: Task[Traversal]) -> JobResult:
    """A grid with a row for each dimension, and its single images."""
    network, params = open_network(task, LatentModel), task.params
    if network.latent_dim == 2 and params.start == "mean" and params.dimensions is None:
        values = manifold_values(params.steps, params.extent)
        z = manifold(values)
        rows, columns = [f"z1 = {value:z.2f}" for value in values.flip(0)], [f"z0 = {value:z.2f}" for value in values]
    else:
        values = torch.linspace(-params.extent, params.extent, params.steps)
        dimensions = params.dimensions or list(range(min(8, network.latent_dim)))
        z = traversal(code_of(task, network, "start", params.start), dimensions, values)
        rows, columns = [f"z{dimension}" for dimension in dimensions], [f"{value:z.2f}" for value in values]
    images = network.decode(task, z.flatten(0, 1))
    grid = labeled_grid(rows_of(images, len(rows)), rows, columns)
    return result([network], [OutputImage(grid, "grid"), *map(OutputImage, images)])


def run_translation(task: Task[Translation]) -> JobResult:
    """The translated images, and a grid with the originals."""
    network, params = open_network(task, CycleGan), task.params
    module = network.module
    originals = _read(task, network, "images", params.images)
    with network.inference():
        images = pixels(module.translate(network.tensor(originals), params.direction))
    task.report_progress(1, 1, "translated")
    kinds = module.kinds if params.direction == "a-to-b" else module.kinds[::-1]
    grid = labeled_grid(np.stack([originals, images]), kinds, numbered("image", len(images)))
    return result([network], with_grid(images, grid))


def run_denoising_steps(task: Task[DenoisingSteps]) -> JobResult:
    """The predicted x0 of each step shown, and a grid with the noisy inputs."""
    network, params = open_network(task, Ddpm), task.params
    model = network.module
    total = params.num_inference_steps
    shown = set(np.linspace(1, total, min(params.shown, total)).round())
    steps: list[DenoisingStep] = []

    def keep(step: DenoisingStep) -> None:
        if step.step in shown:
            steps.append(step)

    generators = generators_of(seeds_from(task.seed, 1))
    network.denoise(_reporter(task, 1), *model.draw(generators), params, generators, keep)
    with network.inference():
        noisy = pixels(model.decode(torch.cat([step.noisy for step in steps])))
        predicted = pixels(model.decode(torch.cat([step.pred_original_sample for step in steps])))
    titles = [f"step {step.step}\nt = {step.timestep}" for step in steps]
    grid = labeled_grid(np.stack([noisy, predicted]), ["noisy", "predicted x0"], titles)
    return result([network], with_grid(predicted, grid))


def _reporter(task: Task, n: int) -> Callable[[int, int, Preview], None]:
    """Reports the progress of denoising n images, of one task alone."""
    return lambda done, total, preview: task.report_progress(done, total, "denoising", lambda: preview(range(n)))


# --- what the modes share -------------------------------------------------------------------------------------------


def code_of(task: Task, network: Network, field: str, source: str | int) -> Tensor:
    """The z of an image, of a seed or of the mean, (latent_dim,)."""
    if source == "mean":
        return torch.zeros(network.latent_dim)
    if isinstance(source, int):
        return prior([source], network.latent_dim)[0]
    return network.expect(LatentAutoencoder).encode(_read(task, network, field, [source]))[0]


def _read(task: Task, network: Network, field: str, images: Sequence[str]) -> Pixels:
    """The images of a field at the model's size; warns of those unlike its training data."""
    squares = network.read(task, images)
    warn_of_images(task, network, field, squares)
    return squares
