"""Random walks over the whole job protocol on a real Valkey; each step is compared with a model in plain Python."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from jobs.errors import Conflict, NotFound
from jobs.store.jobs import JobStore
from jobs.store.protocol import PREFIX
from jobs.store.records import Ending, NewJob
from jobs.store.registry import NEW
from tests.jobs.conftest import with_settings
from tests.jobs.store.walk import OUTPUT, Model, Modeled, Shelf

MAX_ATTEMPTS = 2
AGING_MS = 600_000  # ten minutes are worth one step of priority
picks = st.integers(0, 10**6)


class Walk(Modeled):
    """Runs the commands in any order, from workers that hold the lease, are late or send wrong ids."""

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
        assert self.store.references.hold(sha, holder, size=7)
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
        ending = Ending(status, {"run_ms": 1}, outputs, model=card, collection=built)
        ended = self.store.finish(job.id, fence, ending)
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
