"""What the service promises about canceled jobs and about outages of Valkey and of the storage (J6 to J8)."""

import json
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from jobs.store.protocol import PREFIX
from tests.integration.reliability import Job, all_finished, counted, follow, right_result, runs_of, stored_events
from tests.stack import Seaweed, Stack, wait_until

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
