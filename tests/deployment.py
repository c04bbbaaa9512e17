"""The compose file and the images, as the tests read them."""

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from tests.stack import ROOT

COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

PACKAGES = [name.rstrip("*") for name in PYPROJECT["tool"]["setuptools"]["packages"]["find"]["include"]]

DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))

VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::([?-])([^}]*))?\}")

SECRETS = {
    "VALKEY_PASSWORD": "valkey-test-password",
    "S3_ACCESS_KEY": "access",
    "S3_SECRET_KEY": "s3-test-secret",
    "ATELIER_WEBHOOK_SECRET": "whsec_" + "A" * 43 + "=",
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

OWN = [name for name, service in SERVICES.items() if "build" in service]

# The images.


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", " ", dockerfile.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.strip().partition(" ") for line in lines)]


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
