"""J15: `/readyz` is right within 15 s of whatever breaks, and right again within 15 s of its repair.

Each test breaks and repairs real processes, and prints both figures.
"""

import contextlib
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.store.heartbeats import SILENCE_S
from jobs.store.protocol import PREFIX
from jobs.store.records import QUEUES, NewJob
from tests.stack import Seaweed, Stack, wait_until

LIMIT_S = 15


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A whole installation with one worker and production's interval of upkeep; its objects are on a disk of 2 MB."""
    made = Stack(tmp_path_factory.mktemp("ready"), ATELIER_LEASE_S="3", ATELIER_SWEEP_S="5")
    with small_disk(made.folder / "objects"):
        yield made.start_all()
        made.stop()


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mounts a disk at `folder`, if this user may."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)], capture_output=True)
    try:
        yield
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def readiness(stack: Stack) -> tuple[int, dict[str, Any], set[str]]:
    """The status and the body of `/readyz`, and the checks that fail."""
    answer = stack.client.get("/readyz")
    return answer.status_code, answer.json(), {one["check"] for one in answer.json()["failing"]}


def seconds_until(stack: Stack, *checks: str) -> float:
    """Waits until exactly these checks fail and returns the seconds; AssertionError after `LIMIT_S`."""
    started = time.monotonic()
    while (found := readiness(stack))[2] != set(checks):
        assert time.monotonic() < started + LIMIT_S, f"expected {checks}, found {found}"
        time.sleep(0.1)
    assert found[0] == (503 if checks else 200)
    assert found[1]["ready"] is not bool(checks)
    return time.monotonic() - started


@pytest.fixture(autouse=True)
def ready_before(stack: Stack) -> None:
    """Each test begins with everything in order."""
    seconds_until(stack)


def test_connections_cut_three_times(stack: Stack) -> None:
    for _ in range(3):
        stack.redis.client_kill_filter(_type="normal", skipme=True)
        time.sleep(1)
    time.sleep(SILENCE_S)  # heartbeats from before the cuts no longer count
    status, body, _ = readiness(stack)
    models = stack.client.get("/v1/models").json()["models"]
    job = stack.finished(stack.submit()["id"], 20)
    print(f"J15: after three cuts /readyz {status}, workers {body['workers']}, a job {job['status']}")
    assert (status, body["workers"], job["status"]) == (200, ["w1@test"], "succeeded")
    assert any(model["installed_on"] for model in models)
    assert body["queues"] == dict.fromkeys(QUEUES, 1)


def test_redis_killed_and_restarted(stack: Stack) -> None:
    stack.kill("valkey")
    away_s = seconds_until(stack, "redis")
    stack.start_valkey()
    back_s = seconds_until(stack)
    time.sleep(SILENCE_S)
    status, body, _ = readiness(stack)
    print(f"J15: Redis killed: 503 after {away_s:.1f} s; restarted: 200 after {back_s:.1f} s, {status} ten seconds on")
    assert (status, body["workers"]) == (200, ["w1@test"])


def test_redis_that_hangs_or_accepts_no_writes(stack: Stack) -> None:
    stack.redis.config_set("maxmemory", "1")
    full_s = seconds_until(stack, "redis")
    [reason] = readiness(stack)[1]["failing"]
    stack.redis.config_set("maxmemory", "0")
    free_s = seconds_until(stack)
    os.killpg(stack.processes["valkey"].pid, signal.SIGSTOP)
    try:
        hung_s = seconds_until(stack, "redis")
    finally:
        os.killpg(stack.processes["valkey"].pid, signal.SIGCONT)
    back_s = seconds_until(stack)
    print(f"J15: Redis full: 503 after {full_s:.1f} s, 200 after {free_s:.1f} s; hung: {hung_s:.1f} s, {back_s:.1f} s")
    assert reason["message"].startswith("Redis does not accept writes: O")


def test_upkeep_dead_with_a_nudge_lost_and_a_lease_overdue(stack: Stack) -> None:
    held = stack.submit(steps=1000, step_s=0.1)["id"]
    wait_until(lambda: stack.runs(held), 20, "the job's start")
    stack.kill("upkeep")
    stack.kill("w1")  # nobody renews the lease
    stack.start_worker("w1")
    waiting = stack.submit()["id"]
    wait_until(lambda: stack.jobs.get(waiting).finished, 20, "a job before its nudge is lost")
    done = stack.jobs.get(waiting)
    lost, _ = stack.jobs.create(NewJob(kind=done.kind, queue=done.queue, params=done.params))  # sends no nudge
    dead_s = seconds_until(stack, "upkeep", "leases", "stalled")
    messages = {one["check"]: one["message"] for one in readiness(stack)[1]["failing"]}
    stack.start_upkeep()
    back_s = seconds_until(stack)
    print(f"J15: upkeep dead, a lease overdue, a nudge lost: 503 after {dead_s:.1f} s; 200 after {back_s:.1f} s")
    assert stack.finished(lost, 20)["status"] == "succeeded"
    assert messages["leases"].startswith("1 lease")
    assert "the queue 'fast' while a worker was free" in messages["stalled"]
    stack.jobs.cancel(held)
    stack.finished(held, 20)


@pytest.mark.parametrize("busy", [True, False], ids=["busy", "idle"])
def test_child_frozen_with_work_waiting(stack: Stack, busy: bool) -> None:
    first = stack.submit(steps=50 if busy else 1, step_s=0.1)["id"]
    [(_, child)] = wait_until(lambda: stack.runs(first), 20, "the job's start")
    if not busy:
        stack.finished(first)
    os.kill(child, signal.SIGSTOP)
    waiting = stack.submit()["id"]
    try:
        frozen_s = seconds_until(stack, "children", "workers")
        messages = [one["message"] for one in readiness(stack)[1]["failing"]]
    finally:
        os.kill(child, signal.SIGCONT)
    thawed_s = seconds_until(stack)
    ended = stack.finished(waiting, 20)["status"]
    print(f"J15: {'busy' if busy else 'idle'} child frozen: 503 after {frozen_s:.1f} s; 200 after {thawed_s:.1f} s")
    assert ended == "succeeded"
    assert f"No child process of w1@test is responsive: {child}." in messages
    stack.finished(first, 30)


def test_worker_killed_or_frozen(stack: Stack) -> None:
    os.kill(stack.processes["w1"].pid, signal.SIGSTOP)  # its child continues
    frozen_s = seconds_until(stack, "workers")
    os.kill(stack.processes["w1"].pid, signal.SIGCONT)
    thawed_s = seconds_until(stack)
    stack.kill("w1")
    killed_s = seconds_until(stack, "workers")
    stack.start_worker("w1")
    started_s = seconds_until(stack)
    print(
        f"J15: worker frozen: 503 after {frozen_s:.1f} s, 200 after {thawed_s:.1f} s;"
        f" killed: {killed_s:.1f} s, {started_s:.1f} s"
    )


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    filler = folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    yield
    filler.unlink()


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    yield
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)


@pytest.mark.parametrize("broken", [full, read_only])
def test_disk_full_or_read_only(stack: Stack, broken: Any) -> None:
    if not os.path.ismount(stack.folder / "objects"):
        pytest.skip("this user may not mount a small disk")
    with broken(stack.folder / "objects"):
        broken_s = seconds_until(stack, "storage")
    repaired_s = seconds_until(stack)
    print(f"J15: disk {broken.__name__}: 503 after {broken_s:.1f} s; 200 after {repaired_s:.1f} s")


def test_store_that_takes_no_large_object(stack: Stack) -> None:
    """Makes writes fail as on a full disk, for users who may not mount one."""
    pid = stack.processes["api"].pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))
    broken_s = seconds_until(stack, "storage")
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    repaired_s = seconds_until(stack)
    print(f"J15: files of 1 KB at most: 503 after {broken_s:.1f} s; 200 after {repaired_s:.1f} s")


def test_bucket_read_only_or_away(s3: Seaweed, stack: Stack) -> None:
    """A second API on the same Redis, with S3 for a store."""
    kept = dict(stack.env), stack.api_port
    stack.kill("api")
    stack.env |= s3.env
    try:
        stack.start_api()
        seconds_until(stack)
        s3.shell("fs.configure -locationPrefix=/buckets/atelier/ -readOnly -apply")
        read_only_s = seconds_until(stack, "storage")
        s3.shell("fs.configure -locationPrefix=/buckets/atelier/ -delete -apply")
        writable_s = seconds_until(stack)
        os.killpg(s3.pid, signal.SIGSTOP)
        hung_s = seconds_until(stack, "storage")
        os.killpg(s3.pid, signal.SIGCONT)
        back_s = seconds_until(stack)
    finally:
        stack.kill("api")
        stack.env, stack.api_port = kept
        stack.start_api()
    print(
        f"J15: bucket read-only: 503 after {read_only_s:.1f} s, 200 after {writable_s:.1f} s;"
        f" S3 hangs: {hung_s:.1f} s, {back_s:.1f} s"
    )


def commands(stack: Stack) -> int:
    stats: Any = stack.redis.info("stats")
    return int(stats["total_commands_processed"])


def test_many_probes_cost_few_checks(stack: Stack) -> None:
    """However often `/readyz` is called, it writes an object every few seconds and sends Redis few commands."""
    calls = commands(stack)
    answers = [readiness(stack)[0] for _ in range(300)]
    used = commands(stack) - calls
    print(f"J15: 300 probes cost Redis {used} commands, heartbeats of the others included")
    assert set(answers) == {200}
    assert used < 600  # several commands for each of 300, if each probe were a check
    assert stack.redis.exists(f"{PREFIX}vitals")
