"""Measures how throughput grows with the workers, and Redis beside a million records: `python -m bench.scale`.

`--workers 1 2 4`   jobs a second of so many workers, each job 50 ms without work. Aim: 95 % of linear.
`--records N`       claims beside `--queued` jobs and N records in all, and pages of their list. Aims: p99 of a claim
                    under 10 ms, p95 of a page under 20 ms. Also prints the memory of a record in Redis.
`--costs`           the processor time of Redis for each command of a job's life, which no other process changes much.

Only what is named is measured; everything without an option.
"""

import argparse
import json
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.protocol import CLAIM, fill, load, print_claims, print_listing
from jobs.queue import make_celery, nudge
from jobs.store.jobs import JobStore, finish_arguments
from jobs.store.records import Ending, NewJob
from tests.stack import Stack, wait_until

JOB_S = 0.05
QUEUED, RECORDS, WORKERS = 100_000, 1_000_000, [1, 2, 4]


def main() -> None:
    """Measures what the options name, and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, nargs="+")
    parser.add_argument("--jobs", type=int, default=300, help="for each worker")
    parser.add_argument("--costs", action="store_true")
    parser.add_argument("--records", type=int)
    parser.add_argument("--queued", type=int, default=QUEUED)
    args = parser.parse_args()
    is_whole = args.workers is None and args.records is None and not args.costs
    if is_whole or args.workers:
        print_workers(args.workers or WORKERS, args.jobs)
    if is_whole or args.costs:
        with installation() as stack:
            print_costs(stack.jobs)
    if is_whole or args.records:
        print_records(args.queued, args.records or RECORDS)


@contextmanager
def installation() -> Iterator[Stack]:
    """A Valkey, to which processes can be added."""
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), ATELIER_MAX_QUEUE="10000000", ATELIER_LEASE_S="3600", ATELIER_SWEEP_S="5")
        try:
            stack.start_valkey()
            yield stack
        finally:
            stack.stop()


# --- workers --------------------------------------------------------------------------------------------------------


def print_workers(counts: list[int], jobs_each: int) -> None:
    """Prints the jobs a second of each number of workers, and their share of as many times the first."""
    first = 0.0
    print(f"jobs of {JOB_S * 1000:.0f} ms without work, {jobs_each} for each worker (aim: 95 % of linear)")
    for count in counts:
        rate = jobs_per_second(count, jobs_each * count)
        first = first or rate / count
        print(f"{count} workers {rate:8.1f} jobs/s {rate / count / first:8.1%} of linear", flush=True)


def jobs_per_second(n_workers: int, n_jobs: int) -> float:
    """Starts workers, queues jobs for them and measures from the first claim to the last end."""
    with installation() as stack:
        names = [f"w{number}" for number in range(n_workers)]
        for name in names:
            stack.start_worker(name, queues="fast", app="bench.noop:app", wait=False)
        for name in names:
            wait_until(lambda name=name: " ready." in stack.log(name), 60, f"worker {name}")  # type: ignore[misc]
        submit(stack, 4 * n_workers)  # loads what a first job loads
        ids = submit(stack, n_jobs)
        wait_until(lambda: all(stack.jobs.get(job_id).finished for job_id in (ids[-1], ids[0])), 600, "the last job")
        wait_until(lambda: stack.redis.zcard("atelier:leases") == 0, 60, "the end of all jobs")
        records = [stack.jobs.get(job_id) for job_id in ids]
    ended = [record.finished_at for record in records if record.finished_at]
    started = [record.started_at for record in records if record.started_at]
    assert len(ended) == n_jobs and {record.status for record in records} == {"succeeded"}
    return n_jobs / (max(ended) - min(started)) * 1000


def submit(stack: Stack, n_jobs: int) -> list[str]:
    """Queues jobs and sends their nudges, as the API does."""
    celery, store = make_celery(stack.settings), stack.jobs
    job = NewJob("noop", "fast", {"seed": 1, "seconds": JOB_S})
    ids = [store.create(job)[0] for _ in range(n_jobs)]
    for job_id in ids:
        nudge(celery, "fast", job_id)
    return ids


PROGRESS = json.dumps({"step": 10, "total": 50, "fraction": 0.2, "message": "Denoising"})


@contextmanager
def _cost(store: JobStore, n_calls: int, costs: dict[str, float], name: str) -> Iterator[None]:
    """Notes the microseconds of processor time that Redis uses in the block, for each of so many calls."""

    def used() -> float:
        cpu: Any = store.client.info("cpu")
        return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])

    before = used()
    yield
    costs[name] = (used() - before) / n_calls * 1e6


def calls(store: JobStore, command: str, arguments: list[str]) -> None:
    """Calls a command of the protocol with each of the arguments, a thousand times in one pipeline."""
    sha = load(store, command)
    for start in range(0, len(arguments), 1000):
        pipe = store.client.pipeline(transaction=False)
        for each in arguments[start : start + 1000]:
            pipe.evalsha(sha, 0, command, each)
        pipe.execute()


# --- records --------------------------------------------------------------------------------------------------------


def print_records(n_queued: int, n_records: int) -> None:
    """Prints the times of claims and pages beside so many records, and the memory that one takes."""
    with installation() as stack:
        store = stack.jobs
        before = memory(store)
        fill(store, n_queued, expires=False)
        queued = memory(store)
        finish_all(store, n_records - n_queued)
        whole = memory(store)
        print(f"\nRedis: {(queued - before) / n_queued:,.0f} bytes for each queued job, ", end="")
        print(f"{(whole - queued) / (n_records - n_queued):,.0f} for each finished one, {whole / 2**30:.2f} GB in all")
        beside = f"beside {n_queued} queued of {n_records} records"
        print_claims(store, beside)
        stack.start_api()
        print_listing(stack, beside)


def print_costs(store: JobStore, n_calls: int = 5000) -> None:
    """Prints the processor time that Redis uses for a call of each command of a job's life, and for a page of 20."""
    each = {"fence": 1}
    ids: list[str] = []
    costs: dict[str, float] = {}
    with _cost(store, n_calls, costs, "create"):
        ids = fill(store, n_calls, expires=False, queue="train")
    with _cost(store, n_calls, costs, "claim"):
        claim = json.dumps(CLAIM | {"queue": "train"})
        calls(store, "claim", [claim] * n_calls)
    extra: dict[str, dict[str, Any]] = {
        "renew": {"lease_ms": 30_000},
        "report": {"type": "progress", "data": PROGRESS, "progress": PROGRESS},
        "finish": finish_arguments(Ending("succeeded", {"seconds": 1.0}, [])),
        "read": {},
    }
    for command, arguments in extra.items():
        with _cost(store, n_calls, costs, command):
            calls(store, command, [json.dumps(arguments | each | {"id": i, "nonce": i}) for i in ids])
    with _cost(store, n_calls, costs, "page of 20"):
        for _ in range(n_calls):
            store.page(kind=None, status=None, limit=20, cursor=None)
    print("\nRedis, processor time of a call: ", ", ".join(f"{name} {us:.0f} us" for name, us in costs.items()))


def memory(store: JobStore) -> int:
    """Bytes that Redis uses."""
    return int(store.client.info("memory")["used_memory"])  # type: ignore[index]


def finish_all(store: JobStore, n_jobs: int) -> None:
    """Creates jobs in a queue of their own and runs each to its end, a thousand at a time."""
    claim = json.dumps(CLAIM | {"queue": "gpu", "limit": 1})
    claim_sha, finish_sha = load(store, "claim"), load(store, "finish")
    facts = {"index": 0, "content_type": "image/png", "width": 512, "height": 512, "seed": 7}
    for _ in range(n_jobs // 1000):
        fill(store, 1000, expires=False, queue="gpu")
        claims, ends = store.client.pipeline(transaction=False), store.client.pipeline(transaction=False)
        for _ in range(1000):
            claims.evalsha(claim_sha, 0, "claim", claim)
        for _, [row] in claims.execute():
            job = dict(zip(row[::2], row[1::2], strict=True))
            output = facts | {"sha256": secrets.token_hex(32)}
            ending = finish_arguments(Ending("succeeded", {"seconds": 1.0}, [output]))
            ends.evalsha(finish_sha, 0, "finish", json.dumps({"id": job["id"], "fence": int(job["fence"]), **ending}))
        assert set(ends.execute()) == {"succeeded"}


if __name__ == "__main__":
    main()
