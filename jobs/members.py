"""The table of a version's members, which is read without the vectors: names, scores, clusters, maps and attributes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

TABLE, IMAGES = "members", "images"  # names of side files
INDEX = "index.faiss"  # of the nearest members, of large collections only; searches read it
COMPONENTS = "components"  # float32, little-endian: the mean, the scale and each component, (2 + k, dim)
EXPORTS = {"parquet": "members.parquet", "atlas": "atlas.parquet", "projector": "projector.zip"}  # by format
MAX_SCORES = 32  # components of which the table has the scores
THUMBNAIL, IMAGE = 0, 1  # the files of a member in the objects of images
_FACTS = ("methods", "map_names", "attribute_names", "class_names")  # fields that are not arrays


@dataclass(frozen=True)
class MembersTable:
    """What the API reads of n members; no vectors.

    names: UTF-8 of all names, and the end of each, (n,). scores: (n, up to MAX_SCORES). clusters: (n, methods), -1 for
    noise. maps: (n, maps, 2). attributes: int8 (n, attributes), 1, 0, or -1 for unknown. outlier_scores: (n,) from 0
    to 1. pairs, pair_distances: near-duplicates (p, 2) and their distances, nearest first. deviations: standard
    deviations of the components, (k,). component_checksums: CRC-32 of the rows of `COMPONENTS`. ends, checksums: where
    the thumbnail and the image of each member end in the objects of images, counted over all of these, and their
    CRC-32, (n, 2); a file without bytes is missing. segments: sizes of these objects, in bytes. classes,
    class_probabilities: the likeliest classes of each member, the likeliest first, (n, c), as indices in class_names; c
    is 0 in spaces without classes.
    """

    names: NDArray[np.uint8]
    name_ends: NDArray[np.int64]
    scores: NDArray[np.float32]
    clusters: NDArray[np.int32]
    maps: NDArray[np.float32]
    attributes: NDArray[np.int8]
    outlier_scores: NDArray[np.float32]
    pairs: NDArray[np.int32]
    pair_distances: NDArray[np.float32]
    deviations: NDArray[np.float32]
    component_checksums: NDArray[np.uint32]
    ends: NDArray[np.int64]
    checksums: NDArray[np.uint32]
    segments: NDArray[np.int64]
    classes: NDArray[np.int16]
    class_probabilities: NDArray[np.float32]
    methods: tuple[str, ...]
    map_names: tuple[str, ...]
    attribute_names: tuple[str, ...]
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.name_ends)

    @property
    def n_bytes(self) -> int:
        """Bytes of the arrays, with those of the order by outlier score."""
        return sum(array.nbytes for array in self._arrays().values()) + 8 * len(self)

    @cached_property
    def by_outlier_score(self) -> NDArray[np.int64]:
        """The rows, the most isolated first."""
        return np.argsort(-self.outlier_scores, kind="stable")

    def name(self, row: int) -> str:
        """The name of a member."""
        start = self.name_ends[row - 1] if row else 0
        return bytes(self.names[start : self.name_ends[row]]).decode()

    def has_file(self, row: int, file: int) -> bool:
        """Whether a member has a thumbnail or an image."""
        start, end = self._span(row, file)
        return end > start

    def place(self, row: int, file: int) -> tuple[int, int, int, int]:
        """The number of the object, the start and end in it, and the CRC-32 of a member's file."""
        start, end = self._span(row, file)
        segment_ends = np.cumsum(self.segments)
        segment = int(np.searchsorted(segment_ends, start, side="right"))
        before = int(segment_ends[segment] - self.segments[segment])
        return segment, start - before, end - before, int(self.checksums[row, file])

    def _span(self, row: int, file: int) -> tuple[int, int]:
        ends, index = self.ends.reshape(-1), 2 * row + file
        return int(ends[index - 1]) if index else 0, int(ends[index])

    def rows(
        self,
        *,
        method: str | None = None,
        cluster: int | None = None,
        having: Sequence[str] = (),
        lacking: Sequence[str] = (),
        likeliest: str | None = None,
    ) -> NDArray[np.bool_]:
        """Which members match all filters, (n,).

        They are in the cluster of a method, have all of some attributes, lack all of others and have a likeliest class.
        """
        chosen = np.ones(len(self), np.bool_)
        if method is not None and cluster is not None:
            chosen &= self.clusters[:, self.methods.index(method)] == cluster
        for names, value in ((having, 1), (lacking, 0)):
            for name in names:
                chosen &= self.attributes[:, self.attribute_names.index(name)] == value
        if likeliest is not None:
            chosen &= self.classes[:, 0] == self.class_names.index(likeliest)
        return chosen

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name not in _FACTS}

    def save(self, path: Path) -> None:
        """Writes an npz file of plain arrays."""
        facts = {name: getattr(self, name) for name in _FACTS}
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, facts=np.array(json.dumps(facts)), **self._arrays())

    @classmethod
    def load(cls, data: bytes) -> Self:
        """Reads the file of `save`; no code in it is run."""
        with np.load(BytesIO(data), allow_pickle=False) as file:
            facts: Any = {name: tuple(value) for name, value in json.loads(str(file["facts"])).items()}
            arrays: Any = {name: file[name] for name in file if name != "facts"}
        if "classes" not in arrays:  # of an earlier release
            none = np.zeros((len(arrays["name_ends"]), 0))
            arrays |= {"classes": none.astype(np.int16), "class_probabilities": none.astype(np.float32)}
            facts["class_names"] = ()
        return cls(**arrays, **facts)
