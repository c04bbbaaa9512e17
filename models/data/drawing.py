"""Shared parts of the drawn data sets: shapes, and drawing in parallel processes."""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.data.dataset import Dataset

Rgb = tuple[int, int, int]
Points = NDArray[np.float64]  # (n, 2)


class Captioned(Protocol):
    """Facts of a drawn image with a caption."""

    @property
    def caption(self) -> str:
        """Caption in lower case, without a full stop."""


Known = TypeVar("Known", bound=Captioned)


def drawn_set(
    draw: Callable[[int, int], tuple[NDArray[np.uint8], Known]],
    attributes_of: Callable[[Known], NDArray[np.bool_]],
    attribute_names: Sequence[str],
    *,
    n: int,
    seed: int,
    start: int,
    processes: int | None,
) -> tuple[Dataset, list[Known]]:
    """Draws images `start` to `start + n` of a seed, with attributes and captions; also returns the facts of each.

    `draw` takes the seed and an index, and must be a top-level function of a module, since other processes call it.
    """
    indices = range(start, start + n)
    if multiprocessing.current_process().daemon:  # a child process of a worker may not have children
        drawn = [draw(seed, index) for index in indices]
    else:
        with ProcessPoolExecutor(processes) as pool:
            drawn = list(pool.map(draw, repeat(seed), indices, chunksize=64))
    known = [facts for _, facts in drawn]
    dataset = Dataset(
        images=np.stack([image for image, _ in drawn]),
        attributes=np.stack([attributes_of(facts) for facts in known]),
        attribute_names=tuple(attribute_names),
        captions=tuple(facts.caption for facts in known),
    )
    return dataset, known


def oval(
    x: float, y: float, rx: float, ry: float, *, power: float = 2.0, start: float = 0, end: float = 2 * np.pi
) -> Points:
    """Points on the superellipse |dx/rx|^power + |dy/ry|^power = 1, or part of it, clockwise from the right."""
    t = np.linspace(start, end, 48)
    c, s = np.cos(t), np.sin(t)
    return np.stack([x + rx * np.sign(c) * np.abs(c) ** (2 / power), y + ry * np.sign(s) * np.abs(s) ** (2 / power)], 1)
