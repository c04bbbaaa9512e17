"""Runs generations, a function for each mode."""

from collections.abc import Sequence
from importlib.metadata import version
from itertools import compress, pairwise
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor

from jobs.errors import AtelierError
from jobs.requests.arithmetic import (
    Arithmetic,
    AttributeTerm,
    ImageTerm,
    SeedTerm,
    Term,
    VectorTerm,
    attribute_names,
)
from jobs.requests.base import seeds_from
from jobs.requests.generation import Generation
from jobs.requests.latents import DenoisingSteps, Interpolation, Reconstruction, Sample, Translation, Traversal
from jobs.requests.text_to_image import ImageToImage, Inpainting, TextToImage
from models.catalogue import WeightsError
from models.diffusion.unconditional import Ddpm, DenoisingStep, generators_of
from models.generative.classifier import Classifier
from models.generative.cyclegan import CycleGan
from models.generative.latents import (
    MOST,
    AttributesNotFoundError,
    combined,
    manifold,
    manifold_values,
    matching,
    meets,
    on_sphere,
    path,
    prior,
    straight,
    traversal,
)
from models.grids import labeled_grid, sheet
from worker.run import Made, Picture, Pixels, Task
from worker.runners.network import BATCH, Network, load_network, pixels
from worker.runners.text_to_image import run_prompted_alone
from worker.runners.unfamiliar import warn_of_images

NOTHING = 1e-5  # of the length of the longest term: what is shorter is rounding
Result = tuple[list[Picture], dict[str, Any]]  # pictures and figures
_PARAMS: TypeAdapter[Generation] = TypeAdapter(Generation)


def run_generation(task: Task) -> Made:
    """The pictures of a mode; raises `AtelierError` when weights are missing or attributes are not found."""
    asked = _PARAMS.validate_python(task.params)
    if isinstance(asked, TextToImage | ImageToImage | Inpainting):
        return run_prompted_alone(task)
    try:
        network = load_network(task, asked.model)
        judge = load_network(task, asked.classifier) if isinstance(asked, Arithmetic) and asked.classifier else None
    except WeightsError as error:
        raise AtelierError("weights_unavailable", str(error), model=error.model_id) from error
    task.notes["device"] = str(network.device)
    pictures, metrics = _run(task, network, judge, asked)
    models = {used.card.id: used.revision for used in (network, judge) if used}
    libraries = ("torch", "diffusers") if isinstance(network.module, Ddpm) else ("torch",)
    return Made(pictures, models, {name: version(name) for name in libraries}, metrics)


def _run(task: Task, network: Network, judge: Network | None, params: Generation) -> Result:
    match params:
        case Sample():
            return _sample(task, network, params)
        case Reconstruction():
            return _reconstruct(task, network, params)
        case Interpolation():
            return _interpolate(task, network, params), {}
        case Traversal():
            return _traverse(task, network, params), {}
        case Arithmetic():
            return _arithmetic(task, network, judge, params)
        case Translation():
            return _translate(task, network, params), {}
        case DenoisingSteps():
            return _denoising_steps(task, network, params), {}
    raise AssertionError(f"{params.mode} has a runner of its own")


def _sample(task: Task, network: Network, params: Sample) -> Result:
    seeds, metrics = params.seeds or _seeds(task, params.n or 1), {}
    if isinstance(network.module, Ddpm):
        generators = generators_of(seeds)
        try:
            noise, told = network.module.draw(generators, params.attributes or ())
        except LookupError as error:
            raise AtelierError("attributes_not_found", f"attributes: {error}.", field="attributes") from error
        made = network.denoise(task, noise, told, params, generators)
        if told is not None:
            metrics["attributes"] = [list(compress(network.module.attributes, row > 0)) for row in told]
    else:
        made = network.decode(task, prior(seeds, network.latent_dim))
    pictures = [Picture(picture, seed=seed) for picture, seed in zip(made, seeds, strict=True)]
    grid = [Picture(sheet(made, [f"seed {seed}" for seed in seeds]), "grid")] if len(seeds) > 1 else []
    return pictures + grid, metrics


def _reconstruct(task: Task, network: Network, params: Reconstruction) -> Result:
    originals = _read(task, network, "images", params.images)
    made = network.decode(task, network.encode(originals))
    errors = np.abs(originals / 255 - made / 255).mean(axis=(1, 2, 3))
    grid = labeled_grid(np.stack([originals, made]), ["original", "reconstruction"], _numbered("image", len(made)))
    return _with_grid(made, grid), {"mean_absolute_error": [round(float(error), 5) for error in errors]}


def _interpolate(task: Task, network: Network, params: Interpolation) -> list[Picture]:
    ends, steps = params.between, params.steps
    if isinstance(network.module, Ddpm):
        noise, told = network.module.draw(generators_of(end for end in ends if isinstance(end, int)))
        between = path(noise.flatten(1), steps).reshape(-1, *noise.shape[1:])
        if told is not None:
            told = straight(told, steps).flatten(0, 1)
        made = network.denoise(task, between, told, params)
    else:
        places = torch.stack([_place(task, network, f"between.{i}", end) for i, end in enumerate(ends)])
        between = path(places, steps).flatten(0, 1)
        made = network.decode(task, between)
    names = [f"seed {end}" if isinstance(end, int) else f"image {i}" for i, end in enumerate(ends, 1)]
    titles = [f"{a}\nto {b}" for a, b in pairwise(names)]
    grid = labeled_grid(_rows(made, len(titles)), titles, [f"{t:.2f}" for t in np.linspace(0, 1, steps)])
    # The end of one segment is the start of the next.
    return _with_grid([frame for i, frame in enumerate(made) if i == 0 or i % steps], grid)


def _traverse(task: Task, network: Network, params: Traversal) -> list[Picture]:
    if network.latent_dim == 2 and params.start == "mean" and params.dimensions is None:
        values = manifold_values(params.steps, params.extent)
        z = manifold(values)
        rows, columns = [f"z1 = {value:z.2f}" for value in values.flip(0)], [f"z0 = {value:z.2f}" for value in values]
    else:
        values = torch.linspace(-params.extent, params.extent, params.steps)
        dimensions = params.dimensions or list(range(min(8, network.latent_dim)))
        z = traversal(_place(task, network, "start", params.start), dimensions, values)
        rows, columns = [f"z{dimension}" for dimension in dimensions], [f"{value:z.2f}" for value in values]
    made = network.decode(task, z.flatten(0, 1))
    return [Picture(labeled_grid(_rows(made, len(rows)), rows, columns), "grid"), *map(Picture, made)]


def _arithmetic(task: Task, network: Network, judge: Network | None, params: Arithmetic) -> Result:
    seeds, wanted = _seeds(task, params.n or 1), params.attribute_terms
    known = {
        i: _term(task, network, f"terms.{i}.image", term)
        for i, term in enumerate(params.terms)
        if not isinstance(term, AttributeTerm)
    }
    draws = []
    for draw in range(len(seeds)):
        means = _attribute_means(task, network, judge, params, draw) if judge and wanted else ()
        found = known | dict(zip(wanted, means, strict=True))
        draws.append(torch.stack([found[i] for i in range(len(params.terms))]))
    terms = torch.stack(draws)  # (draws, terms, latent_dim)
    results = combined([1 if term.sign == "+" else -1 for term in params.terms], terms)
    if wanted:
        if (results.norm(dim=-1) < NOTHING * terms.norm(dim=-1).amax(-1)).any():
            message = "terms: The vectors of the terms cancel, so that their sum has no direction."
            raise AtelierError("terms_cancel", message, field="terms")
        results = on_sphere(results)
    made = _rows(network.decode(task, torch.cat([terms, results[:, None]], dim=1).flatten(0, 1)), len(seeds))
    titles = [*(_term_title(i, term) for i, term in enumerate(params.terms, 1)), "result"]
    grid = labeled_grid(made, _numbered("draw", len(seeds)), titles)
    pictures = [Picture(picture, seed=seed) for picture, seed in zip(made[:, -1], seeds, strict=True)]
    return [*pictures, Picture(grid, "grid")], {"attributes": _seen(judge, made[:, -1])} if judge else {}


def _translate(task: Task, network: Network, params: Translation) -> list[Picture]:
    module = network.module
    assert isinstance(module, CycleGan)
    originals = _read(task, network, "images", params.images)
    with network.inference():
        made = pixels(module.translate(network.tensor(originals), params.direction))
    task.step(1, 1, "translated")
    kinds = module.kinds if params.direction == "a-to-b" else module.kinds[::-1]
    return _with_grid(made, labeled_grid(np.stack([originals, made]), kinds, _numbered("image", len(made))))


def _denoising_steps(task: Task, network: Network, params: DenoisingSteps) -> list[Picture]:
    model = network.module
    assert isinstance(model, Ddpm)
    total = params.num_inference_steps
    shown = set(np.linspace(1, total, min(params.shown, total)).round())
    taken: list[DenoisingStep] = []

    def keep(step: DenoisingStep) -> None:
        if step.step in shown:
            taken.append(step)

    generators = generators_of(_seeds(task, 1))
    network.denoise(task, *model.draw(generators), params, generators, keep)
    with network.inference():
        noisy = pixels(model.decode(torch.cat([step.noisy for step in taken])))
        pred_original_sample = pixels(model.decode(torch.cat([step.pred_original_sample for step in taken])))
    titles = [f"step {step.step}\nt = {step.timestep}" for step in taken]
    return _with_grid(
        pred_original_sample, labeled_grid(np.stack([noisy, pred_original_sample]), ["noisy", "predicted x0"], titles)
    )


def _seeds(task: Task, n: int) -> list[int]:
    """The seed of each of n pictures."""
    return seeds_from(task.params["seed"], n)


def _numbered(name: str, n: int) -> list[str]:
    return [f"{name} {i}" for i in range(1, n + 1)]


def _rows(pictures: Pixels, rows: int) -> Pixels:
    """Pictures (rows * columns, h, w, 3) as (rows, columns, h, w, 3)."""
    return pictures.reshape(rows, -1, *pictures.shape[1:])


def _with_grid(pictures: Sequence[Pixels] | Pixels, grid: Pixels) -> list[Picture]:
    return [*map(Picture, pictures), Picture(grid, "grid")]


def _place(task: Task, network: Network, field: str, place: str | int) -> Tensor:
    """The z of an image, of a seed or of the mean, (latent_dim,)."""
    if place == "mean":
        return torch.zeros(network.latent_dim)
    if isinstance(place, int):
        return prior([place], network.latent_dim)[0]
    return network.encode(_read(task, network, field, [place]))[0]


def _read(task: Task, network: Network, field: str, images: Sequence[str]) -> Pixels:
    """The images of a field as the model sees them; warns of those unlike its training data."""
    found = network.read(task, images)
    warn_of_images(task, network, field, found)
    return found


def _term(task: Task, network: Network, field: str, term: ImageTerm | SeedTerm | VectorTerm) -> Tensor:
    match term:
        case ImageTerm():
            return _place(task, network, field, term.image)
        case SeedTerm():
            return _place(task, network, field, term.seed)
        case VectorTerm():
            return torch.tensor(term.z)


def _term_title(number: int, term: Term) -> str:
    match term:
        case AttributeTerm():
            return "\n".join([term.sign, *term.with_, *(f"not {name}" for name in term.without)])
        case SeedTerm():
            return f"{term.sign}\nseed {term.seed}"
    return f"{term.sign}\nterm {number}"


def _attribute_means(task: Task, network: Network, judge: Network, params: Arithmetic, draw: int) -> Tensor:
    """The z of each attribute term for one draw, (terms, latent_dim)."""
    classifier, draws, averaged = judge.module, params.n or 1, params.averaged or 1
    assert isinstance(classifier, Classifier)
    wanted = [(term.with_, term.without) for term in params.attribute_terms.values()]

    def meeting(z: Tensor) -> Tensor:
        task.step(draw, draws, "looking for attributes")
        with judge.inference():
            return torch.cat([meets(classifier, network.images(part), wanted).cpu() for part in z.split(BATCH)])

    seed = _seeds(task, draws)[draw]
    try:
        return matching(meeting, len(wanted), network.latent_dim, averaged, seed).mean(1)
    except AttributesNotFoundError as error:
        field = f"terms.{list(params.attribute_terms)[error.place]}"
        message = f"{field}: {error.found} of {MOST:,} generated pictures meet it; {averaged} are needed."
        raise AtelierError("attributes_not_found", message, field=field, found=error.found) from error


def _seen(judge: Network, pictures: Pixels) -> list[list[str]]:
    """The names of what the classifier sees in each picture."""
    names = attribute_names(judge.card.architecture["questions"])
    return [[name for name in row if name in names] for row in judge.answers(pictures)]
