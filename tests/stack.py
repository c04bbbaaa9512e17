"""Starts Valkey, SeaweedFS, the API, workers and upkeep as real processes for the tests."""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import obstore
from obstore.store import S3Store
from redis import Redis, RedisError

from jobs.settings import Settings
from jobs.store.client import connect
from jobs.store.jobs import JobStore

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parent.parent
WEIGHTS = Path(os.environ.get("ATELIER_WEIGHTS_DIR", ROOT / "data" / "weights"))
TERMINAL = ("succeeded", "failed", "canceled", "expired")
# Production waits in tens of seconds; the same code is tested with waits a person would not sit through.
QUICK = {
    "ATELIER_LEASE_S": "3",
    "ATELIER_SWEEP_S": "0.3",
    "ATELIER_RETRY_DELAY_S": "0.2",
    "ATELIER_STORAGE_RETRY_S": "60",
}
# Where no process dies: a busy machine must not repeat a job whose lease has lapsed, and each sweep costs time.
CALM = {"ATELIER_LEASE_S": "30", "ATELIER_SWEEP_S": "1"}
BUSY = 4  # waits are given as an idle machine needs them; one that runs other tests may be this much slower

_given: set[int] = set()


def free_port() -> int:
    """Returns a free TCP port of loopback that was not returned before; so is the port 10,000 above it, for SeaweedFS.

    The two ranges do not overlap, and both lie below the range of ephemeral ports, so that no other connection can take
    one of them.
    """
    while True:
        port = secrets.choice(range(11_000, 21_000))
        if port not in _given and _is_free(port) and _is_free(port + 10_000):
            _given.add(port)
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as servers do: closed connections do not block a port
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def wait_until(check: Callable[[], Any], seconds: float, what: str) -> Any:
    """Calls `check` ten times a second and returns its first true value; AssertionError after `BUSY * seconds`."""
    deadline = time.monotonic() + seconds * BUSY
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {seconds * BUSY} s for {what}"
        time.sleep(0.1)


class Stack:
    """One installation in a folder of its own."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        self.redis_port, self.api_port = free_port(), free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.env = {
            **os.environ,
            **QUICK,
            "ATELIER_REDIS_URL": f"redis://127.0.0.1:{self.redis_port}/0",
            "ATELIER_STORAGE_URL": str(folder / "objects"),
            "ATELIER_DATA_DIR": str(folder),
            "ATELIER_WEIGHTS_DIR": str(WEIGHTS),
            "ATELIER_PORT": str(self.api_port),
            "PYTHONPATH": str(ROOT),
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            **env,
        }
        self.url = f"http://127.0.0.1:{self.api_port}"
        self.client = httpx.Client(base_url=self.url, timeout=30)

    @property
    def settings(self) -> Settings:
        """Settings of its processes."""
        prefix = "ATELIER_"
        values: dict[str, Any] = {
            name.removeprefix(prefix).lower(): value for name, value in self.env.items() if name.startswith(prefix)
        }
        return Settings(**values)

    @property
    def redis(self) -> Redis:
        """A client of its Valkey."""
        return connect(self.settings, attempts=0)

    @property
    def jobs(self) -> JobStore:
        """A job store over its Valkey."""
        return JobStore(connect(self.settings, attempts=5), self.settings)

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """Starts a process in a group of its own; its output goes to `<name>.log`."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command, env=self.env, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        self.processes[name] = process
        return process

    def start_valkey(self) -> None:
        """Starts Valkey as `scripts/run` does and waits until it answers."""
        self.start("valkey", sys.executable, str(ROOT / "scripts" / "valkey"))
        wait_until(self._redis_answers, 20, "valkey")

    def _redis_answers(self) -> bool:
        with contextlib.suppress(RedisError):
            return bool(self.redis.ping())
        return False

    def start_api(self, app: str = "tests.integration.kinds_api:app") -> None:
        """Starts the API; the default app is the real one with a route for the test kind."""
        self.start("api", sys.executable, "-m", "api", app)
        wait_until(self._api_answers, 60, "the API")

    def _api_answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return self.client.get("/healthz").status_code == 200
        return False

    def start_worker(
        self,
        name: str = "w1",
        queues: str = "fast,search,gpu,collect,train",
        app: str = "tests.integration.kinds",
        *,
        wait: bool = True,
    ) -> None:
        """Starts a Celery worker with one child; the default app is the real one with a runner for the test kind."""
        options = ("-c", "1", "-n", f"{name}@test", "--without-gossip", "--without-mingle")
        seen = self.log(name).count(" ready.")
        self.start(name, "celery", "-A", app, "worker", "-Q", queues, *options)
        if wait:
            wait_until(lambda: self.log(name).count(" ready.") > seen, 60, f"worker {name}")

    def start_upkeep(self) -> None:
        """Starts the upkeep process."""
        self.start("upkeep", sys.executable, "-m", "worker.upkeep")

    def start_all(self, workers: int = 1) -> "Stack":
        """Starts all processes and waits until they are ready for jobs; if one is not in time, stops all."""
        names = [f"w{number}" for number in range(1, workers + 1)]
        try:
            self.start_valkey()
            self.start_api()
            self.start_upkeep()
            for name in names:
                self.start_worker(name, wait=False)
            wait_until(lambda: all(" ready." in self.log(name) for name in names), 60, "the workers")
        except BaseException:
            self.stop()
            raise
        return self

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Sends a signal to a process and its children, and waits for the process to end."""
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        process.wait(30 * BUSY)

    def stop(self) -> None:
        """Kills all processes; while coverage is measured, lets them end first and save it."""
        if "COVERAGE_PROCESS_CONFIG" in os.environ:
            self._end()
        for name in list(self.processes):
            self.kill(name)
        self.client.close()

    def _end(self) -> None:
        running = [process for process in self.processes.values() if process.poll() is None]
        for process in running:
            os.killpg(process.pid, signal.SIGTERM)
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)

    def log(self, name: str) -> str:
        """Returns what a process has printed so far."""
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def line(self, name: str, request_id: str) -> dict[str, Any]:
        """Returns the first line of a request in a log of JSON, which may come after the response."""

        def found() -> dict[str, Any] | None:
            lines = [json.loads(line) for line in self.log(name).splitlines() if line.startswith("{")]
            return next((line for line in lines if line.get("request_id") == request_id), None)

        return dict(wait_until(found, 10, f"a line of {request_id} in the log of {name}"))

    def submit(self, headers: dict[str, str] | None = None, **params: Any) -> dict[str, Any]:
        """Submits a job of the test kind and returns it."""
        answer = self.client.post("/v1/probes", json=params, headers=headers)
        assert answer.status_code in (200, 202), answer.text
        return dict(answer.json())

    def job(self, job_id: str) -> dict[str, Any]:
        """Returns a job as the API shows it."""
        answer = self.client.get(f"/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def finished(self, job_id: str, seconds: float = 60) -> dict[str, Any]:
        """Waits for the end of a job and returns it."""
        jobs = self.jobs
        wait_until(lambda: jobs.get(job_id).finished, seconds, f"the end of {job_id}")
        return self.job(job_id)

    def runs(self, job_id: str | None = None) -> list[tuple[str, int]]:
        """Returns (job id, process id) of each call of the test kind's runner."""
        path = self.folder / "runs.log"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [(job, int(pid)) for job, pid in lines if job_id in (None, job)]


@contextlib.contextmanager
def seaweed(folder: Path) -> Iterator["Seaweed"]:
    """Runs a SeaweedFS server with an S3 bucket `atelier`."""
    server = Seaweed(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


# Each would listen on a fixed port, the same for every server on the machine.
NO_EXTRAS = ("-s3.port.iceberg=0", "-s3.port.lance=0")


class Seaweed:
    """S3 server that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
        self.endpoint = f"http://127.0.0.1:{self.ports['s3']}"
        self.env = {
            "ATELIER_STORAGE_URL": "s3://atelier",
            "ATELIER_STORAGE_ENDPOINT": self.endpoint,
            "AWS_ACCESS_KEY_ID": "atelier",
            "AWS_SECRET_ACCESS_KEY": "atelier-test-secret",
            "AWS_REGION": "us-east-1",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it stores and returns an object."""
        (self.folder / "seaweed").mkdir(parents=True, exist_ok=True)
        ports = [f"-{name}.port={port}" for name, port in self.ports.items()]
        command = [
            "weed",
            "server",
            "-dir",
            str(self.folder / "seaweed"),
            "-s3",
            "-ip",
            "127.0.0.1",
            *ports,
            *NO_EXTRAS,
        ]
        with (self.folder / "seaweed.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(BIN / command[0]), *command[1:]],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **self.env},
            )
        wait_until(self._answers, 60, "SeaweedFS")

    def store(self) -> S3Store:
        """Returns a client without retries."""
        return S3Store(
            "atelier",
            endpoint=self.endpoint,
            access_key_id=self.env["AWS_ACCESS_KEY_ID"],
            secret_access_key=self.env["AWS_SECRET_ACCESS_KEY"],
            region="us-east-1",
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )

    def _answers(self) -> bool:
        with contextlib.suppress(Exception):
            if not (self.folder / "bucket").exists():
                self._make_bucket()
            obstore.put(self.store(), "ready", b"1")
            return bytes(obstore.get(self.store(), "ready").bytes()) == b"1"
        return False

    def _make_bucket(self) -> None:
        # An unsigned request makes the bucket only where the server has no credentials; `weed shell` always can.
        self.shell("s3.bucket.create -name atelier")
        (self.folder / "bucket").touch()

    def shell(self, command: str) -> None:
        """Runs a command of `weed shell`."""
        subprocess.run(
            [str(BIN / "weed"), "shell", f"-master=127.0.0.1:{self.ports['master']}"],
            input=f"{command}\n".encode(),
            capture_output=True,
            timeout=20,
            check=True,
        )

    @property
    def pid(self) -> int:
        """Process id of the server."""
        assert self.process is not None
        return self.process.pid

    def stop(self) -> None:
        """Kills it; its files stay for the next start."""
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)
            self.process = None
