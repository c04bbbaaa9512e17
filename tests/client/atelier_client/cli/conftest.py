"""Runs the command in the process of the tests, which is quick, or in a shell."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from atelier_client.cli.main import main
from tests.stack import ROOT, Stack


@dataclass(frozen=True)
class Ran:
    """The end of a command."""

    code: int
    out: str
    err: str


Command = Callable[..., Ran]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `atelier` with arguments, in an empty folder and without a service; `stack_command` has one."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("ATELIER_URL", "http://127.0.0.1:9")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path / "here")

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["atelier", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Ran(int(ended.value.code or 0), out, err)

    return run


@pytest.fixture
def stack_command(command: Command, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `atelier` with arguments and the installation."""
    monkeypatch.setenv("ATELIER_URL", stack.url)
    return command


@pytest.fixture(scope="module")
def shell_env(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a shell whose `atelier` reaches the installation."""
    folder = tmp_path_factory.mktemp("shell")
    (folder / "atelier").write_text(f"#!{sys.executable}\nfrom atelier_client.cli.main import main\nmain()\n")
    (folder / "atelier").chmod(0o755)
    return {
        **os.environ,
        "ATELIER_URL": stack.url,
        "COLUMNS": "80",
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'client'}",
        "XDG_CONFIG_HOME": str(folder / "config"),
    }
