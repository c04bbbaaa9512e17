"""What the service promises about jobs (J1 to J13), each with real processes that really die.

A Valkey, a SeaweedFS, an API, workers and upkeep run as they do in production, and are killed, frozen and cut off. Only
their waits are shorter, by settings (`QUICK` in tests/stack.py: a lease of 3 s and not 30); the code is the same.
"""

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx

from jobs.queue import make_celery, nudge
from jobs.store.protocol import PREFIX
from jobs.store.records import Ending, NewJob
from tests.integration.reliability import all_finished, counted, ready, restarted, right_result, runs_of
from tests.stack import Stack, wait_until


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
    refused = pair.jobs.finish(job_id, 1, Ending("succeeded", {}, [old]))
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
