"""What requests are resolved against: cards of models, networks of workers, collections and archives."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jobs.errors import BadInput, Conflict, NotFound, TooLarge, Unavailable
from jobs.store.jobs import JobStore
from jobs.store.registry import CollectionRecord, Version, being_built

Card = dict[str, Any]
AWAY_S = 86400  # workers that are away for the moment count: the job waits for them


@contextmanager
def naming(field: str) -> Iterator[None]:
    """Puts the request's field in front of what is wrong with it."""
    try:
        yield
    except (BadInput, NotFound, TooLarge) as error:
        error.message = f"{field}: {error.message}"
        error.details = {"field": field, **error.details}
        raise


class Facts:
    """Looks up what a request depends on when it is submitted."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs

    def cards(self) -> dict[str, Card]:
        """The cards of all models that the workers know or that were trained here, by id; raises `Unavailable`."""
        workers = self._jobs.heartbeats.workers(silence_s=AWAY_S)
        if not workers:
            raise Unavailable("no_worker", "No worker that knows the models has ever reported; try again shortly.")
        shipped = [card for facts in workers.values() for card in facts["cards"]]
        cards = {card["id"]: card for card in (*shipped, *(model.card for model in self._jobs.models.all()))}
        return dict(sorted(cards.items()))

    def installed(self) -> set[str]:
        """The feature networks whose weights a worker has."""
        workers = self._jobs.heartbeats.workers(silence_s=AWAY_S)
        return {model for facts in workers.values() for model in facts["installed"]}

    def check_archive(self, sha: str) -> None:
        """Raises NotFound for an archive that is not stored."""
        with naming("data"):
            self._jobs.archives.get(sha)

    def version(self, collection_id: str, number: int | None) -> tuple[CollectionRecord, Version]:
        """A collection and the version asked for, or its newest; raises as `version_of` and `NotFound`."""
        collection = self._jobs.collections.get(collection_id)
        return collection, version_of(collection, number)

    def idle_collection(self, collection_id: str) -> CollectionRecord:
        """A collection that no job is building; raises `NotFound` and `Conflict`."""
        collection = self._jobs.collections.get(collection_id)
        if collection.building:
            raise being_built(collection_id, collection.building)
        return collection


def version_of(collection: CollectionRecord, number: int | None) -> Version:
    """The version asked for, or the newest; raises `BadInput`, and `Conflict` while there is none yet."""
    n = len(collection.versions)
    if not n:
        message = f"The collection has no version yet; job {collection.building} is building it."
        raise Conflict("collection_not_ready", message, collection=collection.id, job=collection.building)
    if number is not None and number > n:
        message = f"version: The collection has versions 1 to {n}."
        raise BadInput("no_such_version", message, field="version", allowed=n)
    return collection.versions[(number or n) - 1]
