"""The job protocol as a model in plain Python, and what holds of the store at each step of a walk."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from hypothesis.stateful import RuleBasedStateMachine, invariant

from jobs.errors import Conflict
from jobs.schemas import TERMINAL
from jobs.store.jobs import JobStore
from jobs.store.protocol import PREFIX

PLACES = ("queue:fast", "delayed", "leases", "done")
OUTPUT = "c" * 64


@dataclass
class Model:
    """Expected state of a job; `place` is the one of PLACES that contains it."""

    id: str
    kind: str
    compat: str
    priority: int
    urgency: tuple[int, str]
    status: str = "queued"
    place: str = "queue:fast"
    attempt: int = 0
    fence: int = 0
    expires: bool = False
    due: bool = False  # its time in `place` is over
    past: bool = False  # its time to be queued is over
    batch: int = 1  # how many jobs its last claim took
    finished_by: int | None = None
    fruitful: int = 0  # the last attempt that left a checkpoint
    checkpoint: str | None = None  # its sha256
    uses: list[str] = field(default_factory=list)  # models and collections
    inputs: list[str] = field(default_factory=list)  # the sha256 of images
    builds: str | None = None  # a collection

    def move(self, status: str, place: str) -> None:
        """Enters a state."""
        self.status, self.place, self.due = status, place, False

    def close(self, status: str) -> None:
        """Enters a final state."""
        self.move(status, "done")
        self.checkpoint = None if status == "succeeded" else self.checkpoint


@dataclass
class Shelf:
    """Expected state of a collection."""

    uses: list[str]  # models
    files: list[str] = field(default_factory=list)  # the sha256 of each version's
    building: str | None = None


class Modeled(RuleBasedStateMachine):
    """A store and the state that is expected of it."""

    store: JobStore

    def __init__(self) -> None:
        super().__init__()
        self.store.client.flushdb()
        self.jobs: dict[str, Model] = {}
        self.ended: dict[str, str] = {}
        self.trained: dict[str, str] = {}  # the sha256 of each trained model's file
        self.shelves: dict[str, Shelf] = {}
        self.uploads: list[str] = []  # the sha256 of each
        self.made = 0

    def read(self, command: str, keys: Sequence[str], *arguments: Any) -> dict[str, Any]:
        """Runs a command of Valkey for each of the keys, in one round trip."""
        pipe = self.store.client.pipeline(transaction=False)
        for key in keys:
            getattr(pipe, command)(key, *arguments)
        return dict(zip(keys, pipe.execute(), strict=True))

    def new_sha(self) -> str:
        """Returns a new sha256."""
        self.made += 1
        return f"{self.made:064x}"

    def pick(self, number: int, late: bool = True) -> Model:
        """Picks a job: a running one, if there is one, unless the worker is late."""
        running = [job for job in self.jobs.values() if job.place == "leases" and not late]
        jobs = running or list(self.jobs.values())
        return jobs[number % len(jobs)]

    def close(self, job: Model, status: str) -> None:
        """Ends a job, and deletes the collection whose first version it did not make."""
        job.close(status)
        if job.builds:
            self.shelves[job.builds].building = None
            if not self.shelves[job.builds].files:
                del self.shelves[job.builds]

    def expire(self) -> None:
        """Runs at the start of each sweep."""
        for job in self.jobs.values():
            if job.past and job.status == "queued":
                self.close(job, "expired")

    def users(self, name: str) -> set[str]:
        """Returns the unfinished jobs that use a model or a collection, and the collections that use a model."""
        jobs = {job.id for job in self.jobs.values() if name in job.uses and job.place != "done"}
        return jobs | {shelf for shelf, found in self.shelves.items() if name in found.uses}

    @staticmethod
    def named(error: Conflict) -> set[str]:
        """Returns the jobs and collections that an error names as users."""
        return {*error.details["jobs"], *error.details.get("collections", [])}

    def queue(self) -> list[Model]:
        """Returns the jobs that can be claimed, most urgent first."""
        return sorted((job for job in self.jobs.values() if job.place == "queue:fast"), key=lambda job: job.urgency)

    @staticmethod
    def batched(job: Model) -> bool:
        """Whether a job may run in a batch: one that was claimed before runs alone."""
        return job.compat != "" and job.attempt == 0

    def forget(self, job: Model) -> None:
        """Deletes a record."""
        del self.jobs[job.id]
        self.ended.pop(job.id, None)

    @invariant()
    def every_job_is_in_one_place_and_every_index_tells_its_state(self) -> None:
        types = self.read("type", cast(list[str], self.store.client.keys(f"{PREFIX}*")))
        ranks = self.read("zrange", [key for key, sort in types.items() if sort == "zset"], 0, -1)
        found = {key.removeprefix(PREFIX): set(ids) for key, ids in ranks.items()}
        jobs = list(self.jobs.values())
        for place in PLACES:
            assert found.get(place, set()) == {job.id for job in jobs if job.place == place}, place
        waiting = {job.id for job in jobs if job.expires and job.status == "queued"}
        assert found.get("expiry", set()) == waiting
        assert found.get("jobs", set()) == set(self.jobs)
        for index, ids in found.items():
            if index.startswith("jobs:status:"):
                assert ids == {job.id for job in jobs if job.status == index.removeprefix("jobs:status:")}
            if index.startswith("jobs:kind:"):
                assert ids == {job.id for job in jobs if job.kind == index.removeprefix("jobs:kind:")}
            if index.startswith("jobs:kind-status:"):
                _, _, kind, status = index.split(":")
                assert ids == {job.id for job in jobs if (job.kind, job.status) == (kind, status)}
        assert sum(len(ids) for index, ids in found.items() if index.startswith("jobs:kind-status:")) == len(jobs)
        positions = [
            place for place, _ in self.store.queue_places(self.store._records([job.id for job in self.queue()]))
        ]
        assert positions == list(range(len(positions)))

    @invariant()
    def every_object_model_and_collection_is_named_by_those_who_use_it(self) -> None:
        client = self.store.client
        expected: dict[str, set[str]] = {sha: {f"model:{model}"} for model, sha in self.trained.items()}
        for name, found in self.shelves.items():
            expected |= {sha: {f"collection:{name}"} for sha in found.files}
        for sha in self.uploads:
            expected.setdefault(sha, set()).add("image")
        for job in self.jobs.values():
            for sha in [
                *job.inputs,
                *([job.checkpoint] if job.checkpoint else []),
                *([OUTPUT] if job.status == "succeeded" else []),
            ]:
                expected.setdefault(sha, set()).add(job.id)
        named = self.read("zrange", cast(list[str], client.keys(f"{PREFIX}refs:*")), 0, -1)
        refs = {key: set(who) for key, who in named.items()}
        assert refs == {f"{PREFIX}refs:{sha}": who for sha, who in expected.items()}
        owners = self.read("hgetall", [f"{PREFIX}owners:{sha}" for sha in expected])
        assert [{who for who in owner if who[0] not in "#b"} for owner in owners.values()] == list(expected.values())
        stored: Any = client.hget(f"{PREFIX}stored", "default") or 0
        assert sum(int(owner.get("bytes", 0)) for owner in owners.values()) == int(stored)
        uses = self.read("smembers", cast(list[str], client.keys(f"{PREFIX}uses:*")))
        used = [name for name in (*self.trained, *self.shelves) if self.users(name)]
        assert uses == {f"{PREFIX}uses:{name}": self.users(name) for name in used}
        assert {model.card["id"] for model in self.store.models.all()} == set(self.trained)
        kept = {found.id: found for found in self.store.collections.all()}
        assert {name: found.building for name, found in kept.items()} == {
            name: found.building for name, found in self.shelves.items()
        }
        for name, found in self.shelves.items():
            assert [version.file for version in kept[name].versions] == found.files

    @invariant()
    def every_record_is_as_the_model_says_and_the_end_is_the_end(self) -> None:
        records = self.store._records(list(self.jobs))
        for job, record in zip(self.jobs.values(), records, strict=True):
            assert record.id == job.id
            assert (record.status, record.attempt, record.fence) == (job.status, job.attempt, job.fence)
            assert bool(record.outputs) == (job.status == "succeeded")
            assert (record.checkpoint or {}).get("sha256") == job.checkpoint
            assert (record.finished_at is not None) == record.finished
            if record.status in TERMINAL:
                assert self.ended.setdefault(job.id, record.status) == record.status
            else:
                assert job.id not in self.ended
