"""Files of a collection for other tools: parquet tables and TensorBoard's projector."""

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray
from PIL import Image

from models.space.collection import FittedCollection

COLUMNS = 32  # components with a column of scores
PROJECTED = 64  # components in the projector's tensors
MAX_SPRITE = 8192  # pixels a side: the largest texture of most browsers
GROUP_VALUES = 2**24  # values of vectors in a row group, 64 MB
Float32 = NDArray[np.float32]


def write_parquet(collection: FittedCollection, outlier_scores: Float32, path: Path) -> None:
    """Writes a row for each member: id, name, labels, scores, clusters, maps, attributes, outlier score and vector."""
    vectors = collection.members.vectors
    columns = _columns(collection, outlier_scores) | {"vector": _lists(vectors)}
    rows = max(1, GROUP_VALUES // vectors.shape[1])
    pa.parquet.write_table(pa.table(columns), path, row_group_size=rows, use_dictionary=["labels"])


def write_atlas(collection: FittedCollection, outlier_scores: Float32, thumbnails: Sequence[bytes], path: Path) -> None:
    """Writes the table of `write_parquet` with thumbnails instead of vectors; b"" for a member without one.

    embedding-atlas shows it: `embedding-atlas FILE --x tsne_x --y tsne_y --image thumbnail`.
    """
    images = [{"bytes": data, "path": None} if data else None for data in thumbnails]
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = _columns(collection, outlier_scores) | {"thumbnail": pa.array(images, image)}
    pa.parquet.write_table(pa.table(columns), path, use_dictionary=["labels"])


def _columns(collection: FittedCollection, outlier_scores: Float32) -> dict[str, Any]:
    members, scores = collection.members, collection.scores
    columns: dict[str, Any] = {"id": np.arange(len(members)), "name": members.names.astype(object)}
    columns["labels"] = pa.array([_labels(members.attribute_names, row) for row in members.attributes], _STRINGS)
    if members.classes is not None and members.class_probabilities is not None:
        names = np.array(members.class_names, object)
        for k, (indices, values) in enumerate(zip(members.classes.T, members.class_probabilities.T, strict=True)):
            columns |= {f"class_{k}": names[indices], f"class_{k}_probability": np.ascontiguousarray(values)}
    columns |= {f"pc_{k}": np.ascontiguousarray(scores[:, k]) for k in range(min(COLUMNS, scores.shape[1]))}
    columns |= {method: each.labels_.astype(np.int32) for method, each in collection.clusterings.items()}
    for map_name, points in collection.maps.items():
        columns |= {f"{map_name}_{axis}": np.ascontiguousarray(points[:, k]) for k, axis in enumerate("xy")}
    for name, column in zip(members.attribute_names, members.attributes.T, strict=True):
        columns[f"has_{name}"] = pa.array(column == 1, mask=column < 0)
    return columns | {"outlier_score": outlier_scores}


_STRINGS = pa.list_(pa.string())


def _labels(names: Sequence[str], row: NDArray[np.int8]) -> list[str]:
    return [names[k] for k in np.flatnonzero(row == 1).tolist()]


def _lists(vectors: Float32) -> pa.FixedSizeListArray:
    """Vectors (n, dim) as a column, without a copy."""
    values = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(values, vectors.shape[1])


# --- projector -------------------------------------------------------------------------------------------------------


def write_projector(collection: FittedCollection, path: Path) -> None:
    """Writes a zip file whose folder `tensorboard --logdir` opens: scores, metadata and a sprite of thumbnails.

    The tensors are the scores of the first `PROJECTED` components.
    """
    scores = collection.scores[:, :PROJECTED]
    sprite, side = _sprite(collection.members.thumbnails)
    size = f"single_image_dim: {side} single_image_dim: {side}"
    config = (
        'embeddings {\n  tensor_name: "members"\n  tensor_path: "tensors.tsv"\n  metadata_path: "metadata.tsv"\n'
        f'  sprite {{ image_path: "sprite.png" {size} }}\n}}\n'
    )
    with ZipFile(path, "w", ZIP_DEFLATED) as file:
        file.writestr("projector_config.pbtxt", config)
        file.writestr("tensors.tsv", _tsv({str(k): scores[:, k] for k in range(scores.shape[1])}, header=False))
        file.writestr("metadata.tsv", _tsv(_metadata(collection), header=True))
        file.writestr("sprite.png", sprite, ZIP_STORED)


def _metadata(collection: FittedCollection) -> dict[str, Any]:
    members = collection.members
    labels = (", ".join(_labels(members.attribute_names, row)) for row in members.attributes)
    columns = {"name": members.names.tolist(), "labels": labels}
    texts = {name: [" ".join(str(value).split()) for value in values] for name, values in columns.items()}
    return texts | {method: each.labels_ for method, each in collection.clusterings.items()}


def _tsv(columns: dict[str, Any], *, header: bool) -> bytes:
    """A table of tab-separated values; the projector reads no quotes."""
    file = BytesIO()
    table = pa.table({name: pa.array(np.ascontiguousarray(values)) for name, values in columns.items()})
    options = pa.csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    pa.csv.write_csv(table, file, options)
    return ("\t".join(columns) + "\n").encode() * header + file.getvalue()


def _sprite(thumbnails: NDArray[np.uint8]) -> tuple[bytes, int]:
    """A PNG of thumbnails (n, t, t, 3) in a square, row by row, and the side of each in it."""
    across = math.ceil(len(thumbnails) ** 0.5)
    side = max(1, min(thumbnails.shape[1], MAX_SPRITE // across))
    canvas = Image.new("RGB", (across * side, across * side), "white")
    for k, pixels in enumerate(thumbnails):
        canvas.paste(Image.fromarray(pixels).resize((side, side)), (k % across * side, k // across * side))
    file = BytesIO()
    canvas.save(file, "PNG", compress_level=1)
    return file.getvalue(), side
