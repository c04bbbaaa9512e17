"""What requests are resolved against: cards of models, networks of workers, collections and archives."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from jobs.errors import BadInput, Conflict, NotFound, TooLarge, Unavailable
from jobs.requests.architectures import capabilities
from jobs.requests.base import unknown_model
from jobs.schemas import FilmFile, VectorFile
from jobs.store.jobs import JobStore
from jobs.store.registry import CollectionRecord, KeptStyle, Version, being_built

Card = dict[str, Any]
AWAY_S = 86400  # a worker that is away for less than a day counts: jobs for its models wait for it


@contextmanager
def naming(field: str) -> Iterator[None]:
    """Puts the request's field in front of what is wrong with it."""
    try:
        yield
    except (BadInput, NotFound, TooLarge) as error:
        error.message = f"{field}: {error.message}"
        error.details = {"field": field, **error.details}
        raise


def model_cards(jobs: JobStore) -> dict[str, Card]:
    """The cards, by id, of all models that workers reported in the last day and of all that were trained here."""
    return _merged(_reports(jobs), jobs)


def _reports(jobs: JobStore) -> list[dict[str, Any]]:
    """What the workers of the last day reported of their models, the newest last."""
    return jobs.heartbeats.reports(AWAY_S)


def _merged(reports: Sequence[dict[str, Any]], jobs: JobStore) -> dict[str, Card]:
    shipped = [card for report in reports for card in report["cards"]]
    cards = {card["id"]: card for card in (*shipped, *(model.card for model in jobs.models.all()))}
    return dict(sorted(cards.items()))


class Facts:
    """Looks up what a request depends on when it is submitted."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs

    def cards(self) -> dict[str, Card]:
        """The cards of all models, see `model_cards`; raises `Unavailable` where no worker has reported any."""
        reports = _reports(self._jobs)
        if not reports:
            raise Unavailable("no_worker", "No worker has reported its models in the last day; try again shortly.")
        return _merged(reports, self._jobs)

    def installed(self) -> set[str]:
        """The feature networks whose weights a worker has."""
        return {model for report in _reports(self._jobs) for model in report["installed"]}

    def default_model(self, mode: str) -> str:
        """The model of a generation that names none, by the mode.

        That of the setting `default_model`, unless it is known and not for the mode; else, of the models that came with
        the service or were fetched and that a worker has, the one of the largest images, the first by its id of equals.
        Raises BadInput where there is none.
        """
        cards = self.cards()
        modes = {name: capabilities(card.get("architecture", {})).modes for name, card in cards.items()}
        wanted = self._jobs.settings.default_model
        if wanted and mode in modes.get(wanted, (mode,)):
            return wanted
        able = [name for name in sorted(self.installed()) if mode in modes.get(name, ())]
        if not able:
            raise unknown_model("model", f"No model that a worker has can do {mode!r}", able)
        return max(able, key=lambda name: cards[name]["architecture"].get("image_size", 0))

    def check_archive(self, sha: str, field: str = "data") -> int:
        """The number of files in an archive; raises NotFound for one that is not stored."""
        with naming(field):
            return int(self._jobs.archives.get(sha)[0]["n_files"])

    def film(self, sha: str, field: str) -> FilmFile:
        """What is known of an uploaded film; raises NotFound, and BadInput for another file."""
        with naming(field):
            film = self._jobs.archives.get(sha)[0].get("film")
            if film is None:
                message = "It is no film: upload an animated GIF or WebP, or an MP4, as an archive."
                raise BadInput("film_unreadable", message)
            return FilmFile(**film)

    def check_weights(self, sha: str, field: str = "archive") -> None:
        """Raises NotFound for an upload that is not stored, BadInput for one that is no safetensors file."""
        with naming(field):
            facts, _ = self._jobs.archives.get(sha)
            if not facts.get("weights"):
                raise BadInput("invalid_request", "The upload must be a safetensors file.", field=field)

    def check_vectors(self, sha: str, dim: int | None, where: str) -> None:
        """Raises BadInput for an archive without usable vectors, and for others than of `dim` values, where known."""
        facts, _ = self._jobs.archives.get(sha)
        if "vectors" not in facts:  # uploaded by an earlier release: the job finds out
            return
        vectors = VectorFile(**(facts["vectors"] or {"problem": "the archive holds neither a parquet nor an npz file"}))
        if vectors.problem:
            raise unusable_vectors(vectors.problem)
        if dim and vectors.dim:
            check_dim(vectors.dim, dim, where)

    def style(self, style_id: str) -> KeptStyle:
        """A kept style; raises `NotFound`."""
        return self._jobs.styles.get(style_id)

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


def unusable_vectors(problem: str) -> BadInput:
    """The error for a file of vectors that cannot be used."""
    return BadInput("vectors_unusable", f"vectors: {problem[0].upper()}{problem[1:]}.", field="vectors")


def check_dim(found: int, dim: int, where: str) -> None:
    """Raises BadInput for vectors of another number of values than those of a space or collection."""
    if found != dim:
        message = f"vectors: They have {found:,} values; those of {where} have {dim:,}."
        raise BadInput("vector_mismatch", message, field="vectors", dim=dim)


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
