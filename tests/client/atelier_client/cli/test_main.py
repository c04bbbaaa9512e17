"""The examples in the help run as they stand; exit codes and errors."""

import json
import subprocess
from pathlib import Path
from unittest.mock import Mock

import pytest
import typer

from atelier_client import Atelier, errors
from atelier_client.cli.main import app
from tests.client.atelier_client.cli.conftest import Command
from tests.stack import ROOT


def commands() -> list[str]:
    """Every command, with its sub-commands."""
    group = typer.main.get_command(app)
    return [
        name if not hasattr(command, "commands") else f"{name} {inner}"
        for name, command in group.commands.items()  # type: ignore[attr-defined]
        for inner in getattr(command, "commands", {"": None})
    ]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose scripts/run says that it runs."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("examples", "docs", "supervisord.conf"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "scripts").mkdir()
    (folder / "scripts" / "run").write_text("#!/bin/sh\necho the service runs\n")
    (folder / "scripts" / "run").chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def collected() -> set[str]:
    """The lines that have made a collection: examples of several commands begin with the same one."""
    return set()


@pytest.mark.parametrize("name", commands())
def test_examples_in_the_help(
    name: str, command: Command, checkout: Path, shell_env: dict[str, str], collected: set[str]
) -> None:
    lines = [line.strip() for line in command(*name.split(), "--help").out.partition("Examples:")[2].splitlines()]
    script = "\n".join(line for line in lines if line and line not in collected)
    assert f"atelier {name}" in script
    env = {**shell_env, "ATELIER_API_KEY": ""}
    ran = subprocess.run(["bash", "-euc", script], cwd=checkout, env=env, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, f"{script}\n{ran.stdout}\n{ran.stderr}"
    for path in (checkout / line for line in ran.stdout.splitlines() if line.endswith((".png", ".jpg", ".gif"))):
        assert path.stat().st_size > 100
    collected.update(line for line in lines if line.startswith("atelier collect "))


def test_every_command_is_there() -> None:
    top = {name.partition(" ")[0] for name in commands()}
    wanted = "style generate upscale collect steer sample animate train models styles jobs login serve"
    assert top == set(wanted.split())
    assert {name.partition(" ")[2] for name in commands()} == {
        "",
        "list",
        "show",
        "wait",
        "cancel",
        "retry",
        "watch",
    }


def test_refused_field_is_named_in_one_sentence(stack_command: Command) -> None:
    ran = stack_command("generate", "--model", "dcgan-avatars", "--set", "n=999", "--json")
    assert ran.code == 2 and ran.err.count("\n") == 1 and "`n`" in ran.err
    error = json.loads(ran.out)["error"]
    assert error["code"] == "invalid_request" and error["details"]["field"] == "n"


def test_failed_job(stack_command: Command) -> None:
    stack_command("collect", "digits", "--name", "Failing", "--limit", "40", "--set", "space=pixels")
    same = '{"through": [{"cluster": 0}, {"cluster": 0}]}'
    ran = stack_command("animate", "Failing", "--set", f"path={same}")
    assert ran.code == 1 and "path_without_length" in ran.err and ran.err.count("\n") == 1


def test_service_that_is_not_there(command: Command) -> None:
    ran = command("models")
    assert ran.code == 3 and ran.err.startswith("http://127.0.0.1:9 does not respond") and not ran.out


def test_mistaken_address(command: Command) -> None:
    assert command("--url", "127.0.0.1:9", "models").code == 3


def test_key_that_is_not_allowed(stack_command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = errors.AuthenticationError(401, {"code": "unauthorized", "message": "The API key has expired."})
    monkeypatch.setattr(Atelier, "models", Mock(side_effect=refused))
    ran = stack_command("--api-key", "old", "models", "--json")
    assert ran.code == 4 and ran.err == "The API key has expired.\n" and "unauthorized" in ran.out


def test_unknown_option(command: Command) -> None:
    ran = command("style", "examples/photos/chelsea.jpg", "--styl", "builtin:1")
    assert ran.code == 2 and "--styl" in ran.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str, shell_env: dict[str, str]) -> None:
    env = {**shell_env, "_ATELIER_COMPLETE": f"complete_{shell}", "COMP_WORDS": "atelier st", "COMP_CWORD": "1"}
    env |= {"_TYPER_COMPLETE_ARGS": "atelier st", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    ran = subprocess.run(["atelier"], env=env, capture_output=True, text=True, timeout=60)
    assert {"style", "steer", "styles"} <= set(ran.stdout.replace('"', " ").replace(":", " ").split()), ran
