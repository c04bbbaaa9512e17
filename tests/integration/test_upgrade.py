"""J18: an upgrade loses nothing. Two releases run side by side, and records of an earlier one are read.

`records-0.1.jsonl.gz` holds what a stack of commit 9af527e wrote (jobs of every example in openapi.json queued, one
training interrupted after a checkpoint, finished jobs, collections, a trained model and a kept style), as
`jobs.store.snapshot.read_all` returns it.
"""

import gzip
import io
import json
import signal
import subprocess
import tarfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import pytest

import jobs.store.jobs
from api.style_transfers import CAT
from jobs.requests.kinds import parse
from jobs.schemas import Kind
from jobs.store import snapshot
from jobs.store.protocol import PREFIX
from jobs.store.records import FORMAT, QUEUES, NewJob, Record
from tests.integration.reliability import all_finished, counted
from tests.integration.test_trainings import TRAINING
from tests.stack import ROOT, Stack, wait_until

RELEASE = "1a4452aa299c6965a5ebee334855bebd09c31fff"  # the first whose records carry a format
EARLIER_QUEUES = "fast,gpu,collect,train"
TRANSFER = "/v1/style-transfers", {"method": "fast", "content": CAT, "style": "builtin:1", "size": 64}
SAMPLES = "/v1/generations", {"model": "dcgan-avatars", "n": 1}
SHORT_TRAINING = "/v1/trainings", TRAINING | {"num_steps": 20}
PROBE = "/v1/probes", {"steps": 10, "step_s": 0.05}
GPU_PROBE = "/v1/probes", PROBE[1] | {"runs_on": "gpu"}


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """The source of the release before."""
    found = subprocess.run(["git", "-C", str(ROOT), "archive", RELEASE], capture_output=True, check=False)
    if found.returncode:
        pytest.skip("the history does not reach back to the release before, as in a shallow clone")
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
        archive.extractall(tmp_path / "earlier", filter="data")
    (tmp_path / "earlier" / "tests" / "__init__.py").touch()  # a wheel may install a package of that name
    return tmp_path / "earlier"


def send(stack: Stack, *requests: tuple[int, str, dict[str, Any]]) -> list[str]:
    """Submits each request a number of times; returns the ids of the jobs."""
    each = [(path, body) for times, path, body in requests for _ in range(times)]
    return [stack.client.post(path, json=body).raise_for_status().json()["id"] for path, body in each]


def of_the_next_release(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> str:
    """A job of a release after this one, with a field that no worker here knows; it ranks first."""
    with monkeypatch.context() as later:
        later.setattr(jobs.store.jobs, "FORMAT", FORMAT + 1)
        job = NewJob(kind="probe", queue="fast", params={"seed": 1, "unknown": 1}, priority=10)
        return stack.jobs.create(job)[0]


def test_the_release_changes_under_forty_jobs_and_none_is_lost(
    stack: Stack, earlier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.start_valkey()
    before = Stack(stack.folder, PYTHONPATH=str(earlier), ATELIER_REDIS_URL=stack.env["ATELIER_REDIS_URL"])
    try:
        with ThreadPoolExecutor() as pool:
            list(
                pool.map(
                    lambda start: start(),
                    [before.start_api, lambda: before.start_worker("before", "fast,gpu,collect,train")],
                )
            )
        left_alone = of_the_next_release(stack, monkeypatch)
        ids = send(before, (8, *TRANSFER), (6, *PROBE), (6, *GPU_PROBE))
        with ThreadPoolExecutor() as pool:
            starts = [stack.start_api, stack.start_upkeep, lambda: stack.start_worker("after")]
            list(pool.map(lambda start: start(), starts))
        ids += send(stack, (8, *TRANSFER), (9, *PROBE), (2, *SAMPLES), (1, *SHORT_TRAINING))
        unfinished = sum(not stack.jobs.get(each).finished for each in ids)
        before.kill("before", signal.SIGTERM)
    finally:
        before.stop()
    ended = all_finished(stack, ids, 60)
    workers = Counter(str(stack.redis.hget(f"{PREFIX}job:{each}", "worker")).split("@")[0] for each in ids)
    kinds = sorted({job["kind"] for job in ended})
    print(f"J18: {counted(ended)} of 40 jobs of {kinds}, {unfinished} in flight at the change, run by {workers}")
    assert counted(ended) == {"succeeded": 40}
    assert {job["attempt"] for job in ended} == {1}, "no attempt counts that a worker handed back"
    assert workers.keys() == {"before", "after"}
    assert (stack.job(left_alone)["status"], stack.job(left_alone)["attempt"]) == ("queued", 0)


# Records of release 0.1.


@pytest.fixture
def restored(stack: Stack) -> Stack:
    """An installation without workers that holds the records of release 0.1."""
    stack.start_valkey()
    with gzip.open(Path(__file__).with_name("records-0.1.jsonl.gz"), "rt", encoding="utf-8") as file:
        taken_at, *rows = map(json.loads, file)
    snapshot.write_all(stack.jobs.client, taken_at, rows)
    return stack


def test_records_of_an_earlier_release_are_listed(restored: Stack) -> None:
    restored.start_api("api.main:app")
    listed = restored.client.get("/v1/jobs?limit=100").raise_for_status().json()["jobs"]
    assert len(listed) == restored.redis.zcard(f"{PREFIX}jobs") == 62
    for job in listed:
        assert restored.job(job["id"])["params"] == job["params"]
    assert {job["status"] for job in listed} == {"queued", "running", "succeeded"}
    for name, key, number in (("models", "models", 1), ("collections", "collections", 10), ("styles", "kept", 1)):
        assert len(restored.client.get(f"/v1/{name}").raise_for_status().json()[key]) == number


def test_jobs_of_an_earlier_release_are_claimed_and_read(restored: Stack) -> None:
    """Every request that can be queued; a training continues from its checkpoint."""
    store = restored.jobs

    def requeued() -> bool:
        store.sweep()
        return sum(store.depths().values()) == 57

    wait_until(requeued, 10, "the training whose lease ran out")
    claimed: list[Record] = []
    for queue in QUEUES:
        while taken := store.claim(queue, worker="w"):
            claimed += taken
    requests = [parse(record.kind, record.params) for record in claimed]
    assert len(requests) == 57
    later = {"model"}  # kinds that the release has not
    assert {request.kind for request in requests} == set(get_args(Kind)) - later
    [interrupted] = [record for record in claimed if record.attempt == 2]
    assert interrupted.checkpoint is not None and interrupted.checkpoint["step"] >= 40
