"""Side files of a version: what is read of a collection without loading its vectors."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jobs.members import COMPONENTS, EXPORTS, IMAGES, INDEX, MAX_SCORES, TABLE, THUMBNAIL, MembersTable
from jobs.store.registry import Version
from models.space.collection import FittedCollection
from models.space.duplicates import near_pairs
from models.space.export import write_atlas, write_parquet, write_projector
from models.space.neighbors import neighbors_of, outlier_scores
from models.space.sampling import spread
from models.space.search import EXACT, write_lists
from worker.files import Files
from worker.run import Pixels

REACH = 0.5  # the largest distance of a near-duplicate, in units of the typical distance of two members
MAX_PAIRS = 10_000
LOSSLESS = 64  # pixels a side up to which images are stored as PNG; larger ones as JPEG
JPEG: dict[str, Any] = {"format": "JPEG", "quality": 92, "subsampling": 0}


@dataclass(frozen=True)
class _Images:
    """The stored thumbnails and images of members, see `MembersTable`."""

    entries: tuple[dict[str, Any], ...]
    ends: NDArray[np.int64]
    checksums: NDArray[np.uint32]

    @classmethod
    def none(cls) -> Self:
        """Those of no members."""
        return cls((), np.zeros((0, 2), np.int64), np.zeros((0, 2), np.uint32))

    @property
    def have_thumbnails(self) -> list[bool]:
        """Whether each member has a thumbnail."""
        sizes: list[int] = np.diff(self.ends.reshape(-1), prepend=0)[THUMBNAIL::2].tolist()
        return [size > 0 for size in sizes]


def encoded_images(squares: Pixels) -> list[bytes]:
    """Encodes images (n, h, w, 3) as they are stored for each member."""
    options = {"format": "PNG", "compress_level": 1} if squares.shape[1] <= LOSSLESS else JPEG
    return [_encoded(square, options) for square in squares]


def store_side_files(
    files: Files, collection: FittedCollection, images: Sequence[bytes], before: Version | None
) -> list[dict[str, Any]]:
    """Stores the side files of a version and returns their entries; raises AtelierError.

    images: those of the members that are new in this version, the last ones; b"" for a member without an image. before:
    the version that it continues.
    """
    previous = (_images_of(files, before) if before else None) or _Images.none()
    earlier = len(collection.members) - len(previous.ends) - len(images)  # of an earlier release, without files
    has_thumbnail = [*previous.have_thumbnails, *[True] * earlier, *map(bool, images)]
    of_all = zip(collection.members.thumbnails, has_thumbnail, strict=True)
    thumbnails = [_encoded(pixels, JPEG) if has else b"" for pixels, has in of_all]
    stored = _stored_images(files, previous, thumbnails[len(previous.ends) :], [b""] * earlier + [*images])
    pca = collection.pca
    components = np.concatenate([pca.mean_[None], pca.scale_[None], pca.components_]).astype("<f4")
    table = _table(collection, stored, [zlib.crc32(row.tobytes()) for row in components])
    writers: dict[str, Callable[[Path], None]] = {
        TABLE: table.save,
        COMPONENTS: lambda path: components.tofile(path),
        EXPORTS["parquet"]: partial(write_parquet, collection, table.outlier_scores),
        EXPORTS["atlas"]: partial(write_atlas, collection, table.outlier_scores, thumbnails),
        EXPORTS["projector"]: partial(write_projector, collection),
    }
    if len(collection.members) > EXACT:
        writers[INDEX] = partial(write_lists, collection.scores)
    return [*stored.entries, *(_written(files, name, write) for name, write in writers.items())]


def _stored_images(files: Files, previous: _Images, thumbnails: Sequence[bytes], images: Sequence[bytes]) -> _Images:
    """Stores the thumbnails and images of members that the version before has no files of."""
    parts = [part for pair in zip(thumbnails, images, strict=True) for part in pair]
    start = previous.ends[-1, 1] if len(previous.ends) else 0
    ends = start + np.cumsum([len(part) for part in parts], dtype=np.int64).reshape(-1, 2)
    checksums = np.array([zlib.crc32(part) for part in parts], np.uint32).reshape(-1, 2)

    def write(path: Path) -> None:
        with path.open("wb") as file:
            file.writelines(parts)

    entry = _written(files, IMAGES, write)
    return _Images(
        (*previous.entries, entry),
        np.concatenate([previous.ends, ends]),
        np.concatenate([previous.checksums, checksums]),
    )


def _images_of(files: Files, version: Version) -> _Images | None:
    """The stored images of a version; None for one of an earlier release."""
    tables = [each for each in version.side_files if each["name"] == TABLE]
    if not tables:
        return None
    with TemporaryDirectory(prefix="atelier-side-files-") as folder:
        path = Path(folder) / "members.npz"
        files.fetch(tables[0]["sha256"], path)
        table = MembersTable.load(path.read_bytes())
    entries = tuple(each for each in version.side_files if each["name"] == IMAGES)
    return _Images(entries, table.ends, table.checksums)


def _table(collection: FittedCollection, images: _Images, component_checksums: Sequence[int]) -> MembersTable:
    members, scores = collection.members, collection.scores
    neighbors = neighbors_of(scores)
    unit = spread(scores)
    pairs = near_pairs(scores, neighbors, REACH * unit, MAX_PAIRS)
    names = [str(name).encode() for name in members.names]
    maps = collection.maps
    n = len(members)
    none = np.zeros((n, 0), np.float32)
    return MembersTable(
        names=np.frombuffer(b"".join(names), np.uint8),
        name_ends=np.cumsum([len(name) for name in names], dtype=np.int64),
        scores=np.ascontiguousarray(scores[:, :MAX_SCORES]),
        clusters=_columns([each.labels_ for each in collection.clusterings.values()], n).astype(np.int32),
        maps=np.stack([*maps.values(), np.zeros((n, 2))], axis=1)[:, :-1].astype(np.float32),
        attributes=members.attributes,
        outlier_scores=outlier_scores(neighbors),
        pairs=pairs.indices.astype(np.int32),
        pair_distances=pairs.distances / np.float32(unit),
        deviations=np.sqrt(collection.pca.explained_variance_),
        component_checksums=np.array(component_checksums, np.uint32),
        ends=images.ends,
        checksums=images.checksums,
        segments=np.array([each["size_bytes"] for each in images.entries], np.int64),
        classes=none.astype(np.int16) if members.classes is None else members.classes,
        class_probabilities=none if members.class_probabilities is None else members.class_probabilities,
        methods=tuple(collection.clusterings),
        map_names=tuple(maps),
        attribute_names=members.attribute_names,
        class_names=members.class_names,
    )


def _columns(columns: Sequence[NDArray[Any]], n: int) -> NDArray[Any]:
    return np.stack(columns, axis=1) if columns else np.zeros((n, 0))


def _encoded(pixels: Pixels, options: dict[str, Any]) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, **options)
    return file.getvalue()


def _written(files: Files, name: str, write: Callable[[Path], None]) -> dict[str, Any]:
    """Stores a file that `write` writes; returns its entry."""
    with TemporaryDirectory(prefix="atelier-side-files-") as folder:
        path = Path(folder) / "file"
        write(path)
        return {"name": name, "sha256": files.store(path), "size_bytes": path.stat().st_size}
