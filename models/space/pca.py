"""Principal components of vectors of any space."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from sklearn.utils import gen_batches

from models.errors import SpaceError

Array = NDArray[np.float32]
Vectors = NDArray[np.floating]  # (n, dim), which may be a memory map
Float64 = NDArray[np.float64]
BLOCK = 2**22  # values in float64 at a time, 32 MB
RANDOMISED = 2_000  # smaller side from which a few components are found faster by a randomised decomposition
IN_MEMORY = 2**30  # bytes of vectors of which a float32 copy may be made
NOISE = 1e-10  # of the first component's variance; less is rounding


@dataclass(frozen=True)
class Pca:
    """Principal components, with scikit-learn's names: (vector - mean_) / scale_ is about components_.T @ scores.

    mean_ and scale_ (dim,), components_ (k, dim), explained_variance_ and explained_variance_ratio_ (k,).
    """

    mean_: Array
    scale_: Array
    components_: Array
    explained_variance_: Array
    explained_variance_ratio_: Array

    def transform(self, vectors: Vectors) -> Array:
        """Vectors (n, dim) to scores (n, k)."""
        parts = [((vectors[rows] - self.mean_) / self.scale_) @ self.components_.T for rows in _blocks(*vectors.shape)]
        return np.concatenate(parts).astype(np.float32)

    def inverse_transform(self, scores: Vectors) -> Array:
        """Scores (n, k) to the vectors (n, dim) they stand for."""
        return (scores @ self.components_ * self.scale_ + self.mean_).astype(np.float32)


def fit_pca(
    vectors: Vectors,
    *,
    n_components: int | None = None,
    explained_variance: float = 0.99,
    standardize: bool = True,
    seed: int,
    on_step: Callable[[], None] = lambda: None,
) -> Pca:
    """The principal components of vectors (n, dim): `n_components`, or as many as explain that share of the variance.

    `standardize` brings each value to variance 1 first. `on_step` is called for every block of vectors and may raise to
    stop. Raises SpaceError.
    """
    _check_size(vectors.shape, n_components)
    scaler = _scaler(vectors, standardize, on_step)
    if n_components and _few(vectors, n_components):
        variances, ratio, components = _randomised(vectors, scaler, n_components, seed)
    else:
        variances, ratio, components = _exact(vectors, scaler, n_components or explained_variance, on_step)
    on_step()
    rank = int((variances > NOISE * variances[0]).sum())
    if n_components and n_components > rank:
        raise SpaceError(f"the images differ in {rank} components only; {n_components} were asked for")
    largest = np.take_along_axis(components, np.abs(components).argmax(1)[:, None], 1)
    fitted = scaler.mean_, _scale(scaler), components * np.sign(largest), variances, ratio
    return Pca(*(part.astype(np.float32) for part in fitted))


def components_for(ratio: Vectors, share: float) -> int | None:
    """How many components with these shares of the variance (k,) reach `share`; None if all together do not."""
    reached = np.flatnonzero(np.cumsum(ratio, dtype=np.float64) >= share)
    return int(reached[0]) + 1 if len(reached) else None


def _check_size(shape: tuple[int, ...], n_components: int | None) -> None:
    n, dim = shape
    if n < 2:
        raise SpaceError(f"components need at least 2 images; there are {n}")
    if n_components and n_components > n - 1:
        raise SpaceError(f"{n_components} components need at least {n_components + 1} images; there are {n}")
    if n_components and n_components > dim:
        raise SpaceError(f"{n_components} components need as many values in a vector; there are {dim}")


def _blocks(n: int, width: int) -> Iterator[slice]:
    """Slices of range(n), each of about `BLOCK` values when `width` go with each place."""
    blocks: Iterator[slice] = gen_batches(n, max(1, BLOCK // width))
    return blocks


def _scaler(vectors: Vectors, standardize: bool, on_step: Callable[[], None]) -> StandardScaler:
    """Mean and standard deviation of each value, found block by block."""
    scaler, same = StandardScaler(with_std=standardize), True
    for rows in _blocks(*vectors.shape):
        on_step()
        block = np.asarray(vectors[rows], np.float64)
        if not np.isfinite(block).all():
            raise SpaceError("some vectors have values that are no numbers, or infinite")
        same = same and bool((block == vectors[0]).all())
        scaler.partial_fit(block)
    if same:
        raise SpaceError("all images are the same; components need at least 2 that differ")
    return scaler


def _scale(scaler: StandardScaler) -> Float64:
    return np.ones_like(scaler.mean_) if scaler.scale_ is None else scaler.scale_


def _few(vectors: Vectors, n_components: int) -> bool:
    """Whether the randomised decomposition pays, and has the memory for its copy."""
    smaller = min(vectors.shape)
    return smaller >= RANDOMISED and 10 * n_components <= smaller and vectors.nbytes <= IN_MEMORY


def _randomised(
    vectors: Vectors, scaler: StandardScaler, n_components: int, seed: int
) -> tuple[Float64, Float64, Float64]:
    """Variances, their shares and the components, by Halko et al. 2011, "Finding structure with randomness"."""
    scaled = np.subtract(vectors, scaler.mean_, dtype=np.float32)
    scaled /= _scale(scaler).astype(np.float32)
    pca = PCA(n_components, svd_solver="randomized", random_state=seed, copy=False).fit(scaled)
    return pca.explained_variance_, pca.explained_variance_ratio_, pca.components_


def _exact(
    vectors: Vectors, scaler: StandardScaler, wanted: float, on_step: Callable[[], None]
) -> tuple[Float64, Float64, Float64]:
    """Variances, their shares and the components, of a number `wanted` or a share of the variance below 1.

    From the eigenvectors of the covariance (dim, dim), or where there are fewer vectors than values of the Gram matrix
    (n, n), summed in float64 block by block: as exact as a singular value decomposition of float32 vectors, several
    times as fast, and in bounded memory (scikit-learn's IncrementalPCA takes nine times as long and is approximate).
    """
    n, dim = vectors.shape
    wide = dim > n

    def scaled(block: slice) -> Float64:  # some columns of wide vectors, some rows of others
        on_step()
        columns = block if wide else slice(None)
        rows = slice(None) if wide else block
        found: Float64 = (vectors[rows, columns] - scaler.mean_[columns]) / _scale(scaler)[columns]
        return found.T if wide else found

    moments = np.zeros((min(n, dim), min(n, dim)))
    for block in _blocks(max(n, dim), min(n, dim)):
        part = scaled(block)
        moments += part.T @ part
    values, eigenvectors = np.linalg.eigh(moments)
    values, eigenvectors = values[::-1].clip(0), eigenvectors[:, ::-1]
    ratio = values / values.sum()
    k = int(wanted) if wanted >= 1 else components_for(ratio, wanted) or len(ratio)
    components = eigenvectors[:, :k]
    if wide:
        components = np.concatenate([scaled(block) @ components for block in _blocks(dim, n)])
        components /= np.linalg.norm(components, axis=0).clip(np.finfo(float).tiny)
    return values[:k] / (n - 1), ratio[:k], components.T
