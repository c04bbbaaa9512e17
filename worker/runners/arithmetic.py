"""Runs latent arithmetic."""

from collections.abc import Sequence

import torch
from torch import Tensor

from jobs.requests.arithmetic import Arithmetic, AttributeTerm, ImageTerm, SeedTerm, Term, VectorTerm, attribute_names
from jobs.requests.base import filled, seeds_from
from models.generative.base import LatentModel
from models.generative.classifier import Classifier
from models.generative.latents import Wanted, attribute_arithmetic, meets
from models.grids import labeled_grid
from worker.failures import failures
from worker.run import JobResult, OutputImage, Pixels, Task
from worker.runners.generation import code_of, open_network, result
from worker.runners.images import numbered, rows_of
from worker.runners.network import BATCH, Network, load_network


def run_arithmetic(task: Task[Arithmetic]) -> JobResult:
    """The results of each draw, and a grid of the terms and the result of each draw."""
    network, params = open_network(task, LatentModel), task.params
    judge = load_network(task, params.classifier, Classifier) if params.classifier else None
    seeds = seeds_from(task.seed, params.n or 1)
    terms = [_term(task, network, f"terms.{k}.image", term) for k, term in enumerate(params.terms)]
    codes = []
    for draw, seed in enumerate(seeds):

        def has_attributes(z: Tensor, wanted: Sequence[Wanted], draw: int = draw) -> Tensor:
            task.report_progress(draw, len(seeds), "looking for attributes")
            return _has_attributes(network, filled(judge), z, wanted)

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
    return result([network, *([judge] if judge else [])], [*outputs, OutputImage(grid, "grid")], metrics)


def _term(task: Task, network: Network, field: str, term: Term) -> tuple[int, Tensor | Wanted]:
    """The sign of a term, and its code (latent_dim,) or its attributes."""
    sign = 1 if term.sign == "+" else -1
    match term:
        case AttributeTerm():
            return sign, (term.with_, term.without)
        case ImageTerm():
            return sign, code_of(task, network, field, term.image)
        case SeedTerm():
            return sign, code_of(task, network, field, term.seed)
        case VectorTerm():
            return sign, torch.tensor(term.z)


def _term_title(number: int, term: Term) -> str:
    match term:
        case AttributeTerm():
            return "\n".join([term.sign, *term.with_, *(f"not {name}" for name in term.without)])
        case SeedTerm():
            return f"{term.sign}\nseed {term.seed}"
    return f"{term.sign}\nterm {number}"


def _has_attributes(
    network: Network[LatentModel], judge: Network[Classifier], z: Tensor, wanted: Sequence[Wanted]
) -> Tensor:
    """Whether the image of each z (n, latent_dim) has each of the wanted attributes, bool (n, wanted)."""
    with judge.inference():
        return torch.cat([meets(judge.module, network.images(part), wanted).cpu() for part in z.split(BATCH)])


def _seen(judge: Network[Classifier], images: Pixels) -> list[list[str]]:
    """The names of the attributes that the classifier sees in each image."""
    names = attribute_names(judge.card.architecture["questions"])
    return [[name for name in row if name in names] for row in judge.answers(images)]
