"""J14: clean-up removes only unused objects, in random sequences of uploads, jobs and shared images on a real S3.

Objects live for tenths of a second here, by settings; the code is the same.
"""

import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from jobs.errors import NotFound
from jobs.objects import Objects
from jobs.store.client import connect
from jobs.store.jobs import JobStore
from jobs.store.protocol import PREFIX
from jobs.store.records import Ending, NewJob, Record
from jobs.store.references import new_holder
from tests.stack import Seaweed, Stack
from worker.upkeep import remove_unused

HOLD, IMAGE, JOB = 250, 400, 300  # milliseconds
NEVER = (float("inf"), float("inf"))
Span = tuple[float, float]  # a time between two times


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory, s3: Seaweed) -> Iterator[Stack]:
    """A Valkey for the jobs whose objects lie in the S3 server."""
    made = Stack(tmp_path_factory.mktemp("clean-up"), **s3.env)
    made.start_valkey()
    yield made
    made.stop()


def open_store(valkey: Stack, monkeypatch: pytest.MonkeyPatch, s3: Seaweed) -> tuple[JobStore, Objects]:
    """The job store, empty, and the object store, with short lives."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, s3.env[name])
    # Nobody renews leases here, and none may run out on a busy machine.
    brief = {"hold_s": HOLD / 1000, "image_ttl_s": IMAGE / 1000, "job_ttl_s": JOB / 1000, "lease_s": 30}
    settings = valkey.settings.model_copy(update=brief)
    client = connect(settings, attempts=5)
    client.flushdb()
    jobs = JobStore(client, settings)
    return jobs, Objects(settings, jobs, retry_s=5)


@dataclass
class Lives:
    """Plain record of what refers to which object until when, beside the real stores that it drives.

    A time is known only to lie between Valkey's clock before a command and after it; so is every end of a life.
    """

    jobs: JobStore
    objects: Objects
    dice: random.Random
    images: list[bytes]
    names: dict[str, dict[str, Span]] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    running: list[Record] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    spared: int = 0
    removed: int = 0

    def now(self) -> float:
        """Valkey's clock as the protocol reads it: in whole milliseconds."""
        seconds, micros = self.jobs.client.time()  # type: ignore[misc]
        return float(seconds * 1000 + micros // 1000)

    def name(self, sha: str, who: str, until: Span) -> None:
        """Notes that `who` refers to an object until then."""
        self.names.setdefault(sha, {})[who] = until

    def put(self) -> str:
        """Stores an image that nothing refers to yet, as a preview is."""
        before = self.now()
        sha = self.objects.put(self.dice.choice(self.images), "image/png")
        known = self.names.get(sha, {}).get("hold", (0.0, 0.0))
        self.name(sha, "hold", (max(known[0], before + HOLD), max(known[1], self.now() + HOLD)))
        return sha

    def upload(self) -> None:
        """Stores an image and its record."""
        holder = new_holder()
        sha, before = self.objects.put(self.dice.choice(self.images), "image/png", holder=holder), self.now()
        self.jobs.images.put(sha, {}, holder)
        self.name(sha, "image", (before + IMAGE, self.now() + IMAGE))

    def delete_upload(self) -> None:
        """Deletes an upload before its time; others that refer to its bytes keep them."""
        sha, before = self.dice.choice(sorted(self.names)), self.now()
        known = self.names[sha].get("image", (0.0, 0.0))
        try:
            self.jobs.images.delete(sha)
            assert known[1] > before, "an upload whose life was over was there"
            self.name(sha, "image", (before, self.now()))
        except NotFound:
            assert known[0] <= self.now(), "an upload was gone before its time"

    def submit(self) -> None:
        """Submits a job with one to three images, which may be gone."""
        shas = self.dice.sample(sorted(self.names), min(len(self.names), self.dice.randint(1, 3)))
        before = self.now()
        try:
            job_id, _ = self.jobs.create(NewJob(kind="probe", queue="fast", params={}, images=shas))
        except NotFound as error:
            sha = error.details["image"].removeprefix("img_")
            assert not self.surely_named(sha, self.now()), "an input that is there was refused"
            return
        for sha in shas:
            kept = any(who.startswith("job_") or until[1] > before for who, until in self.names[sha].items())
            assert kept, "an input that nothing kept was taken"
            self.name(sha, job_id, NEVER)
            self.use_image(sha, before)
        self.waiting.append(job_id)

    def use_image(self, sha: str, before: float) -> None:
        """Extends the life of an upload that is used and still there."""
        known, after = self.names[sha].get("image"), self.now()
        if known and known[1] > before:
            self.name(sha, "image", ((before + IMAGE) if known[0] > after else known[0], after + IMAGE))

    def claim(self) -> None:
        """Claims a job."""
        self.running += self.jobs.claim("fast", worker="w")
        self.waiting = [job_id for job_id in self.waiting if job_id not in {job.id for job in self.running}]

    def finish(self) -> None:
        """Stores images of a running job, some of them other jobs' too, and ends it."""
        if not self.running:
            return
        job = self.running.pop(self.dice.randrange(len(self.running)))
        shas = [self.put() for _ in range(self.dice.randint(0, 2))]
        status = self.dice.choice(["succeeded", "succeeded", "failed"])
        outputs = [{"index": index, "sha256": sha} for index, sha in enumerate(shas)]
        before = self.now()
        assert self.jobs.finish(job.id, job.fence, Ending(status, {}, outputs)) == status
        for sha in shas if status == "succeeded" else []:
            self.name(sha, job.id, NEVER)
        self.end(job.id, (before + JOB, self.now() + JOB))

    def cancel(self) -> None:
        """Cancels a queued job."""
        if self.waiting:
            job_id, before = self.waiting.pop(), self.now()
            self.jobs.cancel(job_id)
            self.end(job_id, (before + JOB, self.now() + JOB))

    def delete(self) -> None:
        """Deletes a finished job before its time."""
        if self.finished:
            job_id, before = self.finished.pop(self.dice.randrange(len(self.finished))), self.now()
            try:
                self.jobs.delete(job_id)
            except NotFound:
                return  # its time had come
            self.end(job_id, (before, self.now()))

    def end(self, job_id: str, until: Span) -> None:
        """Notes when a job's record ends, and with it the references to its objects."""
        self.finished = [*(one for one in self.finished if one != job_id), job_id]
        for known in self.names.values():
            if job_id in known:
                known[job_id] = (min(known[job_id][0], until[0]), min(known[job_id][1], until[1]))

    def surely_named(self, sha: str, now: float) -> bool:
        """Whether something refers to an object at least until now."""
        return any(until[0] > now for until in self.names.get(sha, {}).values())

    def surely_free(self, sha: str, now: float) -> bool:
        """Whether nothing has referred to an object since before now."""
        return all(until[1] <= now for until in self.names.get(sha, {}).values())

    def clean_up(self) -> None:
        """Runs one round of upkeep and checks that exactly the objects in use are left."""
        before = self.now()
        self.jobs.sweep()
        self.removed += remove_unused(self.jobs, self.objects)
        after, stored = self.now(), self.stored()
        for sha in list(self.names):
            if self.surely_named(sha, after):
                self.spared += 1
                assert sha in stored, f"{sha} was removed while {self.names[sha]} name it at {after}"
            if self.surely_free(sha, before):
                assert sha not in stored, f"{sha} is left though nobody names it: {self.names[sha]} at {before}"
                del self.names[sha]
        for known in self.names.values():
            for who in [who for who, until in known.items() if until[1] <= before]:
                del known[who]

    def stored(self) -> set[str]:
        """Returns the objects that are there."""
        shas = set()
        for sha in self.names:
            try:
                self.objects.get(sha)
            except NotFound:
                continue
            shas.add(sha)
        return shas


@pytest.mark.parametrize("seed", range(5))
def test_object_is_removed_exactly_when_nobody_names_it(
    valkey: Stack, s3: Seaweed, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    dice = random.Random(seed)
    jobs, objects = open_store(valkey, monkeypatch, s3)
    lives = Lives(jobs, objects, dice, [dice.randbytes(200) for _ in range(12)])
    lives.upload()
    acts = [lives.put, lives.upload, lives.submit, lives.submit, lives.claim, lives.finish, lives.finish]
    acts += [lives.cancel, lives.delete, lives.delete_upload, lives.upload, lives.clean_up, lives.clean_up]
    for _ in range(240):
        act = dice.choice(acts) if lives.names else lives.upload
        act()
        if dice.random() < 0.2:
            time.sleep(dice.uniform(0, 0.15))
    while lives.waiting or lives.running:
        lives.claim()
        lives.finish()
    time.sleep((max(HOLD, IMAGE, JOB) + 50) / 1000)
    lives.clean_up()
    left: Any = jobs.client.keys("*")
    print(f"J14: seed {seed}: {lives.removed} objects removed, {lives.spared} times one in use was left alone")
    assert lives.names == {}
    assert set(left) == {f"{PREFIX}{name}" for name in ("stats", "claimed", "ends", "served:fast")}
    assert lives.removed > 10
    assert lives.spared > 50


def test_a_slow_store_deletes_many_objects_at_once(valkey: Stack, s3: Seaweed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job with previews leaves an object a second, and a cloud's store may take 50 ms to delete one."""
    jobs, objects = open_store(valkey, monkeypatch, s3)
    for number in range(64):
        objects.put(number.to_bytes(8), "image/png")
    time.sleep((HOLD + 50) / 1000)
    delete = Objects.delete

    def slow(self: Objects, sha: str) -> None:
        time.sleep(0.05)
        delete(self, sha)

    monkeypatch.setattr(Objects, "delete", slow)
    started = time.monotonic()
    removed = remove_unused(jobs, objects)
    seconds = time.monotonic() - started
    print(f"J14: {removed} objects removed in {seconds:.1f} s from a store that takes 50 ms for each")
    assert (removed, remove_unused(jobs, objects)) == (64, 0)
    assert seconds < 64 * 0.05 / 2


def test_put_and_clean_up_of_the_same_bytes_never_cross(
    valkey: Stack, s3: Seaweed, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, objects = open_store(valkey, monkeypatch, s3)
    images = [random.Random(14).randbytes(100 + n) for n in range(4)]
    done = threading.Event()
    removed: list[int] = []
    found: list[str] = []
    late: list[str] = []
    lost: list[str] = []

    def clean() -> None:
        while not done.is_set():
            removed.append(remove_unused(jobs, objects))

    def put_and_get(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(40):
            started = time.monotonic()
            sha = objects.put(dice.choice(images), "image/png")
            time.sleep(dice.uniform(0, HOLD / 2000))
            try:
                objects.get(sha)
                found.append(sha)
            except NotFound:
                (lost if time.monotonic() - started < HOLD / 1000 else late).append(sha)
            time.sleep(dice.uniform(0, HOLD / 500))

    cleaners = [threading.Thread(target=clean) for _ in range(2)]
    putters = [threading.Thread(target=put_and_get, args=(seed,)) for seed in range(3)]
    for thread in cleaners + putters:
        thread.start()
    for thread in putters:
        thread.join()
    done.set()
    for thread in cleaners:
        thread.join()
    print(f"J14: {len(found)} puts found their bytes, {len(lost)} lost them, beside {sum(removed)} removals")
    assert lost == []
    assert len(found) >= 100
    assert sum(removed) >= 20
