"""Searches of a collection that a worker has built, on a real Valkey."""

from typing import Any

import pytest

import models.space.search
from jobs.members import INDEX
from jobs.objects import Objects
from jobs.requests.search import SearchParams
from jobs.store.jobs import JobStore
from tests.worker.runners.collecting import DIGITS, collection_of, found, work
from tests.worker.tasks import forget
from worker.runners import search, side_files


def test_the_index_of_a_large_collection_is_made_once_in_its_build(
    installation: tuple[JobStore, Objects], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models.space.search, "EXACT", 50)
    monkeypatch.setattr(side_files, "EXACT", 50)
    collection = collection_of(installation, found(installation, DIGITS | {"n_components": 5}))
    version = collection.versions[0]
    assert [each["name"] for each in version.side_files].count(INDEX) == 1

    def matches() -> list[dict[str, Any]]:
        forget()
        params = SearchParams(member=3, n=5).of_version(collection.id, 1, version.figures)
        job = work(installation, kind="collection-search", params=params.stored())
        assert job.status == "succeeded", job.error
        return list(job.metrics["matches"])

    with monkeypatch.context() as earlier:
        earlier.setattr(search, "INDEX", "absent from versions of an earlier release")
        made_anew = matches()
    monkeypatch.delattr(models.space.search, "inverted_file")
    assert matches() == made_anew and len(made_anew) == 5
