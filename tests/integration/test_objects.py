"""Object storage in a folder and on a real S3 server."""

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import httpx
import obstore
import pytest

from jobs.errors import Damaged, NotFound, Unavailable
from jobs.objects import CHUNK, Objects
from jobs.store.jobs import JobStore
from tests.stack import Seaweed, Stack


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobStore]:
    stack = Stack(tmp_path_factory.mktemp("objects"))
    stack.start_valkey()
    yield stack.jobs
    stack.stop()


@pytest.fixture
def on_s3(jobs: JobStore, s3: Seaweed, monkeypatch: pytest.MonkeyPatch) -> Objects:
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    return opened(jobs, "s3://atelier", s3.endpoint)


def opened(jobs: JobStore, url: str, endpoint: str | None = None) -> Objects:
    settings = jobs.settings.model_copy(update={"storage_url": url, "storage_endpoint": endpoint})
    return Objects(settings, jobs, retry_s=0.5)


@pytest.mark.parametrize("where", ["folder", "s3"])
def test_what_is_put_is_got_until_it_is_deleted(
    where: str, jobs: JobStore, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    objects = opened(jobs, str(tmp_path)) if where == "folder" else request.getfixturevalue("on_s3")
    objects.check()
    sha = objects.put(b"image", "image/png")
    assert sha == hashlib.sha256(b"image").hexdigest()
    assert objects.get(sha) == b"image"
    for _ in range(2):  # a second time is no error
        objects.delete(sha)
    with pytest.raises(NotFound, match="stored bytes no longer exist"):
        objects.get(sha)


@pytest.mark.parametrize("where", ["folder", "s3"])
@pytest.mark.parametrize("size", [9, 2 * CHUNK + 5])
@pytest.mark.parametrize("damage", ["one bit", "cut off", "longer", "empty"])
def test_damaged_bytes_are_never_given_out(
    where: str, size: int, damage: str, jobs: JobStore, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    objects = opened(jobs, str(tmp_path / "objects")) if where == "folder" else request.getfixturevalue("on_s3")
    data = random.Random(size).randbytes(size)
    sha = objects.put(data, "image/png")
    changed = {"one bit": data[:-1] + bytes([data[-1] ^ 1]), "cut off": data[:-3], "longer": data + b"!", "empty": b""}
    obstore.put(objects._store, sha, changed[damage])
    copy, read = tmp_path / "copy", b""
    for call in (lambda: objects.get(sha), lambda: objects.get_file(sha, copy)):
        with pytest.raises(Damaged) as error:
            call()
        assert (error.value.code, error.value.details) == ("object_damaged", {"sha256": sha})
    assert not copy.exists()
    with pytest.raises(Damaged):
        for part in objects.read(sha):
            read += part
    assert len(read) < len(changed[damage]) or not read, "the end is never given"
    assert objects.put(data, "image/png") == sha
    assert objects.get(sha) == b"".join(objects.read(sha)) == data, "stored again it is whole again"


def test_a_folder_signs_no_links(jobs: JobStore, tmp_path: Path) -> None:
    assert opened(jobs, str(tmp_path)).link("a" * 64) is None


def test_a_signed_link_gives_the_image_and_its_type(on_s3: Objects) -> None:
    link = on_s3.link(on_s3.put(b"signed image", "image/webp"))
    assert link is not None
    answer = httpx.get(link)
    assert (answer.content, answer.headers["content-type"]) == (b"signed image", "image/webp")
    assert httpx.get(link.split("?")[0]).status_code == 403


def test_a_missing_bucket_is_no_working_store(on_s3: Objects, jobs: JobStore, s3: Seaweed) -> None:
    with pytest.raises(Unavailable):
        opened(jobs, "s3://nobody-made-this", s3.endpoint).check()


def test_a_store_that_is_away_is_said_to_be(on_s3: Objects, jobs: JobStore) -> None:
    away = opened(jobs, "s3://atelier", "http://127.0.0.1:9")
    for call in (away.check, lambda: away.get("a" * 64), lambda: away.delete("a" * 64), lambda: away.put(b"x", "a/b")):
        with pytest.raises(Unavailable) as error:
            call()
        assert error.value.code == "storage_unavailable"
