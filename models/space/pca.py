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
NOT_FINITE = "some vectors have values that are no numbers, or infinite"
ALL_SAME = "all images are the same; components need at least 2 that differ"
MANY = 20_000  # vectors, and at least twice as many as values, whose products are summed in single precision
MANY_NOISE = 1e-6  # as NOISE, of these sums
ROWS = 4_096  # vectors per block of these sums


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
    wanted, noise = n_components or explained_variance, NOISE
    if len(vectors) >= max(MANY, 2 * vectors.shape[1]):
        mean, scale, covariance = _moments(vectors, standardize, on_step)
        variances, ratio, components = _largest(covariance, wanted)
        components, noise = components.T, MANY_NOISE
    else:
        scaler = _scaler(vectors, standardize, on_step)
        mean, scale = scaler.mean_, _scale(scaler)
        if n_components and _few(vectors, n_components):
            variances, ratio, components = _randomized(vectors, scaler, n_components, seed)
        else:
            variances, ratio, components = _exact(vectors, scaler, wanted, on_step)
    on_step()
    rank = int((variances > noise * variances[0]).sum())
    if n_components and n_components > rank:
        raise SpaceError(f"the images differ in {rank} components only; {n_components} were asked for")
    largest = np.take_along_axis(components, np.abs(components).argmax(1)[:, None], 1)
    fitted = mean, scale, components * np.sign(largest), variances, ratio
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
            raise SpaceError(NOT_FINITE)
        same = same and bool((block == vectors[0]).all())
        scaler.partial_fit(block)
    if same:
        raise SpaceError(ALL_SAME)
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
    values, ratio, components = _largest(moments, wanted)
    if wide:
        components = np.concatenate([scaled(block) @ components for block in _blocks(dim, n)])
        components /= np.linalg.norm(components, axis=0).clip(np.finfo(float).tiny)
    return values / (n - 1), ratio, components.T


def _largest(moments: Float64, wanted: float) -> tuple[Float64, Float64, Float64]:
    """The largest eigenvalues (k,), their shares of the sum (k,) and eigenvectors (m, k) of a matrix (m, m)."""
    values, eigenvectors = np.linalg.eigh(moments)
    values, eigenvectors = values[::-1].clip(0), eigenvectors[:, ::-1]
    ratio = values / values.sum()
    k = int(wanted) if wanted >= 1 else components_for(ratio, wanted) or len(ratio)
    return values[:k], ratio[:k], eigenvectors[:, :k]


def _moments(vectors: Vectors, standardize: bool, on_step: Callable[[], None]) -> tuple[Float64, Float64, Float64]:
    """Mean (dim,), scale (dim,) and covariance (dim, dim) of many vectors, in one pass; raises SpaceError.

    Products of the deviations from a rough mean are summed in float32 within a block and in float64 across blocks. The
    error of a variance is below sqrt(ROWS) * 2^-24 = 4e-6 of the largest.
    """
    n, dim = vectors.shape
    rough = np.asarray(vectors[:: max(1, n // 1_000)], np.float64).mean(0).astype(np.float32)
    sums, products = np.zeros(dim), np.zeros((dim, dim))
    for rows in gen_batches(n, ROWS):
        on_step()
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused below
            block = np.subtract(vectors[rows], rough, dtype=np.float32)
            sums += block.sum(0)
            products += block.T @ block
    if not np.isfinite(products.trace() + sums.sum()):
        raise SpaceError(NOT_FINITE)
    offset = sums / n
    mean = rough + offset
    covariance = (products - n * np.outer(offset, offset)) / (n - 1)
    deviations = np.sqrt(covariance.diagonal().clip(0) * (n - 1) / n)
    varies = deviations > np.finfo(np.float32).eps * np.abs(mean)
    if not varies.any():
        raise SpaceError(ALL_SAME)
    scale = np.where(varies & standardize, deviations, 1.0)
    return mean, scale, covariance / np.outer(scale, scale)
