from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack import Seaweed, Stack, seaweed


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """An installation in which nothing runs yet."""
    made = Stack(tmp_path)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An installation with one worker, shared by the tests of a module."""
    made = Stack(tmp_path_factory.mktemp("stack"))
    yield made.start_all()
    made.stop()


@pytest.fixture(scope="package")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An installation with two workers, w1 and w2, for tests that leave both of them at work."""
    made = Stack(tmp_path_factory.mktemp("pair"))
    yield made.start_all(workers=2)
    made.stop()


@pytest.fixture(scope="package")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """A real S3 server."""
    with seaweed(tmp_path_factory.mktemp("s3")) as server:
        yield server
