"""Search for the members of a collection that are nearest to a point of its component scores."""

from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from models.space.clusters import Labels
from models.space.pca import Array

EXACT = 100_000  # members up to which all are compared
LISTS_PER_ROOT, PROBES = 4, 128  # above: 4 sqrt(n) lists, of which the nearest are searched
TRAINED_PER_LIST = 40  # members that the centers of the lists are fitted to
SEED = 0


class Matches(NamedTuple):
    """Members, nearest first: indices and Euclidean distances, both (n,)."""

    indices: Labels
    distances: Array

    def without(self, row: int | None, n: int) -> "Matches":
        """The first `n` matches other than a row."""
        others = np.flatnonzero(self.indices != (-1 if row is None else row))[:n]
        return Matches(self.indices[others], self.distances[others])


@dataclass
class MemberIndex:
    """Finds the nearest of members with scores (m, k); exact up to `EXACT` members.

    Above, an inverted file (Sivic and Zisserman 2003, "Video Google") compares the members in the lists whose k-means
    centers are nearest to the point. file: where `write_lists` wrote it; without one it is made anew.
    """

    scores: Array
    file: InitVar[Path | None] = None
    _squares: Array = field(init=False)
    _lists: Any = field(init=False, default=None)

    def __post_init__(self, file: Path | None) -> None:
        self._squares = np.einsum("nk,nk->n", self.scores, self.scores)
        if len(self.scores) > EXACT:
            self._lists = faiss.read_index(str(file)) if file else inverted_file(self.scores, LISTS_PER_ROOT)

    @property
    def n_bytes(self) -> int:
        """Bytes of the index, without the scores."""
        return self._squares.nbytes + (self.scores.nbytes if self._lists is not None else 0)

    def search(self, point: Array, n: int, rows: Labels | None = None) -> Matches:
        """The `n` members nearest to a point (k,), of all or of some rows; fewer if there are fewer."""
        n_candidates = len(self.scores) if rows is None else len(rows)
        n = min(n, n_candidates)
        near = self._compared(point, n, rows) if n_candidates <= EXACT else self._listed(point, n, rows)
        distances = np.linalg.norm(self.scores[near].astype(np.float64) - point, axis=1)  # free of cancellation
        order = np.argsort(distances, kind="stable")
        return Matches(near[order], distances[order].astype(np.float32))

    def _compared(self, point: Array, n: int, rows: Labels | None) -> Labels:
        chosen: Any = slice(None) if rows is None else rows
        squared = self._squares[chosen] - 2 * (self.scores[chosen] @ point.astype(np.float32))
        near = np.argpartition(squared, n - 1)[:n] if n < len(squared) else np.arange(n)
        return near if rows is None else rows[near]

    def _listed(self, point: Array, n: int, rows: Labels | None) -> Labels:
        options: Any = faiss.SearchParametersIVF()
        options.nprobe = PROBES
        if rows is not None:
            options.sel = faiss.IDSelectorBatch(rows)
        near: Labels = self._lists.search(point[None].astype(np.float32), n, params=options)[1][0]
        return near[near >= 0]


def write_lists(scores: Array, path: Path) -> None:
    """Writes the inverted file of scores (m, k) in faiss's own format, in which no code is stored."""
    faiss.write_index(inverted_file(scores, LISTS_PER_ROOT), str(path))


def inverted_file(scores: Array, lists_per_root: int) -> Any:
    """An inverted file of scores (m, k), with so many times sqrt(m) lists; the same scores give the same lists."""
    scores = np.ascontiguousarray(scores, np.float32)
    n_lists = int(lists_per_root * len(scores) ** 0.5)
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(scores.shape[1]), scores.shape[1], n_lists)
    index.cp.seed, index.cp.max_points_per_centroid = SEED, TRAINED_PER_LIST
    index.train(scores)
    index.add(scores)
    return index


def cosines(vectors: Array, vector: Array) -> NDArray[np.float64]:
    """The cosine of the angle between each of vectors (n, dim) and a vector (dim,), (n,); 0 for a vector of zeros."""
    lengths = np.linalg.norm(vectors, axis=1).astype(np.float64) * np.linalg.norm(vector)
    products: NDArray[np.float64] = vectors.astype(np.float64) @ vector.astype(np.float64)
    return np.asarray(products / lengths.clip(np.finfo(float).tiny))
