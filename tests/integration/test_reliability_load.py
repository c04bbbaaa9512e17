"""What the service promises under load: full queues, keys, events and restarts (J9 to J13)."""

import asyncio
import json
import os
import random
import signal
import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx

from jobs.store.protocol import PREFIX
from tests.integration.reliability import (
    all_finished,
    counted,
    follow,
    listen,
    ready,
    restarted,
    right_result,
    runs_of,
    stored_events,
)
from tests.stack import BUSY, ROOT, Stack, wait_until

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
    stack.redis.set("ballast", bytes(20_000_000))  # beside which buffers of connections, which come and go, are little
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
    ids: list[str] = []
    codes = []
    for name in ("w1", "w2") * 5:
        seen = len(pair.runs())
        ids += [pair.submit(steps=10, step_s=0.05, seed=len(ids) + n)["id"] for n in range(8)]
        wait_until(lambda seen=seen: len(pair.runs()) > seen, 20, "a job's start")  # type: ignore[misc]
        process = pair.processes[name]
        process.terminate()  # the worker itself, as a supervisor of containers does; its child is the worker's to end
        codes.append(process.wait(30 * BUSY))
        pair.start_worker(name)
    jobs = all_finished(pair, ids, 60)
    runs = runs_of(pair, ids)
    succeeded = counted(jobs)["succeeded"]
    print(f"J13: {succeeded} of {len(ids)} succeeded over {len(codes)} restarts, {runs.total()} runs, exit 0 each time")
    assert counted(jobs) == {"succeeded": len(ids)}
    assert runs == dict.fromkeys(ids, 1)
    assert codes == [0] * 10


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
