"""Side files as a worker stores them, without a store: the files of one version and of those that continue it."""

from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from jobs.members import IMAGE, IMAGES, TABLE, THUMBNAIL, MembersTable
from jobs.store.registry import Version
from models.space.collection import FittedCollection, Members, fit_collection
from worker.files import Files
from worker.runners import side_files
from worker.runners.side_files import encoded_images, store_side_files

SQUARES = np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)


@dataclass
class Stored:
    """Files by their sha256."""

    files: dict[str, bytes] = field(default_factory=dict)

    def store(self, path: Path) -> str:
        data = path.read_bytes()
        self.files[sha256(data).hexdigest()] = data
        return sha256(data).hexdigest()

    def fetch(self, sha: str, path: Path) -> None:
        path.write_bytes(self.files[sha])


def fitted(n: int) -> FittedCollection:
    """The first n squares."""
    vectors = SQUARES[:n].reshape(n, -1).astype(np.float32)
    thumbnails = SQUARES[:n].repeat(3, axis=1).repeat(3, axis=2)
    members = Members(vectors, thumbnails, np.array(list("abcdefghi"[:n])), np.zeros((n, 0), np.int8))
    return fit_collection(members, pca={"n_components": 2}, clusterings=[], seed=0)


def stored(files: Stored, n: int, images: list[bytes], before: Version | None = None) -> Version:
    entries = store_side_files(cast(Files, files), fitted(n), images, before)
    return Version(1, 0, "job", "file", {}, (), tuple(entries))


def read(files: Stored, version: Version, row: int, kind: int) -> bytes | None:
    """The thumbnail or the image of a member."""
    (table_sha,) = [each["sha256"] for each in version.side_files if each["name"] == TABLE]
    table = MembersTable.load(files.files[table_sha])
    if not table.has_file(row, kind):
        return None
    objects = [each["sha256"] for each in version.side_files if each["name"] == IMAGES]
    segment, start, end, _ = table.place(row, kind)
    return files.files[objects[segment]][start:end]


def shown(data: bytes | None) -> np.ndarray[Any, Any]:
    assert data is not None
    return np.asarray(Image.open(BytesIO(data)))


def test_a_version_adds_an_object_for_its_new_members() -> None:
    files = Stored()
    first = stored(files, 6, encoded_images(SQUARES[:6]))
    second = stored(files, 9, encoded_images(SQUARES[6:]), first)
    names = [[each["name"] for each in version.side_files].count(IMAGES) for version in (first, second)]
    assert names == [1, 2] and first.side_files[0] == second.side_files[0]
    for row in range(9):
        np.testing.assert_array_equal(shown(read(files, second, row, IMAGE)), SQUARES[row])
        assert shown(read(files, second, row, THUMBNAIL)).shape == (48, 48, 3)
    assert [read(files, first, row, IMAGE) for row in range(6)] == [read(files, second, row, IMAGE) for row in range(6)]


def test_members_of_an_earlier_release_have_thumbnails_only() -> None:
    files = Stored()
    before = Version(1, 0, "job", "file", {})
    made = stored(files, 9, encoded_images(SQUARES[6:]), before)
    assert [read(files, made, row, IMAGE) is None for row in range(9)] == [True] * 6 + [False] * 3
    assert shown(read(files, made, 0, THUMBNAIL)).shape == (48, 48, 3)
    np.testing.assert_array_equal(shown(read(files, made, 8, IMAGE)), SQUARES[8])


def test_a_member_that_is_only_a_vector_has_no_files() -> None:
    files = Stored()
    made = stored(files, 6, [b"", *encoded_images(SQUARES[1:6])])
    assert read(files, made, 0, IMAGE) is None and read(files, made, 0, THUMBNAIL) is None
    np.testing.assert_array_equal(shown(read(files, made, 1, IMAGE)), SQUARES[1])


def test_each_thumbnail_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    images, files = encoded_images(SQUARES), Stored()
    encode = Mock(wraps=side_files._encoded)
    monkeypatch.setattr(side_files, "_encoded", encode)
    first = stored(files, 6, images[:6])
    assert encode.call_count == 6
    stored(files, 9, images[6:], first)
    assert encode.call_count == 6 + 9


@pytest.mark.parametrize(("side", "kind"), [(64, "PNG"), (68, "JPEG")])
def test_larger_squares_are_stored_as_jpeg(side: int, kind: str) -> None:
    [data] = encoded_images(np.zeros((1, side, side, 3), np.uint8))
    assert Image.open(BytesIO(data)).format == kind
