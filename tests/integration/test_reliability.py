"""What the service promises about jobs (J1 to J13), each with real processes that really die.

A Valkey, a SeaweedFS, an API, workers and upkeep run as they do in production, and are killed, frozen and cut off. Only
their waits are shorter, by settings (`QUICK` in tests/stack.py: a lease of 1.5 s and not 30); the code is the same.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from jobs.queue import make_celery, nudge
from jobs.store.protocol import PREFIX
from jobs.store.records import NewJob
from tests.stack import ROOT, TERMINAL, Seaweed, Stack, wait_until

Job = dict[str, Any]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An installation with two workers, w1 and w2."""
    made = Stack(tmp_path_factory.mktemp("pair"))
    yield made.start_all(workers=2)
    made.stop()


def all_finished(stack: Stack, ids: list[str], seconds: float) -> list[Job]:
    """Waits for the end of all jobs and returns them."""
    redis = stack.redis

    def none_left() -> bool:
        pipe = redis.pipeline()
        for job_id in ids:
            pipe.hget(f"{PREFIX}job:{job_id}", "status")
        return all(status in TERMINAL for status in pipe.execute())

    wait_until(none_left, seconds, f"the end of {len(ids)} jobs")
    return [stack.job(job_id) for job_id in ids]


def right_result(stack: Stack, job: Job) -> bool:
    """Whether a succeeded job has one output, the image of its seed (see kinds.py)."""
    [output] = job["outputs"]
    url = output["url"]
    answer = httpx.get(url) if url.startswith("http") else stack.client.get(url)
    with Image.open(BytesIO(answer.content)) as image:
        pixels = np.asarray(image)
    expected = np.random.default_rng(job["params"]["seed"]).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return job["status"] == "succeeded" and np.array_equal(pixels, expected)


def counted(jobs: list[Job]) -> Counter[str]:
    """Counts the jobs by final state."""
    return Counter(job["status"] for job in jobs)


def runs_of(stack: Stack, ids: list[str]) -> Counter[str]:
    """Counts the runs of each job."""
    return Counter(job_id for job_id, _ in stack.runs() if job_id in set(ids))


@contextlib.contextmanager
def frozen(stack: Stack, *names: str) -> Iterator[None]:
    """Suspends processes and their children inside the block."""
    for name in names:
        os.killpg(stack.processes[name].pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for name in names:
            os.killpg(stack.processes[name].pid, signal.SIGCONT)


@contextlib.contextmanager
def restarted(stack: Stack, start: Callable[[], None], name: str, **env: str) -> Iterator[None]:
    """Restarts a process with other settings inside the block."""
    before = dict(stack.env)
    for settings in (before | env, before):
        stack.kill(name)
        stack.env = settings
        start()
        if settings is not before:
            yield


# J1


def test_no_job_is_lost_when_workers_are_killed_at_random_moments(pair: Stack) -> None:
    # Ten kills fall within half a minute here, so a job may well meet three: it is given ten attempts.
    dice = random.Random(1)
    with restarted(pair, pair.start_upkeep, "upkeep", ATELIER_MAX_ATTEMPTS="10"):
        ids = [pair.submit(steps=6, step_s=0.05, seed=n)["id"] for n in range(100)]
        for number in range(10):
            name = f"w{number % 2 + 1}"
            time.sleep(dice.uniform(0.1, 1.5))
            pair.kill(name)
            pair.start_worker(name, wait=False)
            other = f"w{(number + 1) % 2 + 1}"
            wait_until(lambda name=other: ready(pair, name), 40, f"worker {other}")  # type: ignore[misc]
        unfinished_at_last_kill = sum(pair.jobs.depths().values())
        jobs = all_finished(pair, ids, 90)
        wait_until(lambda: ready(pair, "w2"), 40, "worker w2")
    runs = runs_of(pair, ids)
    print(
        f"J1: {counted(jobs)['succeeded']} succeeded, {100 - len(jobs)} lost, {runs.total()} runs,"
        f" {unfinished_at_last_kill} still queued at the last of 10 kills"
    )
    assert counted(jobs) == {"succeeded": 100}
    assert all(right_result(pair, job) for job in jobs)
    assert set(runs) == set(ids)
    assert unfinished_at_last_kill > 0, "the last kills met idle workers"


def ready(stack: Stack, name: str) -> bool:
    """Whether the newest process of a worker's name has said that it is ready."""
    return " ready." in stack.log(name).rpartition("[tasks]")[2]


def test_no_accepted_job_is_lost_when_the_api_is_killed(pair: Stack) -> None:
    accepted: list[str] = []

    def send(seed: int) -> None:
        with httpx.Client(base_url=pair.url, timeout=30) as client, contextlib.suppress(httpx.TransportError):
            while True:
                accepted.append(client.post("/v1/probes", json={"seed": seed}).json()["id"])

    with ThreadPoolExecutor(4) as clients:
        sent = clients.map(send, range(4))
        wait_until(lambda: len(accepted) >= 20, 20, "accepted jobs")
        pair.kill("api")
        list(sent)
    pair.start_api()
    jobs = all_finished(pair, accepted, 60)
    print(f"J1: {counted(jobs)['succeeded']} of {len(accepted)} jobs accepted before the API was killed succeeded")
    assert counted(jobs) == {"succeeded": len(accepted)}


# J2


def test_frozen_worker_that_thaws_after_its_lease_changes_nothing(pair: Stack) -> None:
    job_id = pair.submit(steps=10, step_s=0.1, seed=2)["id"]
    [(_, child)] = wait_until(lambda: pair.runs(job_id), 20, "the job's start")
    os.kill(child, signal.SIGSTOP)
    try:
        job = pair.finished(job_id, 20)
        events = pair.redis.xrange(f"{PREFIX}events:{job_id}")
    finally:
        os.kill(child, signal.SIGCONT)
    wait_until(lambda: f"{job_id} attempt 1: lease lost" in pair.log("w1") + pair.log("w2"), 20, "the thawed worker")
    old = {"index": 0, "sha256": "0" * 64}
    refused = pair.jobs.finish(job_id, 1, "succeeded", outputs=[old], metrics={})
    print(f"J2: succeeded in attempt {job['attempt']}; the thawed worker's lease, and a finish with it: {refused}")
    assert refused == "lost"
    assert pair.job(job_id) == job
    assert pair.redis.xrange(f"{PREFIX}events:{job_id}") == events
    assert (job["attempt"], len(pair.runs(job_id))) == (2, 2)
    assert right_result(pair, job)


# J3


def test_jobs_whose_nudges_are_lost_all_succeed(pair: Stack) -> None:
    with frozen(pair, "w1", "w2", "upkeep"):
        ids = [pair.submit(seed=n)["id"] for n in range(50)]
        assert pair.redis.delete("fast") == 1
        assert pair.redis.llen("fast") == 0
    jobs = all_finished(pair, ids, 30)
    runs = runs_of(pair, ids)
    print(f"J3: {counted(jobs)['succeeded']} of 50 succeeded after their nudges were deleted, {runs.total()} runs")
    assert counted(jobs) == {"succeeded": 50}
    assert runs == dict.fromkeys(ids, 1)


def test_jobs_nudged_three_times_run_once(pair: Stack) -> None:
    celery = make_celery(pair.settings)
    with frozen(pair, "w1", "w2", "upkeep"):
        ids = [pair.submit(seed=n)["id"] for n in range(50)]
        for job_id in ids * 2:
            nudge(celery, "fast", job_id)
    jobs = all_finished(pair, ids, 30)
    wait_until(lambda: pair.redis.llen("fast") == 0, 30, "the last nudge")
    last = pair.finished(pair.submit()["id"])
    runs = runs_of(pair, ids)
    print(f"J3: {runs.total()} runs of 50 jobs after 150 nudges")
    assert counted([*jobs, last]) == {"succeeded": 51}
    assert runs == dict.fromkeys(ids, 1)


# J4


def test_worker_that_dies_in_any_window_leaves_one_right_result(pair: Stack) -> None:
    expected = {"receipt": (1, 1), "claim": (2, 1), "run": (2, 2), "artifact": (2, 2), "state": (1, 1)}
    ids = {place: pair.submit(steps=2, seed=n, die_at=place)["id"] for n, place in enumerate(expected)}
    jobs = all_finished(pair, list(ids.values()), 40)
    wait_until(lambda: len(list(pair.folder.glob(f"died-{ids['state']}-*"))) == 1, 10, "the death after the state")
    after = all_finished(pair, [pair.submit()["id"] for _ in range(10)], 30)
    found = {place: (job["attempt"], len(pair.runs(job["id"]))) for place, job in zip(ids, jobs, strict=True)}
    print(f"J4: (attempts, runs) by where the worker died: {found}")
    assert all(right_result(pair, job) for job in jobs)
    assert counted(after) == {"succeeded": 10}
    assert found == expected
    assert [pair.job(job["id"])["outputs"] for job in jobs] == [job["outputs"] for job in jobs]
    died = {place: len(list(pair.folder.glob(f"died-{job_id}-*"))) for place, job_id in ids.items()}
    assert died == dict.fromkeys(expected, 1)


# J5


def test_poisonous_job_fails_after_three_attempts_and_the_others_succeed(pair: Stack) -> None:
    poison = pair.submit(die_at="run", die_times=99, priority=10)["id"]
    ids = [pair.submit(seed=n, step_s=0.1)["id"] for n in range(20)]
    others, [failed] = all_finished(pair, ids, 40), all_finished(pair, [poison], 40)
    succeeded = counted(others)["succeeded"]
    print(f"J5: {failed['error']['code']} after {len(pair.runs(poison))} runs; {succeeded} others succeeded")
    assert counted(others) == {"succeeded": 20}
    assert (failed["status"], failed["attempt"], len(pair.runs(poison))) == ("failed", 3, 3)
    assert (failed["error"]["code"], failed["error"]["details"]) == ("worker_lost", {"attempts": 3})
    assert failed["outputs"] == []


# J16


def test_one_job_of_sixteen_that_kills_its_worker_fails_alone(pair: Stack) -> None:
    params = {"steps": 1, "step_s": 0, "format": "png"}
    with frozen(pair, "w1", "w2", "upkeep"):
        ids = [
            pair.jobs.create(
                NewJob(
                    kind="probe",
                    queue="fast",
                    params=params | {"seed": n} | ({"die_at": "run", "die_times": 99} if n == 5 else {}),
                    compat="alike",
                )
            )[0]
            for n in range(16)
        ]
    jobs = all_finished(pair, ids, 60)
    wait_until(lambda: ready(pair, "w1") and ready(pair, "w2"), 40, "both workers")
    batches = [int(line) for line in (pair.folder / "batches.log").read_text().split()]
    [failed] = [job for job in jobs if job["status"] != "succeeded"]
    attempts = Counter(job["attempt"] for job in jobs if job is not failed)
    print(f"J16: 15 of 16 succeeded, by attempt {dict(attempts)}; batches of {batches}; {failed['error']['code']}")
    assert batches == [16]
    assert (failed["id"], failed["error"]["code"], failed["attempt"]) == (ids[5], "worker_lost", 3)
    assert attempts == {2: 15}
    assert all(right_result(pair, job) for job in jobs if job is not failed)
    assert set(runs_of(pair, ids[6:]).values()) == {1}, "those behind it in the batch were never begun"


# J6


@dataclass
class Canceled:
    """A job canceled at some moment: the answers' statuses, the first answer, and how it and the next job ended."""

    answers: list[int]
    said: str
    job: Job
    follower: str


def test_canceled_job_has_no_outputs_and_finished_job_has_them_whenever_it_is_canceled(pair: Stack) -> None:
    dice = random.Random(6)

    def cancel_at(moment: float) -> Canceled:
        job_id = pair.submit(steps=6, step_s=0.05)["id"]
        time.sleep(moment)
        answers = [pair.client.post(f"/v1/jobs/{job_id}/cancel") for _ in range(3)]
        follower = str(pair.finished(pair.submit()["id"])["status"])
        said = str(answers[0].json().get("status"))
        return Canceled([answer.status_code for answer in answers], said, pair.finished(job_id), follower)

    with ThreadPoolExecutor(4) as clients:
        found = list(clients.map(cancel_at, [dice.uniform(0, 0.8) for _ in range(50)]))
    said = Counter(one.said for one in found)
    print(f"J6: 50 cancels said {dict(said)} and ended {dict(counted([one.job for one in found]))}")
    assert {status for one in found for status in one.answers} == {200}
    for one in found:
        assert (one.job["status"], len(one.job["outputs"])) in (("canceled", 0), ("succeeded", 1))
        assert one.said == "succeeded" or one.job["status"] == "canceled", "a cancel that was taken is kept"
    assert {one.follower for one in found} == {"succeeded"}
    assert {"succeeded", "canceling"} <= set(said), "the moments were not random enough"


def test_running_job_is_canceled_within_two_steps(pair: Stack) -> None:
    job_id = pair.submit(steps=50, step_s=0.3)["id"]
    wait_until(lambda: (pair.job(job_id)["progress"] or {}).get("step", 0) >= 2, 20, "the second step")
    assert pair.client.post(f"/v1/jobs/{job_id}/cancel").json()["status"] == "canceling"
    canceled = pair.finished(job_id, 10)
    events = [json.loads(fields["data"]) for _, fields in pair.redis.xrange(f"{PREFIX}events:{job_id}")]  # type: ignore[union-attr]
    states = [data.get("status", "step") for data in events]
    steps = states[states.index("canceling") :].count("step")
    print(f"J6: canceling to canceled within {steps} steps")
    assert (canceled["status"], states[-1]) == ("canceled", "canceled")
    assert steps <= 2
    assert pair.client.post(f"/v1/jobs/{job_id}/cancel").json() == canceled


# J7


def test_valkey_killed_and_restarted_loses_no_job_and_runs_none_twice(stack: Stack) -> None:
    # The lease is longer than the outage, as in production, where a restart takes seconds and a lease 30.
    stack.env["ATELIER_LEASE_S"] = "10"
    stack.start_all(workers=2)
    first = stack.finished(stack.submit()["id"])
    ids = [stack.submit(steps=4, step_s=0.1, seed=n)["id"] for n in range(30)]
    wait_until(lambda: len(stack.runs()) >= 6, 30, "the first runs")
    stack.kill("valkey")
    away = [
        stack.client.post("/v1/probes", json={}),
        stack.client.get(f"/v1/jobs/{first['id']}"),
        stack.client.get("/v1/jobs"),
        stack.client.post(f"/v1/jobs/{first['id']}/cancel"),
        stack.client.get(f"/v1/jobs/{first['id']}/events"),
        stack.client.post(f"/v1/jobs/{first['id']}/retry"),
        stack.client.get("/readyz"),
    ]
    alive = stack.client.get("/healthz").status_code
    stack.start_valkey()
    started = time.monotonic()
    answers = [submit_until_taken(stack, started) for _ in range(5)]
    healthy_s = max(when for when, _ in answers)
    ids += [job_id for _, job_id in answers]
    jobs = all_finished(stack, ids, 60)
    wait_until(lambda: stack.client.get("/readyz").status_code == 200, 20, "readiness")
    runs = runs_of(stack, ids)
    twice = sum(count > 1 for count in runs.values())
    print(
        f"J7: {counted(jobs)['succeeded']} of {len(ids)} succeeded, {len(ids) - len(jobs)} lost, {twice} run twice;"
        f" 503 meanwhile, healthy {healthy_s:.2f} s after the restart"
    )
    assert [answer.status_code for answer in away] == [503] * len(away)
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in away)
    assert alive == 200
    assert healthy_s < 5
    assert counted(jobs) == {"succeeded": len(ids)}
    assert runs == dict.fromkeys(ids, 1)
    assert len(stack.jobs.page(kind=None, status=None, limit=100, cursor=None)[0]) == len(ids) + 1


def test_outage_longer_than_a_lease_loses_no_job_and_no_event(pair: Stack) -> None:
    followed = pair.submit(steps=30, step_s=0.1, seed=7)["id"]
    ids = [followed, *(pair.submit(steps=5, step_s=0.1, seed=n)["id"] for n in range(9))]
    with ThreadPoolExecutor(1) as listener:
        hearing = listener.submit(follow, pair, followed, lambda: None)
        wait_until(lambda: len(pair.runs(followed)) == 1, 20, "the job's start")
        pair.kill("valkey")
        time.sleep(2 * float(pair.env["ATELIER_LEASE_S"]))
        pair.start_valkey()
        jobs = all_finished(pair, ids, 60)
        heard = hearing.result(30)
    runs = runs_of(pair, ids)
    expected = stored_events(pair, followed, after=str(heard.events[0][0]))
    print(
        f"J7: {counted(jobs)['succeeded']} of 10 succeeded in {runs.total()} runs over an outage of two leases;"
        f" {len(heard.events) - 1} events heard of {len(expected)}, {heard.cuts} cuts"
    )
    assert all(right_result(pair, job) for job in jobs)
    assert [(event_id, kind) for event_id, kind, _ in heard.events[1:]] == expected
    assert heard.cuts >= 1


def submit_until_taken(stack: Stack, started: float) -> tuple[float, str]:
    """Submits until the answer is 202; returns the seconds since `started` and the job's id."""
    while True:
        answer = stack.client.post("/v1/probes", json={})
        if answer.status_code == 202:
            return time.monotonic() - started, answer.json()["id"]
        assert answer.status_code == 503 and time.monotonic() - started < 20, answer.text


# J8


def test_storage_may_be_away_and_no_job_succeeds_without_its_bytes(s3: Seaweed, tmp_path: Path) -> None:
    stack = Stack(tmp_path, **s3.env, ATELIER_STORAGE_RETRY_S="120")
    try:
        stack.start_valkey()
        stack.start_api()
        stack.start_upkeep()
        stack.start_worker("patient", "fast")
        stack.env["ATELIER_STORAGE_RETRY_S"] = "2"  # to this worker, the store is away for good
        stack.start_worker("hasty", "gpu")
        ids = [stack.submit(steps=2, step_s=0.2, seed=n)["id"] for n in range(20)]
        wait_until(lambda: len(stack.runs()) >= 3, 30, "the third run")
        s3.stop()
        stopped = time.monotonic()
        failed = stack.finished(stack.submit(queue="gpu")["id"], 20)
        time.sleep(stopped + 20 - time.monotonic())
        done_meanwhile = [job_id for job_id in ids if stack.jobs.get(job_id).finished]
        s3.start()
        away_s = time.monotonic() - stopped
        jobs = all_finished(stack, ids, 60)
        next_job = stack.finished(stack.submit(queue="gpu", seed=3)["id"], 30)
        right = [right_result(stack, job) for job in [*jobs, next_job]]
        children = {pid for job_id, pid in stack.runs() if job_id in (failed["id"], next_job["id"])}
    finally:
        stack.stop()
        if s3.process is None:
            s3.start()
    succeeded = counted(jobs)["succeeded"]
    print(f"J8: {succeeded} of 20 succeeded, {len(done_meanwhile)} of them before S3 was away for {away_s:.0f} s")
    print(f"J8: stopped for good: {failed['status']} {failed['error']['code']}; the next job {next_job['status']}")
    assert counted(jobs) == {"succeeded": 20}
    assert len(done_meanwhile) < 5
    assert (failed["status"], failed["error"]["code"], failed["outputs"]) == ("failed", "storage_unavailable", [])
    assert all(right)
    assert len(children) == 1, "the worker lived on"


# J9


def test_full_queue_refuses_and_every_accepted_job_succeeds(pair: Stack) -> None:
    bound = 20
    with restarted(pair, pair.start_api, "api", ATELIER_MAX_QUEUE=str(bound)):
        with ThreadPoolExecutor(16) as clients:
            body = {"step_s": 0.2}
            answers = list(clients.map(lambda _: pair.client.post("/v1/probes", json=body), range(3 * bound)))
        accepted = [answer.json()["id"] for answer in answers if answer.status_code == 202]
        refused = [answer for answer in answers if answer.status_code == 429]
        jobs = all_finished(pair, accepted, 60)
    succeeded = counted(jobs)["succeeded"]
    print(f"J9: {len(answers)} sent, {len(accepted)} accepted, {len(refused)} refused; {succeeded} succeeded")
    assert len(accepted) + len(refused) == len(answers)
    assert len(accepted) >= bound
    assert refused
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in refused)
    assert {answer.json()["error"]["code"] for answer in refused} == {"queue_full"}
    assert counted(jobs) == {"succeeded": len(accepted)}


def test_full_redis_refuses_new_jobs_and_ends_those_it_accepted(stack: Stack) -> None:
    stack.start_all()
    ids = [stack.submit(steps=2, step_s=0.3, seed=n)["id"] for n in range(10)]
    used = int(stack.redis.info("memory")["used_memory"])  # type: ignore[index]
    stack.redis.config_set("maxmemory", int(used / 0.95))
    photo = {"file": (ROOT / "api" / "examples" / "coffee.webp").read_bytes()}
    refused = [stack.client.post("/v1/probes", json={}), stack.client.post("/v1/images", files=photo)]
    jobs = all_finished(stack, ids, 60)
    stack.redis.config_set("maxmemory", 2 * used)
    again = stack.finished(stack.submit()["id"])
    print(f"J9: at 95 % of maxmemory {counted(jobs)['succeeded']} of {len(ids)} accepted jobs succeeded")
    assert [(answer.status_code, answer.json()["error"]["code"]) for answer in refused] == [(503, "redis_full")] * 2
    assert counted(jobs) == {"succeeded": len(ids)}
    assert again["status"] == "succeeded"


# J10


def test_one_key_from_many_clients_at_once_is_one_job(pair: Stack) -> None:
    headers, together = {"Idempotency-Key": "order-66"}, threading.Barrier(32)

    def send(number: int) -> httpx.Response:
        with httpx.Client(base_url=pair.url, timeout=30) as client:
            client.get("/healthz")
            together.wait(30)
            return client.post("/v1/probes", json={"steps": 2}, headers=headers)

    before = total_jobs(pair)
    with ThreadPoolExecutor(32) as clients:
        answers = list(clients.map(send, range(32)))
    ids = {answer.json()["id"] for answer in answers}
    other = pair.client.post("/v1/probes", json={"steps": 3}, headers=headers)
    print(f"J10: 32 clients, {total_jobs(pair) - before} job, {len(ids)} id; another body: {other.status_code}")
    assert {answer.status_code for answer in answers} == {202}
    assert (len(ids), total_jobs(pair) - before) == (1, 1)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reuse")
    job_id = ids.pop()
    assert pair.finished(job_id)["status"] == "succeeded"
    assert len(pair.runs(job_id)) == 1
    again = pair.client.post("/v1/probes", json={"steps": 2}, headers=headers).json()
    assert (again["id"], again["status"]) == (job_id, "succeeded")


def total_jobs(stack: Stack) -> int:
    """Counts the records."""
    return int(stack.redis.zcard(f"{PREFIX}jobs"))  # type: ignore[arg-type]


# J11


@dataclass
class Heard:
    """Complete events that a client received, (id, type, data), and the number of broken connections."""

    events: list[tuple[str | None, str, Any]]
    cuts: int


def listen(stack: Stack, job_id: str, after: str | None, cut_after: int | None = None) -> Heard:
    """Follows a job until its stream ends or breaks, or until the client breaks it after a number of bytes."""
    headers = {"Last-Event-ID": after} if after else {}
    text, cuts = b"", 0
    with (
        contextlib.suppress(httpx.TransportError),
        httpx.Client(base_url=stack.url, timeout=30) as client,
        client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer,
    ):
        cuts = 1  # unless the stream ends as it should
        assert answer.status_code in (200, 204, 503), answer.status_code
        if answer.status_code == 503:
            time.sleep(0.1)
            return Heard([], 1)
        for part in answer.iter_raw():
            text += part
            if cut_after is not None and len(text) >= cut_after:
                return Heard(parse(text[:cut_after]), 1)
        cuts = 0
    return Heard(parse(text), cuts)


def follow(stack: Stack, job_id: str, cut_after: Callable[[], int | None]) -> Heard:
    """Follows a job to its end and reconnects as a browser does; the first event is the snapshot."""
    heard, whole = Heard([], 0), False
    while not whole:
        last = str(heard.events[-1][0]) if heard.events else None
        part = listen(stack, job_id, last, cut_after())
        heard.events += part.events
        heard.cuts += part.cuts
        whole = part.cuts == 0
    return heard


def parse(stream: bytes) -> list[tuple[str | None, str, Any]]:
    """Parses the complete events of a part of a stream; comments (pings) are left out."""
    blocks = stream.decode().replace("\r\n", "\n").split("\n\n")[:-1]
    fields = [dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":")) for block in blocks]
    return [(one.get("id"), one["event"], json.loads(one["data"])) for one in fields if "event" in one]


def stored_events(stack: Stack, job_id: str, after: str) -> list[tuple[str, str]]:
    """Returns (id, type) of a job's events in Redis after a given one."""
    stored: Any = stack.redis.xrange(f"{PREFIX}events:{job_id}", f"({after}")
    return [(event_id, fields["type"]) for event_id, fields in stored]


def test_events_survive_a_connection_cut_twenty_times(pair: Stack) -> None:
    dice = random.Random(11)
    job_id = pair.submit(steps=40, step_s=0.15, seed=11)["id"]
    sizes = iter([1500, *(dice.randint(1, 260) for _ in range(19))])
    heard = follow(pair, job_id, lambda: next(sizes, None))
    snapshot, *followed = heard.events
    expected = stored_events(pair, job_id, after=str(snapshot[0]))
    print(f"J11: {heard.cuts} cuts, {len(followed)} events after the snapshot, {len(expected)} in the stream")
    assert heard.cuts == 20
    assert (snapshot[1], snapshot[2]["id"]) == ("snapshot", job_id)
    assert [(event_id, kind) for event_id, kind, _ in followed] == expected
    assert len(expected) >= 20
    assert followed[-1][1:] == ("status", {"status": "succeeded", "attempt": 1, "error": None})
    assert listen(pair, job_id, followed[-1][0]).events == [], "nothing is left to follow"
    assert listen(pair, job_id, followed[-2][0]).events == followed[-1:], "the end is always sent"
    late = listen(pair, job_id, None).events
    assert [(kind, data["status"]) for _, kind, data in late] == [("snapshot", "succeeded"), ("status", "succeeded")]


def test_event_streams_share_a_few_redis_connections_and_a_client_that_reads_nothing_delays_none(pair: Stack) -> None:
    n = 120
    followed = [pair.submit(steps=4000, step_s=0.001)["id"], pair.submit(steps=1)["id"]]
    before = len(pair.redis.client_list())  # type: ignore[arg-type]
    deaf = [socket.create_connection(("127.0.0.1", pair.api_port)) for _ in range(10)]
    for one in deaf:
        one.sendall(f"GET /v1/jobs/{followed[0]}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    async def hear(job_id: str, client: httpx.AsyncClient) -> list[str]:
        async with client.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
            return [line async for line in answer.aiter_lines() if line.startswith("data:")]

    async def all_streams() -> tuple[list[list[str]], int]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=pair.url, timeout=60, limits=limits) as client:
            streams = [asyncio.create_task(hear(followed[k % 2], client)) for k in range(n)]
            await asyncio.sleep(1.5)
            during = len(pair.redis.client_list())  # type: ignore[arg-type]
            pair.jobs.cancel(followed[0])
            return await asyncio.gather(*streams), during - before

    heard, connections = asyncio.run(all_streams())
    for one in deaf:
        one.close()
    ends = Counter(json.loads(lines[-1].removeprefix("data:"))["status"] for lines in heard)
    print(f"J11: {n} streams and {len(deaf)} that read nothing: {connections} more Redis connections; {dict(ends)}")
    assert ends == {"canceled": n // 2, "succeeded": n // 2}
    assert connections < 12


# J13


def test_rolling_restarts_under_load_fail_no_job_and_run_none_twice(pair: Stack) -> None:
    ids = [pair.submit(steps=10, step_s=0.05, seed=n)["id"] for n in range(40)]
    codes = []
    for name in ("w1", "w2", "w1", "w2"):
        seen = len(pair.runs())
        wait_until(lambda seen=seen: len(pair.runs()) > seen, 20, "a job's start")  # type: ignore[misc]
        process = pair.processes[name]
        process.terminate()  # the worker itself, as a supervisor of containers does; its child is the worker's to end
        codes.append(process.wait(30))
        pair.start_worker(name)
    jobs = all_finished(pair, ids, 60)
    runs = runs_of(pair, ids)
    print(f"J13: {counted(jobs)['succeeded']} of 40 succeeded over 4 restarts, {runs.total()} runs, exit codes {codes}")
    assert counted(jobs) == {"succeeded": 40}
    assert runs == dict.fromkeys(ids, 1)
    assert codes == [0] * 4


def test_stop_that_reaches_the_child_hands_its_job_back_and_costs_no_attempt(pair: Stack) -> None:
    job_id, stops = pair.submit(steps=70, step_s=0.1, seed=13)["id"], 4  # longer than a worker's exit takes
    for stop in range(stops):
        [*_, (_, child)] = wait_until(lambda n=stop: pair.runs(job_id)[n:], 30, "the job's next start")  # type: ignore[misc]
        name = next(name for name in ("w1", "w2") if os.getpgid(child) == pair.processes[name].pid)
        pair.kill(name, signal.SIGTERM)  # to the whole group, as supervisord does
        pair.start_worker(name, wait=False)
    job = pair.finished(job_id, 30)
    wait_until(lambda: ready(pair, "w1") and ready(pair, "w2"), 40, "both workers")
    print(f"J13: {stops} workers stopped with one job in hand: {job['status']} in attempt {job['attempt']}")
    assert right_result(pair, job)
    assert (job["attempt"], len(pair.runs(job_id))) == (1, stops + 1)
