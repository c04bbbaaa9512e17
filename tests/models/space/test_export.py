import csv
from dataclasses import replace
from io import BytesIO, StringIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from models.space.collection import FittedCollection, Members, fit_collection
from models.space.export import write_atlas, write_parquet, write_projector

N = 10
OUTLIERS = np.linspace(0, 0.9, N, dtype=np.float32)


@pytest.fixture(scope="module")
def collection() -> FittedCollection:
    """Ten members of which the first is red, the second not, and of the others it is unknown."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(N, 6)).astype(np.float32)
    attributes = np.array([[1], [0], *[[-1]] * (N - 2)], np.int8)
    images = rng.integers(0, 256, (N, 48, 48, 3), dtype=np.uint8)
    members = Members(vectors, images, np.array([f"a\tb/{k}" for k in range(N)]), attributes, ("red",))
    clusterings = [{"method": "kmeans", "n_clusters": 2}]
    fitted = fit_collection(members, pca={"n_components": 3}, clusterings=clusterings, seed=0)
    fitted.maps["tsne"] = fitted.scores[:, :2]
    return fitted


def test_parquet_has_a_row_of_each_member(collection: FittedCollection, tmp_path: Path) -> None:
    write_parquet(collection, OUTLIERS, tmp_path / "a.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    scores = ["pc_0", "pc_1", "pc_2"]
    assert table.column_names == [
        *("id", "name", "labels", *scores, "kmeans", "tsne_x", "tsne_y", "has_red", "outlier_score", "vector"),
    ]
    assert str(table.schema.field("vector").type).startswith("fixed_size_list") and table.num_rows == N
    vectors = np.array(table["vector"].to_pylist(), np.float32)
    np.testing.assert_array_equal(vectors, collection.members.vectors)
    np.testing.assert_array_equal(np.stack([table[name] for name in scores], axis=1), collection.scores)
    np.testing.assert_array_equal(table["kmeans"], collection.clusterings["kmeans"].labels_)
    assert table["labels"].to_pylist()[:2] == [["red"], []]
    assert table["has_red"].to_pylist() == [True, False, *[None] * (N - 2)]
    assert table["name"][1].as_py() == "a\tb/1"


def test_classes_are_columns(collection: FittedCollection, tmp_path: Path) -> None:
    classes = np.array([[1, 0]] * N, np.int16)
    probabilities = np.array([[0.75, 0.125]] * N, np.float32)
    members = replace(
        collection.members, classes=classes, class_probabilities=probabilities, class_names=("cat", "dog")
    )
    write_parquet(replace(collection, members=members), OUTLIERS, tmp_path / "a.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    first = {name: table[name][0].as_py() for name in table.column_names if name.startswith("class")}
    assert first == {"class_0": "dog", "class_0_probability": 0.75, "class_1": "cat", "class_1_probability": 0.125}


def test_embedding_atlas_gets_thumbnails_instead_of_vectors(collection: FittedCollection, tmp_path: Path) -> None:
    """The columns that its `--x`, `--y` and `--image` name; it takes structs of bytes, as Hugging Face does."""
    write_atlas(collection, OUTLIERS, [b"image", *[b""] * (N - 1)], tmp_path / "a.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    assert "vector" not in table.column_names
    assert table["thumbnail"].to_pylist()[:2] == [{"bytes": b"image", "path": None}, None]
    np.testing.assert_array_equal(np.stack([table["tsne_x"], table["tsne_y"]], axis=1), collection.maps["tsne"])


def test_projector_has_scores_metadata_and_a_sprite(collection: FittedCollection, tmp_path: Path) -> None:
    write_projector(collection, tmp_path / "a.zip")
    with ZipFile(tmp_path / "a.zip") as file:
        parts = {name: file.read(name) for name in file.namelist()}
    tensors = np.loadtxt(BytesIO(parts["tensors.tsv"]), delimiter="\t", dtype=np.float32)
    np.testing.assert_array_equal(tensors, collection.scores)
    rows = list(csv.reader(StringIO(parts["metadata.tsv"].decode()), delimiter="\t"))
    assert rows[0] == ["name", "labels", "kmeans"] and rows[1][:2] == ["a b/0", "red"] and len(rows) == N + 1
    sprite = Image.open(BytesIO(parts["sprite.png"]))
    assert sprite.size == (4 * 48, 4 * 48), "ten thumbnails in a square of sixteen"
    np.testing.assert_array_equal(np.asarray(sprite)[48:96, 48:96], collection.members.thumbnails[5])
    assert b'tensor_path: "tensors.tsv"' in parts["projector_config.pbtxt"]
