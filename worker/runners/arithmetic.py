"""Runs latent arithmetic."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from jobs.requests.arithmetic import (
    Arithmetic,
    AttributeTerm,
    DirectionTerm,
    ImageTerm,
    SeedTerm,
    Term,
    VectorTerm,
    attribute_names,
    signed,
)
from jobs.requests.base import filled, seeds_from
from models.errors import AttributesNotFoundError
from models.generative.base import LatentModel
from models.generative.classifier import Classifier
from models.generative.latents import Wanted, mean_codes, meets, on_sphere, weighted_sum
from models.grids import labeled_grid
from models.space.steering import attribute_direction
from models.tensors import seeded
from worker.failures import failures
from worker.run import JobResult, OutputImage, Pixels, Task
from worker.runners.generation import code_of, open_network, result
from worker.runners.images import numbered, rows_of
from worker.runners.network import BATCH, Network, load_network

FITTED = 4096  # samples that a direction is fitted to
FEWEST = 16  # of them with the attribute, and without
SHOWN_AT = 4.0  # standard deviations along a direction, where it is shown
MOST_CODES = 10_000  # that are kept, 256 bytes each for a z of 64 values

T = TypeVar("T", AttributeTerm, DirectionTerm)
_codes: dict[tuple[object, ...], Tensor] = {}  # means and directions of attributes, which later jobs use again


def run_arithmetic(task: Task[Arithmetic]) -> JobResult:
    """The results of each draw, and a grid of the terms and the result of each draw."""
    network, params = open_network(task, LatentModel), task.params
    judge = load_network(task, params.classifier, Classifier) if params.classifier else None
    seeds = seeds_from(task.seed, params.n or 1)
    given = {k: code for k, term in enumerate(params.terms) if (code := _code(task, network, k, term)) is not None}
    given |= _directions(task, network, judge)
    weights = [signed(term) for term in params.terms]
    scaled = bool(params.attribute_terms or params.direction_terms)
    shown, totals = [], []
    for draw, seed in enumerate(seeds):
        codes = given | _means(task, network, judge, seed, f"looking for attributes, draw {draw + 1} of {len(seeds)}")
        with failures([]):
            totals.append(weighted_sum(weights, torch.stack([codes[k] for k in range(len(weights))]), scaled=scaled))
        shown += [_visible(term, codes[k]) for k, term in enumerate(params.terms)] + [totals[-1]]
    images = rows_of(network.decode(task, torch.stack(shown)), len(seeds))
    titles = [*(_term_title(k, term) for k, term in enumerate(params.terms, 1)), "result"]
    grid = labeled_grid(images, numbered("draw", len(seeds)), titles)
    outputs = [OutputImage(image, seed=seed) for image, seed in zip(images[:, -1], seeds, strict=True)]
    metrics = {"attributes": _seen(judge, images[:, -1])} if judge else {}
    return result([network, *([judge] if judge else [])], [*outputs, OutputImage(grid, "grid")], metrics)


def _code(task: Task, network: Network, place: int, term: Term) -> Tensor | None:
    """The code of a term (latent_dim,); None for terms of attributes."""
    match term:
        case ImageTerm():
            return code_of(task, network, f"terms.{place}.image", term.image)
        case SeedTerm():
            return code_of(task, network, f"terms.{place}.image", term.seed)
        case VectorTerm():
            return torch.tensor(term.z)
    return None


def _means(
    task: Task[Arithmetic],
    network: Network[LatentModel],
    judge: Network[Classifier] | None,
    seed: int,
    message: str,
) -> dict[int, Tensor]:
    """The mean codes of attribute terms in one draw, by the index of the term."""
    averaged = task.params.averaged or 1

    def found(missing: Sequence[AttributeTerm]) -> Tensor:
        def has_attributes(z: Tensor, wanted: Sequence[Wanted]) -> Tensor:
            task.report_progress(0, 1, message)
            return _has_attributes(network, filled(judge), z, wanted)

        wanted = [(term.with_, term.without) for term in missing]
        return mean_codes(wanted, has_attributes, dim=network.latent_dim, averaged=averaged, seed=seed)

    return _kept((network, judge), (averaged, seed), task.params.attribute_terms, found)


def _directions(
    task: Task[Arithmetic], network: Network[LatentModel], judge: Network[Classifier] | None
) -> dict[int, Tensor]:
    """The directions of the terms that are one, by the index of the term."""

    def found(missing: Sequence[DirectionTerm]) -> Tensor:
        task.report_progress(0, 1, "fitting directions")
        z = torch.randn(FITTED, network.latent_dim, generator=seeded(0))
        has = _has_attributes(network, filled(judge), z, [([term.attribute], []) for term in missing]).numpy()
        for place, count in enumerate(has.sum(0)):
            if not FEWEST <= count <= FITTED - FEWEST:
                message = f"{count} of {FITTED:,} generated images have it; {FEWEST} must, and {FEWEST} must not"
                raise AttributesNotFoundError(message, place, int(count))
        return torch.from_numpy(np.stack([attribute_direction(z.numpy(), column, "linear") for column in has.T]))

    return _kept((network, judge), (FITTED,), task.params.direction_terms, found)


def _kept(
    networks: tuple[Network | None, ...],
    options: tuple[object, ...],
    terms: Mapping[int, T],
    find: Callable[[Sequence[T]], Tensor],
) -> dict[int, Tensor]:
    """The codes of terms by their index; `find` returns those (missing, latent_dim) that were not found before."""
    used: list[tuple[str, str]] = [(each.card.id, each.revision) for each in networks if each]
    keys = {k: (*used, *options, term.model_dump_json(exclude={"sign", "weight"})) for k, term in terms.items()}
    missing = [k for k, key in keys.items() if key not in _codes]
    if missing:
        with failures([f"terms.{k}" for k in missing]):
            found = find([terms[k] for k in missing])
        if len(_codes) > MOST_CODES:
            _codes.clear()
        _codes.update(zip((keys[k] for k in missing), found, strict=True))
    return {k: _codes[key] for k, key in keys.items()}


def _visible(term: Term, code: Tensor) -> Tensor:
    """The code with which a term is shown: means and directions are shorter than the codes of images."""
    match term:
        case AttributeTerm():
            return on_sphere(code)
        case DirectionTerm():
            return SHOWN_AT * code
    return code


def _term_title(number: int, term: Term) -> str:
    sign = term.sign if term.weight == 1 else f"{term.sign} {term.weight:g} x"
    match term:
        case AttributeTerm():
            return "\n".join([sign, *term.with_, *(f"not {name}" for name in term.without)])
        case DirectionTerm():
            return f"{sign}\ntowards\n{term.attribute}"
        case SeedTerm():
            return f"{sign}\nseed {term.seed}"
    return f"{sign}\nterm {number}"


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
