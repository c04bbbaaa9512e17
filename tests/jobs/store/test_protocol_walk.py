"""Random walks over the whole job protocol on a real Valkey; each step is compared with a model in plain Python."""

from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from jobs.errors import Conflict, NotFound
from jobs.schemas import TERMINAL
from jobs.store.jobs import JobStore
from jobs.store.protocol import PREFIX
from jobs.store.records import NewJob
from jobs.store.registry import NEW
from tests.jobs.conftest import with_settings

MAX_ATTEMPTS = 2
AGING_MS = 600_000  # ten minutes are worth one step of priority
PLACES = ("queue:fast", "delayed", "leases", "done")
OUTPUT = "c" * 64
picks = st.integers(0, 10**6)


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


class Walk(RuleBasedStateMachine):
    """Runs the commands in any order, from workers that hold the lease, are late or send wrong ids."""

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

    @rule(
        priority=st.integers(-1, 1),
        compat=st.sampled_from(["", "a", "b"]),
        expires=st.booleans(),
        number=picks,
        builds=st.sampled_from(["nothing", "new", "next"]),
        uses=st.sampled_from([True, True, False]),
    )
    def create(self, priority: int, compat: str, expires: bool, number: int, builds: str, uses: bool) -> None:
        kind = f"kind-{len(self.jobs) % 2}"
        models = [model for i, model in enumerate(self.trained) if uses and (number + i) % 2]
        ready = [shelf for shelf, found in self.shelves.items() if found.files]
        collections = [shelf for i, shelf in enumerate(ready) if uses and (number + i) % 3]
        free = [shelf for shelf in ready if not self.shelves[shelf].building]
        collection = {"nothing": None, "new": NEW, "next": (free or [NEW])[-1]}[builds]
        again = self.pick(number) if self.jobs and number % 3 == 0 else None
        inputs = again.inputs if again else [sha for i, sha in enumerate(self.uploads) if uses and (number + i) % 2]
        job_id, is_new = self.store.create(
            NewJob(
                kind=kind,
                queue="fast",
                params={},
                images=inputs,
                models=models,
                collections=collections,
                collection=collection,
                compat=compat,
                priority=priority,
                expires_in=600 if expires else None,
                retry_of=again.id if again else "",
            )
        )
        assert is_new
        urgency = (self.store.get(job_id).created_at - priority * AGING_MS, job_id)
        made = Model(
            job_id, kind, compat, priority, urgency, expires=expires, uses=[*models, *collections], inputs=inputs
        )
        made.checkpoint = again.checkpoint if again else None
        self.jobs[job_id] = made
        if collection:
            made.builds = job_id.replace("job_", "col_") if collection == NEW else collection
            self.shelves.setdefault(made.builds, Shelf(made.uses)).building = job_id

    @rule()
    def upload(self) -> None:
        sha, holder = self.new_sha(), f"upload:{self.made}"
        assert self.store.references.hold(sha, holder)
        self.store.images.put(sha, {}, holder)
        self.uploads.append(sha)

    @precondition(lambda self: self.uploads)
    @rule(number=picks)
    def delete_upload(self, number: int) -> None:
        sha = self.uploads.pop(number % len(self.uploads))
        self.store.images.delete(sha)
        for call in (self.store.images.get, self.store.images.delete):
            try:
                call(sha)
                raise AssertionError("an upload that was deleted is there")
            except NotFound as error:
                assert error.details == {"image": f"img_{sha}"}
        if not any(sha in job.inputs for job in self.jobs.values()):
            try:
                self.store.create(NewJob(kind="kind-0", queue="fast", params={}, images=[sha]))
                raise AssertionError("a job was taken though its image is gone")
            except NotFound as error:
                assert error.details == {"image": f"img_{sha}"}

    @rule()
    def create_with_a_model_that_is_gone(self) -> None:
        try:
            self.store.create(NewJob(kind="kind-0", queue="fast", params={}, models=[*self.trained, "vae-gone"]))
            raise AssertionError("a job was taken though its model is gone")
        except NotFound as error:
            assert error.details == {"model": "vae-gone"}

    @precondition(lambda self: self.trained)
    @rule(number=picks)
    def delete_model(self, number: int) -> None:
        model = list(self.trained)[number % len(self.trained)]
        try:
            self.store.models.delete(model)
            assert self.users(model) == set()
            del self.trained[model]
        except Conflict as error:
            assert self.users(model) >= self.named(error) > set()

    def users(self, name: str) -> set[str]:
        """Returns the unfinished jobs that use a model or a collection, and the collections that use a model."""
        jobs = {job.id for job in self.jobs.values() if name in job.uses and job.place != "done"}
        return jobs | {shelf for shelf, found in self.shelves.items() if name in found.uses}

    @staticmethod
    def named(error: Conflict) -> set[str]:
        """Returns the jobs and collections that an error names as users."""
        return {*error.details["jobs"], *error.details.get("collections", [])}

    @precondition(lambda self: self.shelves)
    @rule(number=picks)
    def delete_collection(self, number: int) -> None:
        ready = [name for name, found in self.shelves.items() if not found.building]
        names = ready if ready and number % 4 else list(self.shelves)
        name = names[number % len(names)]
        try:
            self.store.collections.delete(name)
            assert self.users(name) == set() and self.shelves[name].building is None
            del self.shelves[name]
        except Conflict as error:
            assert error.details.get("job") == self.shelves[name].building
            assert "job" in error.details or self.users(name) >= self.named(error) > set()

    @precondition(lambda self: any(found.files for found in self.shelves.values()))
    @rule(number=picks)
    def delete_as_soon_as_a_job_uses_it(self, number: int) -> None:
        self.create(0, "", False, number, builds="nothing", uses=True)
        self.delete_collection(number)

    @precondition(lambda self: any(found.building for found in self.shelves.values()))
    @rule(number=picks)
    def build_what_another_builds(self, number: int) -> None:
        built = {name: found.building for name, found in self.shelves.items() if found.building}
        name = list(built)[number % len(built)]
        try:
            self.store.create(NewJob(kind="kind-0", queue="fast", params={}, collection=name))
            raise AssertionError("two jobs build one collection")
        except Conflict as error:
            assert error.details == {"collection": name, "job": built[name]}

    @precondition(lambda self: self.jobs)
    @rule(number=picks, late=st.booleans())
    def checkpoint(self, number: int, late: bool) -> None:
        job, sha = self.pick(number, late), self.new_sha()
        expected = "lost"
        if not late and job.place == "leases":
            expected, job.checkpoint, job.fruitful = job.status, sha, job.attempt
        assert self.store.keep_checkpoint(job.id, job.fence - late, {"step": 1, "sha256": sha}) == expected

    @precondition(lambda self: self.jobs)
    @rule(number=picks)
    def wait_for_hours(self, number: int) -> None:
        """A job gets a higher rank while it is outside its queue."""
        job, older_by = self.pick(number, late=False), (number % 4) * AGING_MS
        if job.place != "queue:fast":
            self.store.client.hincrby(f"{PREFIX}job:{job.id}", "created_at", -older_by)
            job.urgency = (job.urgency[0] - older_by, job.id)

    def queue(self) -> list[Model]:
        """Returns the jobs that can be claimed, most urgent first."""
        return sorted((job for job in self.jobs.values() if job.place == "queue:fast"), key=lambda job: job.urgency)

    @rule(limit=st.integers(1, 4))
    def claim(self, limit: int) -> None:
        expected: list[Model] = []
        overtaken = -100
        for job in self.queue():
            if len(expected) == limit or (expected and not self.batched(expected[0])):
                break
            if job.past:
                self.close(job, "expired")
            elif not expected or (self.batched(job) and job.compat == expected[0].compat and job.priority >= overtaken):
                expected.append(job)
            else:
                overtaken = max(overtaken, job.priority)
        claimed = self.store.claim("fast", worker="w", limit=limit)
        for job in expected:
            job.move("running", "leases")
            job.batch = len(expected)
            job.attempt += 1
            job.fence += 1
        assert [(job.id, job.attempt, job.fence) for job in claimed] == [
            (job.id, job.attempt, job.fence) for job in expected
        ]

    @staticmethod
    def batched(job: Model) -> bool:
        """Whether a job may run in a batch: one that was claimed before runs alone."""
        return job.compat != "" and job.attempt == 0

    @precondition(lambda self: self.jobs)
    @rule(number=picks, late=st.booleans(), what=st.sampled_from(["renew", "report", "release"]))
    def hold(self, number: int, late: bool, what: str) -> None:
        job = self.pick(number, late)
        fence = job.fence - late
        held = not late and job.place == "leases"
        expected = job.status if held else "lost"
        if what == "release" and held:
            expected = "canceled" if job.status == "canceling" else "queued"
            if expected == "canceled":
                self.close(job, "canceled")
            else:
                job.move("queued", "queue:fast")
                job.attempt -= job.fruitful != job.attempt
        elif what == "renew" and held:
            job.due = False
        arguments: Any = ("progress", {"step": 1}) if what == "report" else ()
        assert getattr(self.store, what)(job.id, fence, *arguments) == expected

    @precondition(lambda self: self.jobs)
    @rule(number=picks, late=st.booleans(), status=st.sampled_from(["succeeded", "failed", "canceled"]))
    def finish(self, number: int, late: bool, status: str) -> None:
        job = self.pick(number, late)
        fence = job.fence - late
        sha, model, version = self.new_sha(), f"vae-{self.made:012x}", self.new_sha()
        built = {"file": version, "figures": {}} if job.builds else None
        if not late and job.place == "leases":
            if (job.status, status) == ("running", "succeeded"):
                self.trained[model] = sha
                if job.builds:
                    self.shelves[job.builds].files.append(version)
            self.close(job, "canceled" if job.status == "canceling" else status)
            job.finished_by = fence
            expected = job.status
        else:
            expected = job.status if job.finished_by == fence else "lost"
        outputs, card = [{"index": 0, "sha256": OUTPUT}], {"id": model, "files": {"model.safetensors": sha}}
        ended = self.store.finish(
            job.id, fence, status, outputs=outputs, metrics={"run_ms": 1}, model=card, collection=built
        )
        assert ended == expected

    @precondition(lambda self: self.jobs)
    @rule(number=picks)
    def claim_and_succeed(self, number: int) -> None:
        """The usual life of a job, which random walks rarely take."""
        for _ in range(3):
            self.claim(limit=1)
            self.finish(number, late=False, status="succeeded")

    @precondition(lambda self: self.jobs)
    @rule(number=picks)
    def cancel(self, number: int) -> None:
        job = self.pick(number)
        self.store.cancel(job.id)
        if job.status == "queued":
            self.close(job, "canceled")
        elif job.status == "running":
            job.status = "canceling"

    @precondition(lambda self: self.jobs)
    @rule(number=picks)
    def delete(self, number: int) -> None:
        job = self.pick(number)
        try:
            self.store.delete(job.id)
            assert job.place == "done"
            self.forget(job)
        except Conflict:
            assert job.place != "done"

    def forget(self, job: Model) -> None:
        """Deletes a record."""
        del self.jobs[job.id]
        self.ended.pop(job.id, None)

    @precondition(lambda self: self.jobs)
    @rule(number=picks)
    def time_in_place_passes(self, number: int) -> None:
        job = self.pick(number)
        if job.place != "queue:fast":
            job.due = True
            assert self.store.client.zadd(f"{PREFIX}{job.place}", {job.id: 1}, xx=True, ch=True) in (0, 1)

    @precondition(lambda self: self.jobs)
    @rule(number=picks)
    def time_to_be_queued_passes(self, number: int) -> None:
        job = self.pick(number)
        if job.expires:
            job.past = True
            self.store.client.hset(f"{PREFIX}job:{job.id}", "expires_at", "1")
            self.store.client.zadd(f"{PREFIX}expiry", {job.id: 1}, xx=True)

    @rule()
    def sweep(self) -> None:
        self.store.sweep()
        self.expire()
        delayed = [job for job in self.jobs.values() if job.place == "delayed" and job.due]
        for job in [job for job in self.jobs.values() if job.place == "leases" and job.due]:
            if job.status == "canceling":
                self.close(job, "canceled")
            elif job.attempt - job.fruitful >= MAX_ATTEMPTS and job.batch == 1:
                self.close(job, "failed")
            else:
                job.move("queued", "delayed")
        for job in delayed:
            job.move("queued", "queue:fast")
        for job in [job for job in self.jobs.values() if job.place == "done" and job.due]:
            self.forget(job)

    @invariant()
    def every_job_is_in_one_place_and_every_index_tells_its_state(self) -> None:
        client = self.store.client
        found: dict[str, set[str]] = {}
        for key in client.keys(f"{PREFIX}*"):  # type: ignore[union-attr]
            if client.type(key) == "zset":
                found[key.removeprefix(PREFIX)] = set(client.zrange(key, 0, -1))  # type: ignore[arg-type]
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
        positions = self.store.queue_positions([self.store.get(job.id) for job in self.queue()])
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
        refs = {key: set(client.zrange(key, 0, -1)) for key in client.keys(f"{PREFIX}refs:*")}  # type: ignore[arg-type,union-attr]
        assert refs == {f"{PREFIX}refs:{sha}": who for sha, who in expected.items()}
        uses = {key: client.smembers(key) for key in client.keys(f"{PREFIX}uses:*")}  # type: ignore[union-attr]
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
        for job in self.jobs.values():
            record = self.store.get(job.id)
            assert (record.status, record.attempt, record.fence) == (job.status, job.attempt, job.fence)
            assert bool(record.outputs) == (job.status == "succeeded")
            assert (record.checkpoint or {}).get("sha256") == job.checkpoint
            assert (record.finished_at is not None) == record.finished
            if record.status in TERMINAL:
                assert self.ended.setdefault(job.id, record.status) == record.status
            else:
                assert job.id not in self.ended


def test_no_walk_over_the_protocol_leaves_the_model(store: JobStore) -> None:
    Walk.store = with_settings(store, retry_delay_s=600, max_attempts=MAX_ATTEMPTS)
    bounds = settings(
        max_examples=120,
        stateful_step_count=40,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    run_state_machine_as_test(Walk, settings=bounds)
