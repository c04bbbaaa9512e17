import json
from pathlib import Path

import numpy as np

from jobs.members import IMAGE, THUMBNAIL, MembersTable

NAMES = ["a", "zip/ö", "img_1"]


def table() -> MembersTable:
    """Three members, the last without a file, in objects of 30 and 12 bytes."""
    encoded = [name.encode() for name in NAMES]
    return MembersTable(
        names=np.frombuffer(b"".join(encoded), np.uint8),
        name_ends=np.cumsum([len(name) for name in encoded]),
        scores=np.arange(6, dtype=np.float32).reshape(3, 2),
        clusters=np.array([[0, -1], [1, 0], [0, 0]], np.int32),
        maps=np.zeros((3, 0, 2), np.float32),
        attributes=np.array([[1, 0], [1, 1], [-1, 0]], np.int8),
        outlier_scores=np.array([0.1, 0.5, 0.1], np.float32),
        pairs=np.zeros((0, 2), np.int32),
        pair_distances=np.zeros(0, np.float32),
        deviations=np.ones(2, np.float32),
        component_checksums=np.zeros(4, np.uint32),
        ends=np.array([[10, 30], [35, 42], [42, 42]]),
        checksums=np.array([[1, 2], [3, 4], [0, 0]], np.uint32),
        segments=np.array([30, 12]),
        classes=np.array([[1, 0], [0, 2], [1, 2]], np.int16),
        class_probabilities=np.array([[0.5, 0.25], [0.75, 0.125], [0.5, 0.25]], np.float32),
        methods=("kmeans", "hdbscan"),
        map_names=(),
        attribute_names=("red", "round"),
        class_names=("cat", "cup", "dog"),
    )


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    table().save(tmp_path / "members.npz")
    loaded = MembersTable.load((tmp_path / "members.npz").read_bytes())
    assert [loaded.name(row) for row in range(len(loaded))] == NAMES
    assert (loaded.methods, loaded.map_names, loaded.attribute_names) == (("kmeans", "hdbscan"), (), ("red", "round"))
    np.testing.assert_array_equal(loaded.clusters, table().clusters)
    assert loaded.n_bytes == table().n_bytes


def test_a_table_of_an_earlier_release_has_no_classes(tmp_path: Path) -> None:
    table().save(tmp_path / "members.npz")
    with np.load(tmp_path / "members.npz") as file:
        arrays = {name: file[name] for name in file if not name.startswith("class")}
    facts = json.loads(str(arrays.pop("facts")))
    del facts["class_names"]
    with (tmp_path / "earlier.npz").open("wb") as target:
        np.savez(target, facts=np.array(json.dumps(facts)), **arrays)
    earlier = MembersTable.load((tmp_path / "earlier.npz").read_bytes())
    assert (earlier.classes.shape, earlier.class_probabilities.shape, earlier.class_names) == ((3, 0), (3, 0), ())


def test_rows_match_the_likeliest_class() -> None:
    assert table().rows(likeliest="cup").tolist() == [True, False, True]
    assert table().rows(likeliest="cup", having=["red"]).tolist() == [True, False, False]
    assert not table().rows(likeliest="dog").any(), "it is only the second of some"


def test_rows_match_all_filters() -> None:
    def chosen(
        cluster: tuple[str, int] | None = None, having: tuple[str, ...] = (), lacking: tuple[str, ...] = ()
    ) -> list[bool]:
        method, number = cluster or (None, None)
        return list(table().rows(method=method, cluster=number, having=having, lacking=lacking).tolist())

    assert chosen() == [True, True, True]
    assert chosen(("kmeans", 0)) == [True, False, True] and chosen(("hdbscan", -1)) == [True, False, False]
    assert chosen(having=("red",)) == [True, True, False], "what is unknown is not chosen"
    assert chosen(lacking=("red",)) == [False, False, False]
    assert chosen(("kmeans", 0), ("red",), ("round",)) == [True, False, False]


def test_the_most_isolated_come_first_and_equal_ones_by_id() -> None:
    assert table().by_outlier_score.tolist() == [1, 0, 2]


def test_files_lie_in_the_objects_one_after_the_other() -> None:
    assert table().place(0, THUMBNAIL) == (0, 0, 10, 1)
    assert table().place(0, IMAGE) == (0, 10, 30, 2)
    assert table().place(1, THUMBNAIL) == (1, 0, 5, 3)
    assert table().place(1, IMAGE) == (1, 5, 12, 4)
    assert [table().has_file(row, IMAGE) for row in range(3)] == [True, True, False]
