from pathlib import Path
from typing import ClassVar

import pytest

from jobs.objects import Objects
from jobs.requests.base import Request
from jobs.requests.kinds import KINDS
from jobs.store.jobs import JobStore
from jobs.store.records import NewJob, Record
from tests.stack import Stack


class EmptyRequest(Request):
    """A request of the kind `test`."""

    kind: ClassVar[str] = "test"


KINDS["test"] = EmptyRequest


@pytest.fixture
def jobs(valkey: Stack) -> JobStore:
    """Empty job store."""
    valkey.redis.flushall()
    return valkey.jobs


@pytest.fixture
def objects(valkey: Stack, jobs: JobStore) -> Objects:
    """The objects of the same installation."""
    return Objects(valkey.settings, jobs, retry_s=1)


@pytest.fixture
def record(jobs: JobStore) -> Record:
    """A claimed job."""
    jobs.create(NewJob(kind="test", queue="fast", params={"seed": 5, "format": "png"}))
    return jobs.claim("fast", worker="test")[0]


@pytest.fixture
def folder(valkey: Stack) -> Path:
    """Folder of the objects."""
    return valkey.folder / "objects"
