"""Measures the job protocol with 100,000 jobs: `python -m bench.protocol [n_jobs]`.

Prints the longest call of each command (by Redis's slow log), during which Redis serves nobody else, when everything is
due at once: expiring jobs, lapsed leases, expired records, objects to check, a deleted collection. Further the times of
claims beside jobs of 100 tenants, those of a page of each filter, and the Redis connections of 1,000 event streams.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from jobs.store.jobs import JobStore, create_arguments
from jobs.store.protocol import PREFIX
from jobs.store.records import FORMAT, Ending, NewJob, new_job_id
from tests.stack import Stack

N_JOBS, N_STREAMS = 100_000, 1000
KINDS = ("style-transfer", "generation", "collection", "training")
ANCIENT = 1  # a time in ms, in the past


def main() -> None:
    """Fills a Valkey, measures and prints."""
    n_jobs = int(sys.argv[1]) if len(sys.argv) > 1 else N_JOBS
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), ATELIER_MAX_QUEUE="10000000", ATELIER_LEASE_S="3600", ATELIER_SWEEP_S="5")
        try:
            stack.start_valkey()
            protocol(stack.jobs, n_jobs)
            stack.redis.flushdb(asynchronous=True)
            print_turns(stack.jobs, n_jobs)
            stack.redis.flushdb(asynchronous=True)
            stack.start_api()
            fill(stack.jobs, n_jobs)
            leave_queue(stack.jobs, n_jobs // 10)
            print_listing(stack, f"beside {n_jobs} jobs")
            print_streams(stack, N_STREAMS)
        finally:
            stack.stop()


def protocol(store: JobStore, n_jobs: int = N_JOBS) -> None:
    """Makes `n_jobs` due at once in each way, and prints the longest call of each command."""
    client = store.client
    # Only slow calls are logged: a log of a million entries costs more to free than the commands themselves.
    client.config_set("slowlog-log-slower-than", 1000)
    client.config_set("slowlog-max-len", 10_000)
    print(f"{n_jobs} jobs; the longest call of each command that took 1 ms or more, in ms")
    with moment(store, "created"):
        ids = fill(store, n_jobs)
    with moment(store, "claimed in batches of 16"):
        taken = [job for _ in range(100) for job in store.claim("fast", worker="w", limit=16)]
        store.queue_places([store.get(job_id) for job_id in ids[:100]])
    with moment(store, "expired, found by a claim"):
        everything_past(store, "expiry")
        assert store.claim("fast", worker="w", limit=16) == []
    back = fill(store, n_jobs, expires=True)
    with moment(store, "expired, swept"):
        everything_past(store, "expiry")
        sweep_all(store)
    with moment(store, "claimed and lapsed"):
        lapsed = fill(store, n_jobs)
        pipe, sha = client.pipeline(transaction=False), load(store, "claim")
        for _ in range(n_jobs):
            pipe.evalsha(sha, 0, "claim", json.dumps(CLAIM))
        pipe.execute()
        everything_past(store, "leases")
        sweep_all(store)
        everything_past(store, "delayed")
        sweep_all(store)
    with moment(store, "forgotten"):
        for job_id in lapsed:
            store.client.zrem(f"{PREFIX}leases", job_id)
        everything_past(store, "done")
        sweep_all(store)
    assert taken and back
    uses(store, n_jobs)
    objects(store, n_jobs)


CLAIM = {"queue": "fast", "worker": "w", "limit": 1, "format": FORMAT, "loaded": [], "lease_ms": 3_600_000}


def load(store: JobStore, command: str) -> str:
    """Loads the script of a command into Redis, for pipelines; returns its digest."""
    return cast(str, store.client.script_load(store.protocol.scripts[command].script))


def fill(store: JobStore, n_jobs: int, *, expires: bool = True, **given: Any) -> list[str]:
    """Creates jobs of all kinds with few values of `compat`; returns their ids."""
    arguments = create_arguments(NewJob("generation", "fast", PARAMS), store.settings) | given
    arguments |= {"expires_ms": 3_600_000} if expires else {}
    pipe, ids = store.client.pipeline(transaction=False), []
    sha = load(store, "create")
    for number in range(n_jobs):
        ids.append(new_job_id())
        own = {"id": ids[-1], "kind": KINDS[number % 4], "compat": f"c{number % 7}", "priority": number % 21 - 10}
        pipe.evalsha(sha, 0, "create", json.dumps(arguments | own))
        if number % 1000 == 999:
            pipe.execute()
    pipe.execute()
    return ids


PARAMS = {"model": "ddpm-avatars", "n": 4, "seed": 7, "num_inference_steps": 50, "format": "png", "seeds": None}


def everything_past(store: JobStore, zset: str) -> None:
    """Moves the time of every member of a sorted set into the past."""
    members = store.client.zrange(f"{PREFIX}{zset}", 0, -1)
    for start in range(0, len(members), 5000):  # type: ignore[arg-type]
        store.client.zadd(f"{PREFIX}{zset}", dict.fromkeys(members[start : start + 5000], ANCIENT))  # type: ignore[index]


def sweep_all(store: JobStore) -> None:
    """Sweeps until nothing is due, as upkeep does in several rounds."""
    arguments = {"max_attempts": 3, "retry_delay_ms": 60_000}
    while store.protocol.call("sweep", **arguments) == "again":
        pass


def uses(store: JobStore, n_jobs: int) -> None:
    """Deletes a model that all jobs use, and a collection of as many versions."""
    ids = [new_job_id() for _ in range(n_jobs)]
    client, model, collection = store.client, "vae-0123456789ab", "col_" + "0" * 24
    client.hset(f"{PREFIX}model:{model}", mapping={"card": "{}", "trained_by": ids[0]})
    for start in range(0, n_jobs, 5000):
        client.sadd(f"{PREFIX}uses:{model}", *ids[start : start + 5000])
    client.hset(f"{PREFIX}collection:{collection}", mapping={"latest": n_jobs, "uses": ""})
    for start in range(0, n_jobs, 5000):
        shas = [f"{number:064x}" for number in range(start, start + 5000)]
        client.rpush(f"{PREFIX}named:collection:{collection}", *shas)
    with moment(store, "a model that all use, a collection of as many versions"):
        try:
            store.models.delete(model)
        except Exception as error:
            assert "in use" in str(error)
        store.collections.delete(collection)
        sweep_all(store)
    client.delete(f"{PREFIX}objects", f"{PREFIX}uses:{model}")


def objects(store: JobStore, n_objects: int) -> None:
    """Checks every object, of which all except the last are in use."""
    pipe = store.client.pipeline(transaction=False)
    for number in range(n_objects):
        pipe.zadd(f"{PREFIX}refs:{number:064x}", {"job_x": "+inf"})
        pipe.zadd(f"{PREFIX}objects", {f"{number:064x}": ANCIENT})
        if number % 1000 == 999:
            pipe.execute()
    pipe.zadd(f"{PREFIX}objects", {f"{n_objects:064x}": ANCIENT})
    pipe.execute()
    with moment(store, "objects looked at"):
        while not store.references.condemn(limit=1):
            pass


@contextmanager
def moment(store: JobStore, name: str) -> Iterator[None]:
    """Prints the seconds and the longest call of the commands inside."""
    store.client.slowlog_reset()
    started = time.perf_counter()
    yield
    seconds = time.perf_counter() - started
    longest = ", ".join(f"{command} {max(ms):.1f}" for command, ms in sorted(call_times(store).items()))
    print(f"{name:56}{seconds:7.1f} s   {longest or 'none'}", flush=True)


def call_times(store: JobStore) -> dict[str, list[float]]:
    """Returns the times (ms) of the logged calls of each command since the slow log was emptied."""
    times: dict[str, list[float]] = {}
    for entry in store.client.slowlog_get(10_000):  # type: ignore[union-attr]
        words = str(entry["command"], "utf-8", "replace").split(" ")
        if words[0] == "EVALSHA":
            times.setdefault(words[3], []).append(entry["duration"] / 1000)
    return times


def print_turns(store: JobStore, n_jobs: int, n_tenants: int = 100) -> None:
    """Prints the times of claims and positions beside jobs of many tenants."""
    for number in range(n_tenants):
        fill(store, n_jobs // n_tenants, tenant=f"t{number}")
    page = store.of("t0").page(kind=None, status="queued", limit=100, cursor=None)[0]
    print_claims(store, f"beside {n_jobs} jobs of {n_tenants} tenants")
    _print_p99("positions of 100 jobs", lambda: store.queue_places(page))


def print_claims(store: JobStore, beside: str) -> None:
    """Prints the times of a thousand claims of one job and of sixteen."""
    print(f"\n{'':24}{'p50':>9}{'p99':>9}   {beside} (aim: p99 10 ms)")
    _print_p99("claim of one job", lambda: store.claim("fast", worker="w"))
    _print_p99("claim of 16 jobs", lambda: store.claim("fast", worker="w", limit=16))


def _print_p99(name: str, call: Callable[[], object]) -> None:
    times = [_ms(call) for _ in range(1000)]
    print(f"{name:24}{statistics.median(times):7.2f}ms{statistics.quantiles(times, n=100)[-1]:7.2f}ms", flush=True)


def leave_queue(store: JobStore, n_jobs: int, queue: str = "fast") -> None:
    """Claims so many jobs and finishes half of them."""
    for number in range(n_jobs // 16):
        for job in store.claim(queue, worker="w", limit=16):
            if number % 2:
                store.finish(job.id, job.fence, Ending("succeeded", {}))


def print_listing(stack: Stack, beside: str) -> None:
    """Prints the times of pages of a hundred jobs, by every filter, from the store and over HTTP."""
    store, client = stack.jobs, stack.client
    filters = [{"kind": kind, "status": status} for kind in (None, *KINDS) for status in (None, "queued", "succeeded")]
    ways: dict[str, Callable[[dict[str, Any]], object]] = {
        "page of 100, store": lambda asked: store.page(limit=100, cursor=None, **asked),
        "page of 100, HTTP": lambda asked: client.get("/v1/jobs", params=_given(asked) | {"limit": 100}),
        "page of 20, HTTP": lambda asked: client.get("/v1/jobs", params=_given(asked) | {"limit": 20}),
    }
    print(f"\n{'':24}{'p50':>9}{'p95':>9}   {beside} (aim: p95 20 ms)")
    for name, ask in ways.items():
        times = [_ms(lambda asked=asked, ask=ask: ask(asked)) for _ in range(20) for asked in filters]  # type: ignore[misc]
        print(f"{name:24}{statistics.median(times):7.1f}ms{statistics.quantiles(times, n=20)[-1]:7.1f}ms")


def _given(asked: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in asked.items() if value}


def _ms(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000


def print_streams(stack: Stack, n_streams: int) -> None:
    """Opens an event stream for each of so many jobs, and prints the number of Redis connections."""
    before = len(stack.redis.client_list())  # type: ignore[arg-type]
    ids = [record.id for record in stack.jobs.page(kind=None, status="queued", limit=n_streams, cursor=None)[0]]
    during, received = asyncio.run(_streams(stack, ids))
    print(f"\n{n_streams} event streams: {during} Redis connections, {before} before (aim: under 20)")
    print(
        f"all of {len(received)} streams received the end within {max(received):.1f} s of the first of as many cancels"
    )


async def _streams(stack: Stack, ids: list[str]) -> tuple[int, list[float]]:
    opened, canceled = 0, 0.0

    async def hear(job_id: str) -> float:
        nonlocal opened
        reader, writer = await asyncio.open_connection("127.0.0.1", stack.api_port)
        writer.write(f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
        await reader.readuntil(b"event: snapshot")
        opened += 1
        assert b'"canceled"' in (await reader.read())[-500:]
        writer.close()
        return time.perf_counter() - canceled

    streams = [asyncio.create_task(hear(job_id)) for job_id in ids]
    while opened < len(ids):  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    await asyncio.sleep(1)
    during = len(stack.redis.client_list())  # type: ignore[arg-type]
    canceled = time.perf_counter()
    for job_id in ids:
        await asyncio.to_thread(stack.jobs.cancel, job_id)
    return during, await asyncio.gather(*streams)


if __name__ == "__main__":
    main()
