"""`scripts/run` as a person uses it: start, kill a process, work, Ctrl-C in the middle of a job, start again."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from api.style_transfers import CAT
from jobs.store.protocol import PREFIX
from jobs.store.records import QUEUES
from tests.stack import ROOT, Stack, wait_until

GATYS = {"method": "gatys", "content": CAT, "style": CAT, "size": 64, "num_steps": 5}
FAST = {"method": "fast", "content": CAT, "style": "builtin:1", "size": 64}
STOP_S = 30  # of supervisord.conf, after which what has not ended is killed


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """Ports and folders for an installation that `scripts/run` starts."""
    made = Stack(tmp_path)
    yield made
    made.stop()
    while left := living(made):  # where a test failed; again, since the supervisor starts what is killed before it
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=10)


def living(stack: Stack) -> list[psutil.Process]:
    """Returns every process of the installation, by its environment or folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            is_named = process.environ().get("ATELIER_DATA_DIR") == str(stack.folder)
            if is_named or process.cwd().startswith(f"{stack.folder}/"):  # Valkey's title hides its environment
                found.append(process)
    return found


def start(stack: Stack) -> subprocess.Popen[bytes]:
    process = stack.start("run", str(ROOT / "scripts" / "run"))
    wait_until(lambda: ready(stack) or process.poll() is not None, 90, "the service")
    assert process.poll() is None, stack.log("run")[-2000:]
    return process


def ready(stack: Stack) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return stack.client.get("/readyz").status_code == 200
    return False


def spawned(stack: Stack) -> dict[str, int]:
    """Returns the newest process id of each of the supervisor's programs."""
    return {name: int(pid) for name, pid in re.findall(r"spawned: '(\w+)' with pid (\d+)", stack.log("run"))}


def answer(stack: Stack, request: dict[str, Any]) -> str:
    """Submits a job until it is accepted; returns its id."""
    sent: list[str] = []

    def send() -> bool:
        with contextlib.suppress(httpx.TransportError):
            response = stack.client.post("/v1/style-transfers", json=request)
            sent.extend([response.json()["id"]] if response.status_code == 202 else [])
        return bool(sent)

    wait_until(send, 30, "a job to be accepted")
    return sent[0]


def test_what_is_killed_comes_back_and_sigterm_stops_all(stack: Stack) -> None:
    process = start(stack)
    assert set(spawned(stack)) == {"valkey", "api", "upkeep", *QUEUES}
    took = {}
    for name, pid in spawned(stack).items():
        clock: Any = stack.redis.time()
        killed = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda name=name, pid=pid: spawned(stack)[name] != pid, 10, f"{name} to be started again")  # type: ignore[misc]
        if name in QUEUES:
            wait_until(lambda name=name, since=clock[0]: beats_since(stack, name, since + 1), 60, f"the worker {name}")  # type: ignore[misc]
        wait_until(lambda: ready(stack), 30, f"readiness after {name} was killed")
        job = stack.finished(answer(stack, GATYS if name == "gpu" else FAST), 60)
        assert (name, job["status"]) == (name, "succeeded")
        took[name] = round(time.monotonic() - killed, 1)
    print(f"kill -9 of each process: seconds until it was back and a job had succeeded: {took}")

    held = answer(stack, GATYS | {"size": 128, "num_steps": 1000})
    wait_until(lambda: (stack.job(held)["progress"] or {}).get("step", 0) > 2, 60, "some steps")
    processes = psutil.Process(process.pid).children(recursive=True)
    started = time.monotonic()
    os.kill(stack.processes.pop("run").pid, signal.SIGTERM)
    process.wait(2 * STOP_S)
    stopped_s = time.monotonic() - started
    left = [child for child in processes if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    print(f"SIGTERM: {len(processes)} processes ended within {stopped_s:.1f} s")
    assert (left, stopped_s < STOP_S) == ([], True)
    stopped = re.findall(r"stopped: (\w+)", stack.log("run"))
    assert (stopped[-1], len(stopped)) == ("valkey", len(QUEUES) + 3)
    stack.start_valkey()
    assert (stack.jobs.get(held).status, stack.jobs.get(held).attempt) == ("queued", 0)


def beats_since(stack: Stack, queue: str, seconds: int) -> bool:
    """Whether the worker of a queue has sent a heartbeat since a time of Redis's clock."""
    living: Any = stack.redis.zrangebyscore(f"{PREFIX}workers", seconds * 1000, "+inf")
    return any(name.startswith(f"{queue}@") for name in living)


def test_an_interrupted_job_goes_on_after_the_next_start_and_loses_no_attempt(stack: Stack) -> None:
    stack.env["ATELIER_LEASE_S"] = "30"  # as in production: importing torch on a busy machine may outlast a short one
    process = start(stack)
    job = answer(stack, GATYS | {"size": 128, "num_steps": 60})
    wait_until(lambda: (stack.job(job)["progress"] or {}).get("step", 0) > 2, 60, "some steps")

    os.killpg(process.pid, signal.SIGINT)
    process.wait(STOP_S)
    for port in (stack.api_port, stack.redis_port):
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}")

    with terminal(stack) as process:
        wait_until(lambda: ready(stack), 90, "the service")
        ended = stack.finished(job, 90)
        processes = psutil.Process(process.pid).children(recursive=True)
    assert (ended["status"], ended["attempt"]) == ("succeeded", 1)
    process.wait(STOP_S)
    _, left = psutil.wait_procs(processes, timeout=5)
    assert left == [], "closing the terminal stops everything"


@contextlib.contextmanager
def terminal(stack: Stack) -> Iterator[subprocess.Popen[bytes]]:
    """`scripts/run` in a terminal, which is closed at the end."""
    screen, keyboard = pty.openpty()
    process = subprocess.Popen(
        [str(ROOT / "scripts" / "run")],
        env=stack.env,
        stdin=keyboard,
        stdout=keyboard,
        stderr=keyboard,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(keyboard)
    closing = threading.Event()

    def show() -> None:
        with (stack.folder / "run.log").open("ab") as log:
            while not closing.is_set():
                if select.select([screen], [], [], 0.1)[0]:
                    log.write(os.read(screen, 65536))
                    log.flush()

    reader = threading.Thread(target=show, daemon=True)
    reader.start()
    try:
        yield process
    finally:
        closing.set()
        reader.join()
        os.close(screen)


def test_taken_port_is_named_before_anything_starts(stack: Stack) -> None:
    stack.env["ATELIER_PORT"] = str(stack.redis_port)
    stack.start_valkey()
    process = stack.start("run", str(ROOT / "scripts" / "run"))
    assert process.wait(60) == 1
    assert f"The API cannot listen at 127.0.0.1:{stack.redis_port}, see ATELIER_HOST" in stack.log("run")
    assert spawned(stack) == {}
