"""Two-dimensional maps of vectors by t-SNE and by UMAP."""

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from openTSNE import TSNE
from openTSNE.affinity import PerplexityBasedNN
from openTSNE.initialization import jitter, rescale
from openTSNE.nearest_neighbors import PrecomputedNeighbors

from models.seeds import folded
from models.space.clusters import Scores
from models.space.collection import MapName
from models.space.neighbors import neighbors_of
from models.space.pca import Array

OnStep = Callable[[], None]
DIMENSIONS = 50  # component scores that are used; later components separate mostly noise
FEWEST = 3  # members that a map needs
STEP = 10  # iterations between two calls of `on_step`
PERPLEXITY = 30
# Iterations of t-SNE with exaggerated attraction, and after these, and the momentum of the latter. openTSNE's 250 and
# 500 with 0.8 give about the same map (`python -m bench.spaces fit`): the first part has converged after 100, as with
# n / exaggeration as learning rate (Belkina et al. 2019), and momentum spares some of the second.
EXAGGERATED, PLAIN, MOMENTUM = 120, 380, 0.9
NEIGHBORS = 15  # of UMAP, with each member itself
SIDE = 10  # of UMAP's initial map
TITLES: dict[MapName, str] = {"tsne": "t-SNE", "umap": "UMAP"}


def map_of(name: MapName, scores: Scores, *, seed: int, on_step: OnStep = lambda: None) -> Array:
    """Maps component scores (n, k) to the plane (n, 2) by `tsne_map` or `umap_map`."""
    return {"tsne": tsne_map, "umap": umap_map}[name](scores, seed=seed, on_step=on_step)


def tsne_map(scores: Scores, *, seed: int, on_step: OnStep = lambda: None) -> Array:
    """Maps component scores (n, k) to the plane (n, 2) by t-SNE; n is at least `FEWEST`.

    van der Maaten and Hinton 2008, "Visualizing data using t-SNE", initialized with the first two components (Kobak and
    Linderman 2021). `on_step` is called while neighbors are searched and every `STEP` iterations, and may raise to
    stop.
    """

    def callback(iteration: int, error: float, embedding: NDArray[np.float64]) -> None:
        on_step()

    seed, threads = folded(seed), torch.get_num_threads()  # limited by OMP_NUM_THREADS
    distances, indices = neighbors_of(scores[:, :DIMENSIONS], 3 * PERPLEXITY, on_step)
    nearest, perplexity = PrecomputedNeighbors(indices, distances), min(PERPLEXITY, indices.shape[1] / 3)
    affinities = PerplexityBasedNN(perplexity=perplexity, knn_index=nearest, n_jobs=threads)
    tsne = TSNE(
        early_exaggeration_iter=EXAGGERATED,
        n_iter=PLAIN,
        final_momentum=MOMENTUM,
        n_jobs=threads,
        callbacks=callback,
        callbacks_every_iters=STEP,
        random_state=seed,
    )
    embedding: Any = tsne.fit(affinities=affinities, initialization=_start(scores, seed))
    return np.asarray(embedding, np.float32)


class _Ticks:
    """A file that calls `on_step` whenever a progress bar writes to it."""

    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step

    def write(self, text: str) -> None:
        self._on_step()

    def flush(self) -> None:
        pass


def umap_map(scores: Scores, *, seed: int, on_step: OnStep = lambda: None) -> Array:
    """Maps component scores (n, k) to the plane (n, 2) by UMAP; n is at least `FEWEST`.

    McInnes et al. 2018, "UMAP: uniform manifold approximation and projection", initialized with the first two
    components, like the t-SNE map. `on_step` is called before each part and about ten times a second
    during the layout, and may raise to stop. The first map of a process takes several seconds more: numba compiles it.
    """
    on_step()
    umap_class = _load_umap()
    on_step()
    seed, used = folded(seed), np.ascontiguousarray(scores[:, :DIMENSIONS], np.float32)
    distances, others = (np.insert(each, 0, 0, axis=1) for each in neighbors_of(used, NEIGHBORS - 1, on_step))
    others[:, 0] = np.arange(len(used))
    on_step()
    umap = umap_class(
        n_neighbors=others.shape[1],
        precomputed_knn=(others.astype(np.int32), distances),
        init=(SIDE / 1e-4 * _start(scores, seed)).astype(np.float32),
        n_jobs=1,  # threads would make it depend on their order
        random_state=seed,
        tqdm_kwds={"file": _Ticks(on_step), "disable": False},
    )
    threads = torch.get_num_threads()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no index for further members, and too few members for 15 neighbors
            return np.asarray(umap.fit_transform(used), np.float32)
    finally:
        torch.set_num_threads(threads)  # numba, when it starts, sets OpenMP's for the whole process


def _load_umap() -> Any:
    """Imports the class UMAP.

    pynndescent, which finds the neighbors of UMAP without `precomputed_knn`, stays uncompiled: its import would compile
    it, for 17 s of a processor in a new installation.
    """
    config: Any = import_module("numba").config
    disabled, config.DISABLE_JIT = config.DISABLE_JIT, True
    try:
        import_module("pynndescent")
    finally:
        config.DISABLE_JIT = disabled
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that TensorFlow, which nothing here uses, is not installed
        from umap import UMAP
    return UMAP


def _start(scores: Scores, seed: int) -> NDArray[np.float64]:
    """Initial map (n, 2): the first two components, scaled down, with jitter so that no two points coincide."""
    start = np.zeros((len(scores), 2))
    start[:, : scores.shape[1]] = scores[:, :2]
    moved: NDArray[np.float64] = jitter(rescale(start), random_state=seed)
    return moved
