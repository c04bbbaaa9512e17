"""Two-dimensional maps of vectors by t-SNE."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from openTSNE import TSNE
from openTSNE.initialization import jitter, rescale

from models.seeds import folded
from models.space.clusters import Scores
from models.space.pca import Array

DIMENSIONS = 50  # component scores that are used; later components separate mostly noise
EXACT = 100_000  # members up to which exact neighbors are no slower than approximate ones
FEWEST = 3  # members that a map needs
STEP = 10  # iterations between two calls of `on_step`


def tsne_map(scores: Scores, *, seed: int, on_step: Callable[[], None] = lambda: None) -> Array:
    """Maps component scores (n, k) to the plane (n, 2) by t-SNE; n is at least `FEWEST`.

    van der Maaten and Hinton 2008, "Visualizing data using t-SNE", initialized with the first two components (Kobak and
    Linderman 2021). `on_step` is called every `STEP` iterations and may raise to stop.
    """

    def callback(iteration: int, error: float, embedding: NDArray[np.float64]) -> None:
        on_step()

    n, seed = len(scores), folded(seed)
    tsne = TSNE(
        perplexity=min(30, (n - 1) / 3),
        neighbors="exact" if n <= EXACT else "annoy",
        n_jobs=torch.get_num_threads(),  # limited by OMP_NUM_THREADS
        callbacks=callback,
        callbacks_every_iters=STEP,
        random_state=seed,
    )
    embedding: Any = tsne.fit(scores[:, :DIMENSIONS], initialization=_start(scores, seed))
    return np.asarray(embedding, np.float32)


def _start(scores: Scores, seed: int) -> NDArray[np.float64]:
    """Initial map (n, 2): the first two components, scaled down, with jitter so that no two points coincide."""
    start = np.zeros((len(scores), 2))
    start[:, : scores.shape[1]] = scores[:, :2]
    moved: NDArray[np.float64] = jitter(rescale(start), random_state=seed)
    return moved
