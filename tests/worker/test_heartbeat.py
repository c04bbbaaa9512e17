"""The thread of heartbeats, and which child processes count as frozen."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from redis import ConnectionError as RedisConnectionError

from jobs.store.jobs import JobStore
from jobs.store.protocol import PREFIX
from tests.stack import wait_until
from worker import heartbeat
from worker.heartbeat import Children, child_name, repeat

BUSY = "while True: pass"
FIGURES = {"model_loads": 2, "model_evictions": 1, "model_bytes": 500}
IDLE = "import time; time.sleep(60)"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends heartbeats ten times a second, and checks children after 0.3 s."""
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.1)
    monkeypatch.setattr(heartbeat, "SILENCE_S", 0.3)


def test_a_heartbeat_survives_whatever_it_raises(quick: None) -> None:
    beats: list[Exception | None] = [RedisConnectionError("cut"), OSError("disk"), KeyError("bug"), None, None]
    left, stop = iter(beats), threading.Event()

    def beat() -> None:
        error = next(left, None)
        sent.append(error)
        if error:
            raise error

    sent: list[Exception | None] = []
    thread = repeat(beat, stop)
    wait_until(lambda: len(sent) >= len(beats), 5, "a heartbeat after three that failed")
    stop.set()
    thread.join(5)
    assert sent[: len(beats)] == beats and not thread.is_alive()


@pytest.fixture
def processes() -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Starts an idle process, one that computes, and one that computes until it is stopped."""
    started = {
        name: subprocess.Popen([sys.executable, "-c", code])
        for name, code in (("idle", IDLE), ("busy", BUSY), ("stopped", BUSY))
    }
    yield started
    for process in started.values():
        process.kill()
        process.wait()


def test_a_child_without_heartbeat_is_frozen_unless_it_computes(
    jobs: JobStore, processes: dict[str, subprocess.Popen[bytes]], quick: None
) -> None:
    children, pids = Children(), {name: process.pid for name, process in processes.items()}
    pool = SimpleNamespace(info={"processes": list(pids.values())})
    assert children.facts(pool, jobs)["frozen"] == [], "they were started a moment ago"
    processes["stopped"].send_signal(signal.SIGSTOP)
    jobs.heartbeats.beat_child(child_name(pids["idle"]), FIGURES)
    time.sleep(0.5)
    children.facts(pool, jobs)
    time.sleep(0.5)
    expected = {"children": 3, "frozen": [pids["stopped"]], "free_s": 0, **FIGURES}
    assert children.facts(pool, jobs) | {"free_s": 0} == expected
    jobs.client.flushdb()
    time.sleep(0.5)
    assert set(children.facts(pool, jobs)["frozen"]) == {pids["idle"], pids["stopped"]}
    processes["stopped"].kill()
    processes["stopped"].wait()
    pool.info["processes"].remove(pids["stopped"])
    time.sleep(0.5)
    assert children.facts(pool, jobs)["frozen"] == [pids["idle"]], "the pool has replaced it"


def test_loads_of_a_child_that_ended_still_count(jobs: JobStore) -> None:
    """A counter that falls would be a restart to Prometheus."""
    children, pool = Children(), SimpleNamespace(info={"processes": [1, 2]})
    for pid in (1, 2):
        jobs.heartbeats.beat_child(child_name(pid), FIGURES)
    both = {"model_loads": 4, "model_evictions": 2, "model_bytes": 1000}
    assert both.items() <= children.facts(pool, jobs).items()
    jobs.client.delete(f"{PREFIX}child:{child_name(2)}")
    assert both.items() <= children.facts(pool, jobs).items(), "it is busy, and sends no heartbeat"
    pool.info["processes"] = [2]
    assert (both | {"model_bytes": 500}).items() <= children.facts(pool, jobs).items()
