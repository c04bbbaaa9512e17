"""Principal component analysis of vectors."""

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
BLOCK = 2**22  # float64 values per block, 32 MB
RANDOMIZED = 2_000  # smaller side of the matrix from which a randomized decomposition is faster for few components
IN_MEMORY = 2**30  # the most bytes of vectors that may be copied as float32
NOISE = 1e-10  # relative to the first component's variance; a smaller variance is rounding error


@dataclass(frozen=True)
class Pca:
    """Fitted principal components, with scikit-learn's names: (vector - mean_) / scale_ ≈ components_.T @ scores.

    mean_, scale_: (dim,). components_: (k, dim). explained_variance_, explained_variance_ratio_: (k,).
    """

    mean_: Array
    scale_: Array
    components_: Array
    explained_variance_: Array
    explained_variance_ratio_: Array

    def transform(self, vectors: Vectors) -> Array:
        """Projects vectors (n, dim) to scores (n, k)."""
        parts = [((vectors[rows] - self.mean_) / self.scale_) @ self.components_.T for rows in _blocks(*vectors.shape)]
        return np.concatenate(parts).astype(np.float32)

    def inverse_transform(self, scores: Vectors) -> Array:
        """Reconstructs vectors (n, dim) from scores (n, k)."""
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
    """Fits the principal components of vectors (n, dim).

    n_components: how many; by default as many as explain the share `explained_variance` of the variance. standardize:
    whether each value is first scaled to variance 1. `on_step` is called for every block of vectors and may raise to
    stop. Raises SpaceError.
    """
    _check_size(vectors.shape, n_components)
    scaler = _scaler(vectors, standardize, on_step)
    if n_components and _few(vectors, n_components):
        variances, ratio, components = _randomized(vectors, scaler, n_components, seed)
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
    """Number of components whose explained variance ratios (k,) sum to `share`; None if all together do not."""
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
    """Slices of range(n) with about `BLOCK` values each, at `width` values per row."""
    blocks: Iterator[slice] = gen_batches(n, max(1, BLOCK // width))
    return blocks


def _scaler(vectors: Vectors, standardize: bool, on_step: Callable[[], None]) -> StandardScaler:
    """Fits the mean and standard deviation of each value, block by block; raises SpaceError."""
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
    """Returns whether a randomized decomposition is faster and its copy of the vectors fits into memory."""
    smaller = min(vectors.shape)
    return smaller >= RANDOMIZED and 10 * n_components <= smaller and vectors.nbytes <= IN_MEMORY


def _randomized(
    vectors: Vectors, scaler: StandardScaler, n_components: int, seed: int
) -> tuple[Float64, Float64, Float64]:
    """Variances, variance ratios and components, by Halko et al. 2011, "Finding structure with randomness"."""
    scaled = np.subtract(vectors, scaler.mean_, dtype=np.float32)
    scaled /= _scale(scaler).astype(np.float32)
    pca = PCA(n_components, svd_solver="randomized", random_state=seed, copy=False).fit(scaled)
    return pca.explained_variance_, pca.explained_variance_ratio_, pca.components_


def _exact(
    vectors: Vectors, scaler: StandardScaler, wanted: float, on_step: Callable[[], None]
) -> tuple[Float64, Float64, Float64]:
    """Variances, variance ratios and components; `wanted` is their number, or a share of the variance below 1.

    Uses the eigenvectors of the covariance (dim, dim), or of the Gram matrix (n, n) for fewer vectors than values,
    summed in float64 block by block. This is as exact as a singular value decomposition of float32 vectors, several
    times faster, and needs bounded memory (scikit-learn's IncrementalPCA takes nine times as long and is approximate).
    """
    n, dim = vectors.shape
    wide = dim > n

    def scaled(block: slice) -> Float64:  # some columns of wide vectors, some rows of others
        on_step()
        columns = block if wide else slice(None)
        rows = slice(None) if wide else block
        values: Float64 = (vectors[rows, columns] - scaler.mean_[columns]) / _scale(scaler)[columns]
        return values.T if wide else values

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
