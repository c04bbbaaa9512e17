import io
import json
import os
import stat
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from atelier_client import Atelier, errors
from tests.client.atelier_client.cli.conftest import Command
from tests.stack import Stack


def test_login_stores_the_address_for_its_owner(
    stack_command: Command, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ATELIER_URL")
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    assert stack_command("login", stack.url).code == 0
    path = tmp_path / "config" / "atelier" / "config.json"
    assert json.loads(path.read_text()) == {"url": stack.url, "api_key": None}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert len(stack_command("styles").out.splitlines()) >= 26  # at the stored address
    refused = errors.AuthenticationError(401, {"code": "unauthorized", "message": "The API key is unknown."})
    monkeypatch.setattr(Atelier, "models", Mock(side_effect=refused))
    assert stack_command("--api-key", "wrong", "login").code == 4
    assert json.loads(path.read_text())["api_key"] is None


def test_serve_runs_the_script_of_the_checkout_around(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def execv(script: Path, arguments: list[str]) -> None:
        ran.extend(arguments)
        raise SystemExit(0)

    Path("scripts").mkdir()
    Path("scripts/run").touch()
    Path("supervisord.conf").touch()
    Path("deep").mkdir()
    monkeypatch.chdir("deep")
    monkeypatch.setattr(os, "execv", execv)
    command("serve")
    assert ran == [str(Path.cwd().parent / "scripts" / "run")]


def test_serve_outside_a_checkout(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atelier_client.cli.service.__file__", "/usr/lib/python3/atelier_client/cli/service.py")
    ran = command("serve")
    assert ran.code == 2 and "must run in a checkout" in ran.err
