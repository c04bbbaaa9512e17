"""Random walks over the whole job protocol on a real Valkey, each step compared with a model of plain Python."""

from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from jobs.errors import Conflict
from jobs.schemas import TERMINAL
from jobs.store import PREFIX, JobStore
from tests.jobs.conftest import with_settings

MAX_ATTEMPTS = 3
PLACES = ("queue:fast", "delayed", "leases", "done")
picks = st.integers(0, 10**6)


@dataclass
class Model:
    """What a job should be; `place` is the one of PLACES that holds it."""

    id: str
    kind: str
    compat: str
    urgency: tuple[int, int, str]
    status: str = "queued"
    place: str = "queue:fast"
    attempt: int = 0
    fence: int = 0
    expires: bool = False
    due: bool = False  # its time in `place` is over
    past: bool = False  # its time to be queued is over
    finished_by: int | None = None

    def move(self, status: str, place: str) -> None:
        """Enter a state."""
        self.status, self.place, self.due = status, place, False

    def close(self, status: str) -> None:
        """Enter a state it will not leave."""
        self.move(status, "done")


class Walk(RuleBasedStateMachine):
    """The commands in any order, from workers that are right, late or confused."""

    store: JobStore

    def __init__(self) -> None:
        super().__init__()
        self.store.client.flushdb()
        self.jobs: dict[str, Model] = {}
        self.ended: dict[str, str] = {}

    def pick(self, number: int) -> Model:
        """Some job."""
        return list(self.jobs.values())[number % len(self.jobs)]

    def expire(self) -> None:
        """Claim and sweep begin with this."""
        for job in self.jobs.values():
            if job.past and job.status == "queued":
                job.close("expired")

    @rule(priority=st.integers(-1, 1), compat=st.sampled_from(["", "a", "b"]), expires=st.booleans())
    def create(self, priority: int, compat: str, expires: bool) -> None:
        kind = f"kind-{len(self.jobs) % 2}"
        job_id, is_new = self.store.create(
            kind=kind,
            queue="fast",
            params={},
            compat=compat,
            priority=priority,
            expires_in=600 if expires else None,
        )
        assert is_new
        urgency = (-priority, self.store.get(job_id).created_at, job_id)
        self.jobs[job_id] = Model(job_id, kind, compat, urgency, expires=expires)

    @rule(limit=st.integers(1, 3))
    def claim(self, limit: int) -> None:
        self.expire()
        queue = sorted((job for job in self.jobs.values() if job.place == "queue:fast"), key=lambda job: job.urgency)
        like = [job for job in queue[1:] if job.compat and job.compat == queue[0].compat]
        expected = [*queue[:1], *like][:limit]
        claimed = self.store.claim("fast", worker="w", limit=limit)
        for job in expected:
            job.move("running", "leases")
            job.attempt += 1
            job.fence += 1
        assert [(job.id, job.attempt, job.fence) for job in claimed] == [
            (job.id, job.attempt, job.fence) for job in expected
        ]

    @precondition(lambda self: self.jobs)
    @rule(number=picks, late=st.booleans(), what=st.sampled_from(["renew", "report", "release"]))
    def hold(self, number: int, late: bool, what: str) -> None:
        job = self.pick(number)
        fence = job.fence - late
        held = not late and job.place == "leases"
        expected = job.status if held else "lost"
        if what == "release" and held:
            expected = "canceled" if job.status == "canceling" else "queued"
            if expected == "canceled":
                job.close("canceled")
            else:
                job.move("queued", "queue:fast")
                job.attempt -= 1
        elif what == "renew" and held:
            job.due = False
        arguments: Any = ("progress", {"step": 1}) if what == "report" else ()
        assert getattr(self.store, what)(job.id, fence, *arguments) == expected

    @precondition(lambda self: self.jobs)
    @rule(number=picks, late=st.booleans(), status=st.sampled_from(["succeeded", "failed", "canceled"]))
    def finish(self, number: int, late: bool, status: str) -> None:
        job = self.pick(number)
        fence = job.fence - late
        if not late and job.place == "leases":
            job.close("canceled" if job.status == "canceling" else status)
            job.finished_by = fence
            expected = job.status
        else:
            expected = job.status if job.finished_by == fence else "lost"
        outputs = [{"index": 0, "sha256": "c" * 64}]
        assert self.store.finish(job.id, fence, status, outputs=outputs, metrics={"run_ms": 1}) == expected

    @precondition(lambda self: self.jobs)
    @rule(number=picks)
    def cancel(self, number: int) -> None:
        job = self.pick(number)
        self.store.cancel(job.id)
        if job.status == "queued":
            job.close("canceled")
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
        """A record goes."""
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
                job.close("canceled")
            elif job.attempt >= MAX_ATTEMPTS:
                job.close("failed")
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

    @invariant()
    def every_record_is_as_the_model_says_and_the_end_is_the_end(self) -> None:
        for job in self.jobs.values():
            record = self.store.get(job.id)
            assert (record.status, record.attempt, record.fence) == (job.status, job.attempt, job.fence)
            assert bool(record.outputs) == (job.status == "succeeded")
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
