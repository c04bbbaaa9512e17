"""Runs generations, a function for each mode."""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from itertools import compress, pairwise
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor

from jobs.requests.arithmetic import Arithmetic, AttributeTerm, ImageTerm, SeedTerm, Term, VectorTerm, attribute_names
from jobs.requests.base import seeds_from
from jobs.requests.generation import Generation
from jobs.requests.latents import DenoisingSteps, Interpolation, Reconstruction, Sample, Translation, Traversal
from jobs.requests.text_to_image import ImageToImage, Inpainting, TextToImage
from models.diffusion.unconditional import Ddpm, DenoisingStep, generators_of
from models.generative.classifier import Classifier
from models.generative.cyclegan import CycleGan
from models.generative.latents import (
    Wanted,
    attribute_arithmetic,
    manifold,
    manifold_values,
    meets,
    path,
    prior,
    straight,
    traversal,
)
from models.grids import labeled_grid, sheet
from worker.failures import failures
from worker.run import JobResult, OutputImage, Pixels, Task
from worker.runners.images import numbered, rows_of, with_grid
from worker.runners.network import BATCH, Network, load_network, pixels
from worker.runners.text_to_image import run_prompted_alone
from worker.runners.unfamiliar import warn_of_images

Output = tuple[list[OutputImage], dict[str, Any]]  # images and figures for `metrics`
_PARAMS: TypeAdapter[Generation] = TypeAdapter(Generation)


def run_generation(task: Task) -> JobResult:
    """The pictures of a mode; raises `AtelierError` when weights are missing or attributes are not found."""
    asked = _PARAMS.validate_python(task.params)
    if isinstance(asked, TextToImage | ImageToImage | Inpainting):
        return run_prompted_alone(task)
    network = load_network(task, asked.model)
    judge = load_network(task, asked.classifier) if isinstance(asked, Arithmetic) and asked.classifier else None
    task.notes["device"] = str(network.device)
    params = asked
    if isinstance(params, Arithmetic):
        images, metrics = _arithmetic(task, network, judge, params)
    else:
        images, metrics = _MODES[type(params)](task, network, params)
    models = {used.card.id: used.revision for used in (network, judge) if used}
    libraries = ("torch", "diffusers") if isinstance(network.module, Ddpm) else ("torch",)
    return JobResult(images, models, {name: version(name) for name in libraries}, metrics)


def _sample(task: Task, network: Network, params: Sample) -> Output:
    seeds, metrics = params.seeds or _seeds(task, params.n or 1), {}
    if isinstance(network.module, Ddpm):
        generators = generators_of(seeds)
        with failures(["attributes"]):
            noise, attributes = network.module.draw(generators, params.attributes or ())
        images = network.denoise(task, noise, attributes, params, generators)
        if attributes is not None:
            metrics["attributes"] = [list(compress(network.module.attributes, row > 0)) for row in attributes]
    else:
        images = network.decode(task, prior(seeds, network.latent_dim))
    outputs = [OutputImage(image, seed=seed) for image, seed in zip(images, seeds, strict=True)]
    grid = [OutputImage(sheet(images, [f"seed {seed}" for seed in seeds]), "grid")] if len(seeds) > 1 else []
    return outputs + grid, metrics


def _reconstruct(task: Task, network: Network, params: Reconstruction) -> Output:
    originals = _read(task, network, "images", params.images)
    images = network.decode(task, network.encode(originals))
    errors = np.abs(originals / 255 - images / 255).mean(axis=(1, 2, 3))
    rows = ["original", "reconstruction"]
    grid = labeled_grid(np.stack([originals, images]), rows, numbered("image", len(images)))
    return with_grid(images, grid), {"mean_absolute_error": [round(float(error), 5) for error in errors]}


def _interpolate(task: Task, network: Network, params: Interpolation) -> Output:
    ends, steps = params.between, params.steps
    if isinstance(network.module, Ddpm):
        noise, attributes = network.module.draw(generators_of(end for end in ends if isinstance(end, int)))
        between = path(noise.flatten(1), steps).reshape(-1, *noise.shape[1:])
        if attributes is not None:
            attributes = straight(attributes, steps).flatten(0, 1)
        images = network.denoise(task, between, attributes, params)
    else:
        codes = torch.stack([_code(task, network, f"between.{i}", end) for i, end in enumerate(ends)])
        images = network.decode(task, path(codes, steps).flatten(0, 1))
    names = [f"seed {end}" if isinstance(end, int) else f"image {i}" for i, end in enumerate(ends, 1)]
    titles = [f"{a}\nto {b}" for a, b in pairwise(names)]
    grid = labeled_grid(rows_of(images, len(titles)), titles, [f"{t:.2f}" for t in np.linspace(0, 1, steps)])
    # The end of one segment is the start of the next.
    return with_grid([frame for i, frame in enumerate(images) if i == 0 or i % steps], grid), {}


def _traverse(task: Task, network: Network, params: Traversal) -> Output:
    if network.latent_dim == 2 and params.start == "mean" and params.dimensions is None:
        values = manifold_values(params.steps, params.extent)
        z = manifold(values)
        rows, columns = [f"z1 = {value:z.2f}" for value in values.flip(0)], [f"z0 = {value:z.2f}" for value in values]
    else:
        values = torch.linspace(-params.extent, params.extent, params.steps)
        dimensions = params.dimensions or list(range(min(8, network.latent_dim)))
        z = traversal(_code(task, network, "start", params.start), dimensions, values)
        rows, columns = [f"z{dimension}" for dimension in dimensions], [f"{value:z.2f}" for value in values]
    images = network.decode(task, z.flatten(0, 1))
    grid = labeled_grid(rows_of(images, len(rows)), rows, columns)
    return [OutputImage(grid, "grid"), *map(OutputImage, images)], {}


def _translate(task: Task, network: Network, params: Translation) -> Output:
    module = network.module
    assert isinstance(module, CycleGan)
    originals = _read(task, network, "images", params.images)
    with network.inference():
        images = pixels(module.translate(network.tensor(originals), params.direction))
    task.report_progress(1, 1, "translated")
    kinds = module.kinds if params.direction == "a-to-b" else module.kinds[::-1]
    return with_grid(images, labeled_grid(np.stack([originals, images]), kinds, numbered("image", len(images)))), {}


def _denoising_steps(task: Task, network: Network, params: DenoisingSteps) -> Output:
    model = network.module
    assert isinstance(model, Ddpm)
    total = params.num_inference_steps
    shown = set(np.linspace(1, total, min(params.shown, total)).round())
    steps: list[DenoisingStep] = []

    def keep(step: DenoisingStep) -> None:
        if step.step in shown:
            steps.append(step)

    generators = generators_of(_seeds(task, 1))
    network.denoise(task, *model.draw(generators), params, generators, keep)
    with network.inference():
        noisy = pixels(model.decode(torch.cat([step.noisy for step in steps])))
        predicted = pixels(model.decode(torch.cat([step.pred_original_sample for step in steps])))
    titles = [f"step {step.step}\nt = {step.timestep}" for step in steps]
    return with_grid(predicted, labeled_grid(np.stack([noisy, predicted]), ["noisy", "predicted x0"], titles)), {}


_MODES: dict[type, Callable[[Task, Network, Any], Output]] = {
    Sample: _sample,
    Reconstruction: _reconstruct,
    Interpolation: _interpolate,
    Traversal: _traverse,
    Translation: _translate,
    DenoisingSteps: _denoising_steps,
}


# --- attribute arithmetic -------------------------------------------------------------------------------------------


def _arithmetic(task: Task, network: Network, judge: Network | None, params: Arithmetic) -> Output:
    """The results of each draw, and a grid of the terms and the result of each draw."""
    seeds = _seeds(task, params.n or 1)
    terms = [_term(task, network, f"terms.{k}.image", term) for k, term in enumerate(params.terms)]
    codes = []
    for draw, seed in enumerate(seeds):

        def has_attributes(z: Tensor, wanted: Sequence[Wanted], draw: int = draw) -> Tensor:
            task.report_progress(draw, len(seeds), "looking for attributes")
            return _has_attributes(network, judge, z, wanted)

        with failures([f"terms.{k}" for k in params.attribute_terms]):
            of_terms, total = attribute_arithmetic(
                terms, has_attributes, dim=network.latent_dim, averaged=params.averaged or 1, seed=seed
            )
        codes.append(torch.cat([of_terms, total[None]]))
    images = rows_of(network.decode(task, torch.cat(codes)), len(seeds))
    titles = [*(_term_title(k, term) for k, term in enumerate(params.terms, 1)), "result"]
    grid = labeled_grid(images, numbered("draw", len(seeds)), titles)
    outputs = [OutputImage(image, seed=seed) for image, seed in zip(images[:, -1], seeds, strict=True)]
    metrics = {"attributes": _seen(judge, images[:, -1])} if judge else {}
    return [*outputs, OutputImage(grid, "grid")], metrics


def _term(task: Task, network: Network, field: str, term: Term) -> tuple[int, Tensor | Wanted]:
    """The sign of a term, and its code (latent_dim,) or its attributes."""
    sign = 1 if term.sign == "+" else -1
    match term:
        case AttributeTerm():
            return sign, (term.with_, term.without)
        case ImageTerm():
            return sign, _code(task, network, field, term.image)
        case SeedTerm():
            return sign, _code(task, network, field, term.seed)
        case VectorTerm():
            return sign, torch.tensor(term.z)


def _term_title(number: int, term: Term) -> str:
    match term:
        case AttributeTerm():
            return "\n".join([term.sign, *term.with_, *(f"not {name}" for name in term.without)])
        case SeedTerm():
            return f"{term.sign}\nseed {term.seed}"
    return f"{term.sign}\nterm {number}"


def _has_attributes(network: Network, judge: Network | None, z: Tensor, wanted: Sequence[Wanted]) -> Tensor:
    """Whether the image of each z (n, latent_dim) has each of the wanted attributes, bool (n, wanted)."""
    assert judge and isinstance(judge.module, Classifier)
    with judge.inference():
        return torch.cat([meets(judge.module, network.images(part), wanted).cpu() for part in z.split(BATCH)])


def _seen(judge: Network, images: Pixels) -> list[list[str]]:
    """The names of the attributes that the classifier sees in each image."""
    names = attribute_names(judge.card.architecture["questions"])
    return [[name for name in row if name in names] for row in judge.answers(images)]


# --- what the modes share -------------------------------------------------------------------------------------------


def _seeds(task: Task, n: int) -> list[int]:
    """The seed of each of n images."""
    return seeds_from(task.params["seed"], n)


def _code(task: Task, network: Network, field: str, source: str | int) -> Tensor:
    """The z of an image, of a seed or of the mean, (latent_dim,)."""
    if source == "mean":
        return torch.zeros(network.latent_dim)
    if isinstance(source, int):
        return prior([source], network.latent_dim)[0]
    return network.encode(_read(task, network, field, [source]))[0]


def _read(task: Task, network: Network, field: str, images: Sequence[str]) -> Pixels:
    """The images of a field at the model's size; warns of those unlike its training data."""
    squares = network.read(task, images)
    warn_of_images(task, network, field, squares)
    return squares
